"""Attachments of make-believe claims: small real pictures and PDFs, the same bytes for the same arguments."""

from __future__ import annotations

import io
import random

from PIL import Image, ImageDraw

_SIZE = (480, 320)


def photo(kind: str, caption: str, variety: float) -> bytes:
    """A picture with a caption; `kind` is JPEG or PNG, `variety` any number that tells it from others."""
    chance = random.Random(f"{caption}:{variety}")
    picture = Image.new("RGB", _SIZE, tuple(chance.randint(40, 110) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y = chance.randint(0, _SIZE[0] - 60), chance.randint(0, _SIZE[1] - 60)
        colour = tuple(chance.randint(60, 220) for _ in range(3))
        draw.ellipse((x, y, x + chance.randint(20, 160), y + chance.randint(20, 120)), fill=colour)
    draw.rectangle((20, 250, 460, 300), fill=(20, 20, 20))
    draw.text((32, 268), caption.encode("ascii", "replace").decode(), fill=(240, 240, 240))
    target = io.BytesIO()
    picture.save(target, kind, **({"quality": 72} if kind == "JPEG" else {"compress_level": 6}))
    return target.getvalue()


def document(title: str, lines: list[str]) -> bytes:
    """A PDF of one letter-size page. Written by hand: libraries stamp the time into it."""
    text = [f"BT /F1 18 Tf 60 720 Td ({_escaped(title)}) Tj /F1 10 Tf"]
    text += [f"0 -22 Td ({_escaped(line)}) Tj" for line in lines]
    stream = "\n".join([*text, "ET"]).encode("cp1252", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    whole, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(whole))
        whole += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(whole)
    whole += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    whole += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    whole += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(whole)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
