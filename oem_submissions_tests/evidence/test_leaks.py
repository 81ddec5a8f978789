"""The leak scanner finds a planted value in every encoding and container, no other, and refuses what is opaque."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import quopri
import re
import struct
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable

import pytest
from PIL import Image, PngImagePlugin
from pypdf import PdfWriter
from pypdf.annotations import Link
from pypdf.generic import DictionaryObject, Fit, NameObject, StreamObject

from oem_submissions.domain.needles import Kind, Needles, looks_like_token
from oem_submissions.evidence.leaks import leaks

PASSWORD = "Öl &'\"7/pw+x"
PHONE = "555-014-7788"
NEEDLES = Needles.of(Kind.SECRET, [("password", PASSWORD)]) | Needles.of(
    Kind.PERSONAL, [("customer", "Pat O'Doe"), ("phone", PHONE)]
)


def in_base64(before: int) -> bytes:
    return base64.b64encode(b"x" * before + PASSWORD.encode() + b"yz")


ENCODINGS: dict[str, bytes] = {
    "raw": PASSWORD.encode(),
    "other capitals": PASSWORD.swapcase().encode(),
    "URL": urllib.parse.quote(PASSWORD, safe="").encode(),
    "URL, lower hex, twice": urllib.parse.quote(urllib.parse.quote(PASSWORD, safe="").lower(), safe="").encode(),
    "form": urllib.parse.quote_plus(PASSWORD, safe="").encode(),
    "JSON": json.dumps(PASSWORD).encode(),
    "JSON, not ASCII": json.dumps(PASSWORD, ensure_ascii=False).encode(),
    "JSON, all escaped": "".join(f"\\u{ord(c):04x}" for c in PASSWORD).encode(),
    "JSON in JSON": json.dumps(json.dumps(PASSWORD)).encode(),
    "HTML": html.escape(PASSWORD).encode(),
    "HTML, numbers": "".join(f"&#{ord(c)};" for c in PASSWORD).encode(),
    "HTML, hex numbers": "".join(f"&#x{ord(c):04x};" for c in PASSWORD).encode(),
    "JSON in HTML": html.escape(json.dumps(PASSWORD)).encode(),
    "UTF-16 LE": PASSWORD.encode("utf-16-le"),
    "UTF-16 BE": PASSWORD.encode("utf-16-be"),
    "base64, aligned": in_base64(0),
    "base64, one off": in_base64(1),
    "base64, two off": in_base64(2),
    "base64 for URLs": base64.urlsafe_b64encode(b"??>" + PASSWORD.encode()),
    "base32": base64.b32encode(PASSWORD.encode()),
    "hex": PASSWORD.encode().hex().upper().encode(),
    "more white space": PASSWORD.replace(" ", "\n\t ").encode(),
}


def zipped(data: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("data/page.html", data)
    return buffer.getvalue()


def mime(data: bytes, encoding: str) -> bytes:
    body = quopri.encodestring(data) if encoding == "quoted-printable" else base64.encodebytes(data)
    head = (
        b"From: <Saved by a browser>\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/related; boundary="b"\r\n\r\n--b\r\nContent-Type: text/html\r\n'
    )
    return head + f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body + b"\r\n--b--\r\n"


def png(data: bytes) -> bytes:
    """A picture with a comment that is compressed."""
    texts, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    texts.add_text("Comment", data.decode("latin-1"), zip=True)
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


def webp(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "WEBP", lossless=True, xmp=b"<x>" + data + b"</x>")
    return buffer.getvalue()


def jpeg(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "JPEG", comment=b"by " + data)
    return buffer.getvalue()


def pdf(data: bytes) -> bytes:
    """A document with a stream that is compressed, as its attachments and scripts are."""
    writer, buffer, stream = PdfWriter(), io.BytesIO(), StreamObject()
    writer.add_blank_page(100, 100)
    stream.set_data(data)
    writer.root_object[NameObject("/Note")] = writer._add_object(stream.flate_encode())
    writer.write(buffer)
    return buffer.getvalue()


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"some text [" + data + b"] and more",
    "gzip": lambda data: gzip.compress(b"[" + data + b"]"),
    "second gzip member": lambda data: gzip.compress(b"first") + gzip.compress(data),
    "zip": zipped,
    "zip within gzip within zip": lambda data: zipped(gzip.compress(zipped(data)), zipfile.ZIP_STORED),
    "quoted-printable part": lambda data: mime(b"[" + data + b"] = " * 20, "quoted-printable"),
    "base64 part": lambda data: mime(data, "base64"),
    "MHTML, gzipped, in a zip": lambda data: zipped(gzip.compress(mime(data, "quoted-printable")), zipfile.ZIP_STORED),
    "PNG": png,
    "WebP": webp,
    "JPEG": jpeg,
    "PDF": pdf,
    "PDF in a base64 part": lambda data: mime(pdf(data), "base64"),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_planted_secret_is_found_however_it_is_written_and_packed(encoding: str, container: str) -> None:
    found = leaks("page", CONTAINERS[container](ENCODINGS[encoding]), NEEDLES)
    assert {leak.what for leak in found} == {"password"}
    assert all(PASSWORD not in str(leak) for leak in found)
    assert str(found[0]).startswith("page")


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_holds_none_is_clean(container: str) -> None:
    assert leaks("page", CONTAINERS[container](b"Ol &'7/pw, Patricia O'Doering, 555-914-7788"), NEEDLES) == []


def test_a_value_is_found_in_the_text_of_a_page_and_in_a_link_of_a_pdf() -> None:
    writer, buffer = PdfWriter(), io.BytesIO()
    page = writer.add_blank_page(300, 300)
    font = DictionaryObject({NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"),
                             NameObject("/BaseFont"): NameObject("/Helvetica")})  # fmt: skip
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
    )
    stream = StreamObject()
    stream.set_data(b"BT /F1 12 Tf 20 20 Td [(Pat O) -20 ('Doe)] TJ ET")  # kerned, as typesetters do
    page[NameObject("/Contents")] = writer._add_object(stream.flate_encode())
    link = Link(rect=(0, 0, 9, 9), url=f"https://x.example/?tel={PHONE}", fit=Fit.fit())
    writer.add_annotation(0, link)
    writer.write(buffer)
    found = leaks("invoice.pdf", buffer.getvalue(), NEEDLES)
    assert {(leak.what, leak.where) for leak in found} >= {
        ("customer", "invoice.pdf › text"), ("phone", "invoice.pdf › strings")
    }  # fmt: skip


@pytest.mark.parametrize("text", ["(555) 014 7788", "5550147788", "tel:+1.555.014.7788", "555 – 014 – 7788"])
def test_a_number_is_found_by_its_digits_alone(text: str) -> None:
    assert [leak.what for leak in leaks("page", text.encode(), NEEDLES)] == ["phone"]


@pytest.mark.parametrize("text", ["PAT  O’DOE", "Pat O&#39;Doe", "pat+o%27doe", "Pat&nbsp;O&apos;Doe", "Pat\r\n O'Doe"])
def test_a_name_is_found_as_pages_set_it(text: str) -> None:
    assert [leak.what for leak in leaks("page", text.encode(), NEEDLES)] == ["customer"]


def test_a_short_code_counts_as_a_number_of_its_own_only() -> None:
    needles = Needles.of(Kind.SECRET, [("code", "492831")])
    for text in ("Your code: 492831.", "?code=492831&x", '{"code":"492831"}', "otp%20492831%20"):
        assert leaks("page", text.encode(), needles), text
    for text in ("a492831f", "RMA-2026-492831", "09:14:06.492831Z", "1492831", "4928310"):
        assert leaks("page", text.encode(), needles) == [], text


def test_what_stands_in_every_text_holds_no_bundle_up() -> None:
    needles = Needles.of(Kind.PERSONAL, [("complaint", "noise"), ("initials", "PD")])
    assert [needle.name for needle in needles.all] == ["complaint"]
    assert leaks("page", b"noise", needles) == []


def test_what_is_public_by_itself_is_no_leak() -> None:
    needles = Needles.of(Kind.PERSONAL, [("technician", "T7701"), ("customer", "Pat O'Doe")])
    assert [n.name for n in needles.beside(["aurora:warranty:10234:ro-t7701:1"]).all] == ["customer"]


def test_a_long_text_is_found_though_the_page_cuts_it_short() -> None:
    text = "The customer, who lives in Elm Street, says that the engine knocks when it is cold and stops when warm."
    needles = Needles.of(Kind.PERSONAL, [("complaint", text)])
    assert leaks("page", text[:60].encode() + b"...", needles)
    assert leaks("page", b"..." + text[-30:].encode(), needles)


def test_needles_and_findings_never_show_a_value() -> None:
    (leak,) = leaks("page", PASSWORD.encode(), NEEDLES)
    assert PASSWORD not in repr(NEEDLES) + repr(NEEDLES.all) + repr(leak) + str(leak)


def bomb() -> bytes:
    return gzip.compress(bytes(200 * 1024 * 1024), 1)


def nested(depth: int) -> bytes:
    data = b"nothing"
    for _ in range(depth):
        data = gzip.compress(data)
    return data


def lying_zip() -> bytes:
    """Its directory says that the file is small."""
    whole = bytearray(zipped(bytes(120 * 1024 * 1024)))
    at = whole.rindex(b"PK\x01\x02")
    whole[at + 24 : at + 28] = struct.pack("<I", 100)
    return bytes(whole)


def locked_pdf() -> bytes:
    writer, buffer = PdfWriter(), io.BytesIO()
    writer.add_blank_page(10, 10)
    writer.encrypt("owner", algorithm="RC4-128")
    writer.write(buffer)
    return buffer.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb": (bomb, "more than can be looked through"),
    "zip with a lie": (lying_zip, "looked through|can't be unpacked"),
    "nested": (lambda: nested(9), "files in files"),
    "cut short": (lambda: gzip.compress(b"x" * 1000)[:-12], "cut short"),
    "broken zip": (lambda: zipped(b"x")[:-30], "can't be unpacked"),
    "broken PDF": (lambda: b"%PDF-1.7\n%%EOF", "can't be unpacked"),
    "locked PDF": (locked_pdf, "encrypted"),
    "PNG with a bomb": (
        lambda: png(b"x").replace(
            struct.pack(">I", 0) + b"IEND",
            (lambda body: struct.pack(">I", len(body)) + b"zTXt" + body + b"0000")(
                b"k\0\0" + zlib.compress(bytes(120 * 1024 * 1024), 1)
            )
            + struct.pack(">I", 0) + b"IEND",
        ),
        "more than can be looked through",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_can_not_be_looked_through_is_a_finding(kind: str) -> None:
    make, words = HOSTILE[kind]
    found = leaks("page", make(), NEEDLES)
    assert [leak.what for leak in found] == [""]
    assert re.search(words, str(found[0]))


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("550e8400-e29b-41d4-a716-446655440000", True),
        ("9f86d081884c7d659a2f", True),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0", True),
        ("1HGCM82633A004352", False),
        ("DRAFT-2026-0001234", False),
        ("0000000000000001", False),
        ("accepted", False),
        ("Pat O'Doe, 9f86d081884c7d659a2f", False),
        ("Transaction", False),
        ("20261125181347000000", False),
    ],
)
def test_a_token_is_told_from_numbers_and_words(value: str, token: bool) -> None:
    assert looks_like_token(value) is token
