"""What an auditor is given is verified with his own programs alone, and they find what the design says they find."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oem_submissions import wiring
from oem_submissions.domain.checkpoints import claimed, fingerprint, parse_proof
from oem_submissions.domain.merkle import is_consistent
from oem_submissions.evidence.bundle import complete_bundle
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.store import open_ledger
from oem_submissions.services.seal import Notary, seal_claims
from oem_submissions.settings import read_settings
from oem_submissions_tests.conftest import own_database
from oem_submissions_tests.evidence.authority import Authority, authority
from oem_submissions_tests.evidence.sealing import SEALING, FixedSigner
from oem_submissions_tests.evidence.test_verify import rebag
from oem_submissions_tests.forks import run_command
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import run


class Office:
    """An installation with three sealed claims and a time-stamp authority, and what was exported of two of them."""

    def __init__(self, home: Path, url: str, tsa: Authority) -> None:
        self.home, self.tsa = home, tsa
        self.variables = {
            **os.environ,
            "OEM_SUBMISSIONS_DATABASE_URL": url,
            "OEM_SUBMISSIONS_HOME": str(home),
            "OEM_SUBMISSIONS_TSA_URL": tsa.url,
            "OEM_SUBMISSIONS_TSA_CA": str(tsa.ca),
        }
        settings = read_settings(self.variables)
        self.store = DirectoryStore(settings.evidence)
        notary = Notary(wiring.signer(settings), settings.log_origin, complete_bundle)
        with open_ledger(url) as ledger:
            self.claims = [ledger.add_claim(new_claim(number)).claim_id for number in (1, 2, 3)]
            filed = run(ledger, FakePortal(), self.store)
            parts = {"ledger": ledger, "evidence": self.store, **(SEALING | {"notary": notary})}
            assert seal_claims(filed, "run-1", "w", **parts) == []

    def command(self, *words: str, **changes: str) -> tuple[int, Any, str]:
        """Its code, its document, and what it said."""
        out, err = self.home / "out", self.home / "err"
        code = run_command(("evidence", *words), self.variables | changes, out, err, 120)
        return code, json.loads(out.read_text() or "null"), " ".join(err.read_text().split())

    @property
    def folder(self) -> Path:
        return self.home / "export"


@pytest.fixture(scope="module")
def office(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, migrated_template: str
) -> Iterator[Office]:
    home = tmp_path_factory.mktemp("office")
    with own_database(postgres, migrated_template) as url, authority(home / "tsa") as tsa:
        yield Office(home, url, tsa)


def commands(readme: Path) -> list[str]:
    return re.findall(r"^\$ (.*)$", readme.read_text(), re.MULTILINE)


def obey(folder: Path, wanted: Callable[[str], bool] = lambda _: True) -> subprocess.CompletedProcess[str]:
    """Run the README's commands as it says; only programs that are no part of this project."""
    setting_up = ("unhex()", "hash()", "node()", "root=", "digest=", "x=")
    lines = [line for line in commands(folder / "README.txt") if line.startswith(setting_up) or wanted(line)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where bagit.py is
    script = "set -euo pipefail\nunset PYTHONPATH\n" + "\n".join(lines).replace(
        "/tmp/checkpoint", f"{folder}.checkpoint"
    )
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False, timeout=120
    )


def test_an_audit_an_export_and_a_stamp_are_commands(office: Office) -> None:
    code, document, _ = office.command("export", office.claims[0], "-o", str(office.home / "early"), "--json")
    assert (code, document["checkpoint"], document["stamped_at"]) == (0, 3, None)
    assert "No time-stamp of an authority covers these bundles yet" in (office.home / "early/README.txt").read_text()
    assert obey(office.home / "early").returncode == 0
    code, document, _ = office.command("stamp", "--json")
    assert (code, document["checkpoint"], office.tsa.asked) == (0, 3, 1)
    assert office.command("stamp", "--json")[1] == document
    assert office.tsa.asked == 1, "what is stamped is not stamped again"
    code, document, said = office.command("audit", "--json")
    assert (code, document["ok"], document["findings"], said) == (0, True, [], "")
    assert [document[name] for name in ("entries", "checkpoints", "bundles", "stamps")] == [3, 3, 3, 1]
    checkpoint = str(office.home / "early/checkpoint.txt")
    proof = str(office.home / f"early/{office.claims[0]}.tlog-proof")
    assert office.command("audit", "--quick", "--checkpoint", checkpoint, "--checkpoint", proof)[0] == 0
    code, _, said = office.command("audit", "--quick", "--key", str(office.tsa.ca))
    assert (code, "can't be used to verify" in said) == (3, True)


