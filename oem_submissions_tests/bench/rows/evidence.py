"""What evidence costs: bytes and milliseconds per claim, and how many bundles are verified in a second, beside others.

All of it is made and checked by the functions that production calls; what they come to do more is measured with them.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import bagit

from oem_submissions.domain.evidence import bundle_key
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED
from oem_submissions.evidence.bundle import MANIFEST, TAG_MANIFEST
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.services.seal import seal_claims
from oem_submissions_tests.bench.figures import ratio
from oem_submissions_tests.bench.report import Figures
from oem_submissions_tests.bench.rows.guarantees import Services, run_partition
from oem_submissions_tests.bench.stage import ACCOUNTS, OEM, Stage
from oem_submissions_tests.bench.steps import Timed, Timeline, watched
from oem_submissions_tests.evidence.sealing import KEYS, SEALING

TITLE = "Evidence: bytes and milliseconds per claim, verifications per second (Aurora, warranty)"
NOTE = (
    "Medians. 'keep' is the store's writes while a claim is filed; 'seal' builds, stores and reads back the bundle."
    " Verifications are of unpacked bundles, one after the other; sha256sum is a process for each manifest."
    " A ratio is of rates measured side by side, ours by the peer's: below 1 we are slower, for what the peer misses."
)
STEPS = {"capture before the click": ("pre-shot",), "capture after it": ("post-shot", "reference"), "keep": ()}
_KEEP = "evidence: put"
_VERIFIED = 20
"""Verifications that make one rate."""
Line = dict[str, str | float]


def measure(on: Stage, repetitions: int, claims: int) -> Figures:
    """`repetitions` runs over a partition of so many claims each, sealed and verified."""
    account = ACCOUNTS[0]
    worker = Services(account, on.ledger, on.browsers.portal(OEM))
    runs = [_once(on, worker, claims) for _ in range(repetitions + 1)][1:]  # the first is slower
    filed = [claim for _, done in runs for claim in done]
    bundles = [on.evidence.get(bundle_key(claim.claim_id, claim.bundle_digest or "")) for claim in filed]
    return Figures(
        TITLE,
        NOTE,
        {
            "bytes per claim": [*_by_file(bundles), *_by_folder(on, filed)],
            "ms per claim": _milliseconds([milliseconds for milliseconds, _ in runs], bundles),
            "verifications per second": _rates(bundles, repetitions),
        },
    )


def _once(on: Stage, worker: Services, claims: int) -> tuple[dict[str, float], list[Claim]]:
    """Milliseconds per claim by part, of one run; and its claims, sealed."""
    on.clear_portal()
    partition, _ = on.due_claims(worker.account, claims)
    timeline, began = Timeline(), time.perf_counter()
    with watched(timeline):
        done = run_partition(
            partition, worker.account, on.ledger, Timed(on.evidence, timeline, "evidence"), worker.portal
        )
    filing = time.perf_counter() - began
    began = time.perf_counter()
    unsealed = seal_claims(done, "run", "worker", ledger=on.ledger, evidence=on.evidence, **SEALING)
    sealing = time.perf_counter() - began
    sealed = on.ledger.claims(partition.oem, partition.dealer, partition.period)
    if unsealed or any(claim.state not in FILED for claim in sealed):
        raise RuntimeError(f"Not every claim was filed and sealed: {unsealed or done}")
    seconds = {what: sum(timeline.seconds[step] for step in steps) for what, steps in STEPS.items()}
    seconds |= {"keep": timeline.seconds[_KEEP], "seal": sealing, "all of the claim": filing + sealing}
    return {what: 1000 * value / claims for what, value in seconds.items()}, sealed


def _by_file(bundles: Sequence[bytes]) -> list[Line]:
    sizes: defaultdict[str, list[int]] = defaultdict(list)
    for bundle in bundles:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            for entry in archive.infolist():
                sizes[f"bundle: {entry.filename.partition('/')[2]}"].append(entry.file_size)
        sizes["bundle, whole"].append(len(bundle))
    return [{"": name, "bytes": statistics.median(found)} for name, found in sorted(sizes.items())]


def _by_folder(on: Stage, claims: Sequence[Claim]) -> list[Line]:
    """What the store keeps beside the bundles."""
    lines: list[Line] = []
    for folder in ("artifacts", "personal"):
        kept = [
            sum(len(on.evidence.get(key)) for key in on.evidence.keys(f"{folder}/{claim.claim_id}/"))
            for claim in claims
        ]
        lines.append({"": f"store: {folder}/", "bytes": statistics.median(kept)})
    return lines


def _milliseconds(runs: Sequence[dict[str, float]], bundles: Sequence[bytes]) -> list[Line]:
    median = {what: statistics.median(run[what] for run in runs) for what in runs[0]}
    began = time.perf_counter()
    for bundle in bundles:
        if not (found := verify_bundle(bundle, keys=KEYS)).ok:
            raise RuntimeError(f"A sealed bundle does not verify: {found.findings[0]}")
    verify = 1000 * (time.perf_counter() - began) / len(bundles)
    whole = median.pop("all of the claim")
    lines: list[Line] = [{"": what, "ms": ms, "% of the claim": 100 * ms / whole} for what, ms in median.items()]
    evidence = sum(median.values())
    lines.append({"": "all evidence", "ms": evidence, "% of the claim": 100 * evidence / whole})
    lines.append({"": "the whole claim", "ms": whole, "% of the claim": 100.0})
    lines.append({"": "verify, from the zip, later", "ms": verify, "% of the claim": 100 * verify / whole})
    return lines


def _rates(bundles: Sequence[bytes], repetitions: int) -> list[Line]:
    with tempfile.TemporaryDirectory(prefix="oem-submissions-bench-") as folder:
        bags = [_unpacked(bundle, Path(folder, str(number))) for number, bundle in enumerate(bundles)]
        checks: dict[str, Callable[[Path], object]] = {
            "oem-submissions verify": _ours,
            "bagit (library)": lambda bag: bagit.Bag(str(bag)).validate(),
            "sha256sum -c": _sha256sum,
        }
        rates: dict[str, list[float]] = {name: [] for name in checks}
        for _ in range(repetitions):
            for name, check in checks.items():
                began = time.perf_counter()
                for number in range(_VERIFIED):
                    check(bags[number % len(bags)])
                rates[name].append(_VERIFIED / (time.perf_counter() - began))
    ours = rates["oem-submissions verify"]
    return [
        {"": name, "per second": statistics.median(found), "ours / it": ratio(ours, found).median}
        for name, found in rates.items()
    ]


def _unpacked(bundle: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        archive.extractall(folder)
    (bag,) = folder.iterdir()
    return bag


def _ours(bag: Path) -> None:
    if not (found := verify_bundle(bag, keys=KEYS)).ok:
        raise RuntimeError(f"A bundle does not verify: {found.findings[0]}")


def _sha256sum(bag: Path) -> None:
    for manifest in (MANIFEST, TAG_MANIFEST):
        subprocess.run(["sha256sum", "-c", "--strict", "--quiet", manifest], cwd=bag, check=True)