def test_what_is_exported_is_verified_with_the_auditors_programs_alone(office: Office) -> None:
    code, document, _ = office.command("export", *office.claims[:2], "-o", str(office.folder), "--json")
    assert code == 0
    assert document["claims"] == office.claims[:2]
    done = obey(office.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Verified OK") == 3
    assert "Verification: OK" in done.stderr + done.stdout
    print_of_key = fingerprint((office.folder / "evidence-pub.pem").read_bytes())
    assert f"{print_of_key}  evidence-pub.pem" in (office.folder / "README.txt").read_text()
    assert print_of_key in done.stdout
    used = {
        word
        for line in commands(office.folder / "README.txt")
        for word in re.findall(r"(?:^|[|;&({] *)([a-z.]+) ", line)
    }
    assert used <= {*PROGRAMS_USED.split(), "unhex", "node", "hash"}, used
    for claim in office.claims[:2]:
        (key,) = office.store.keys(f"bundles/{claim}/")
        assert (office.folder / f"{claim}.zip").read_bytes() == office.store.get(key)
        steps = (office.folder / f"{claim}.consistency").read_text().splitlines()
        old, new = (line.split()[1:] for line in steps[1:3])
        hashes = [base64.b64decode(line) for line in [old[1], new[1], *steps[3:]]]
        assert is_consistent(int(old[0]), hashes[0], int(new[0]), hashes[1], hashes[2:])
        proof = parse_proof((office.folder / f"{claim}.tlog-proof").read_bytes())
        assert claimed(proof.note).root == hashes[1]
    code, _, said = office.command("export", office.claims[0], "-o", str(office.folder))
    assert (code, "is not empty" in said) == (1, True)


PROGRAMS_USED = "sha256sum bagit.py openssl cd test sed cut head tail base64 od tr printf find wc grep"
TABLE = [
    # tampering, and who finds it: sha256sum, bagit.py, the signature, the count of files, the log
    ("flip", "sha256sum bagit.py"),
    ("remove", "sha256sum bagit.py count"),
    ("add to the payload", "bagit.py count"),
    ("add to the root", "count"),
    ("edit and bag again", "signature log"),
    ("sign again with another key", "signature log"),
    ("the proof's checkpoint edited", "checkpoint log stamp"),
]
PROGRAMS = {
    "sha256sum": lambda line: "sha256sum -c" in line,
    "bagit.py": lambda line: line.startswith("bagit.py"),
    "signature": lambda line: "tagmanifest-sha256.txt.sig" in line,
    "count": lambda line: "wc -l" in line,
    "log": lambda line: '"$root"' in line,
    "checkpoint": lambda line: "checkpoint.body" in line or "checkpoint.sig" in line,
    "stamp": lambda line: "openssl ts -verify" in line,
}


@pytest.mark.parametrize(("tampering", "finders"), TABLE)
def test_each_tampering_is_found_by_the_programs_that_the_design_says(
    office: Office, tmp_path: Path, tampering: str, finders: str
) -> None:
    if not office.folder.exists():
        assert office.command("stamp")[0] == 0
        assert office.command("export", *office.claims[:2], "-o", str(office.folder))[0] == 0
    folder = tmp_path / "export"
    shutil.copytree(office.folder, folder)
    tamper(folder, folder / office.claims[0], tampering)
    found = {name for name, mine in PROGRAMS.items() if obey(folder, mine).returncode != 0}
    assert found == set(finders.split())


def tamper(folder: Path, bag: Path, how: str) -> None:
    request = bag / "data/request.json"
    match how:
        case "flip":
            request.write_bytes(request.read_bytes().replace(b"POST", b"PUST"))
        case "remove":
            request.unlink()
        case "add to the payload":
            (bag / "data/extra.txt").write_text("x")
        case "add to the root":
            (bag / "extra.txt").write_text("x")
        case "the proof's checkpoint edited":
            note = (folder / "checkpoint.txt").read_text()
            root = claimed(note).text.splitlines()[2]
            (folder / "checkpoint.txt").write_text(note.replace(root, "A" * 43 + "="))
        case _:
            files = {str(path.relative_to(bag)): path.read_bytes() for path in bag.rglob("*") if path.is_file()}
            files["data/request.json"] = files["data/request.json"].replace(b"POST", b"PUST")
            for name, data in rebag(files).items():
                (bag / name).write_bytes(data)
    if how.startswith("sign again"):
        (bag / "tagmanifest-sha256.txt.sig").write_bytes(
            FixedSigner().sign((bag / "tagmanifest-sha256.txt").read_bytes())
        )


def test_what_is_not_sealed_or_does_not_verify_is_not_exported(office: Office, tmp_path: Path) -> None:
    code, _, said = office.command("export", "aurora-nothing", "-o", str(tmp_path / "a"))
    assert (code, "is not known" in said) == (1, True)
    (key,) = office.store.keys(f"bundles/{office.claims[2]}/")
    path = office.store.root / key
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-100])
    code, _, said = office.command("export", office.claims[2], "-o", str(tmp_path / "b"))
    assert (code, "does not verify" in said, (tmp_path / "b").exists()) == (1, True, False)
    code, document, _ = office.command("audit", "--json")
    assert code == 1
    assert document["findings"][0].startswith(f"Entry 2, claim {office.claims[2]}: ")
    path.write_bytes(whole)


def test_a_stamp_without_an_authority_says_what_to_set(office: Office) -> None:
    code, _, said = office.command("stamp", OEM_SUBMISSIONS_TSA_URL="")
    assert (code, "OEM_SUBMISSIONS_TSA_URL is not set" in said) == (3, True)
    code, _, said = office.command("stamp", OEM_SUBMISSIONS_TSA_CA="")
    assert (code, "OEM_SUBMISSIONS_TSA_CA is not set" in said) == (3, True)
