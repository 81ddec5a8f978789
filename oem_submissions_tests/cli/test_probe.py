"""`oem-submissions probe` at a simulated portal: exit codes, words, and the next pack as a candidate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oem_submissions.ledger.store import Ledger
from oem_submissions.portal.packs import versions
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.cli.test_commands import Ended, command, variables, whole_command
from oem_submissions_tests.portal.parts import SELECTORS

__all__ = ["command", "variables", "whole_command"]


def test_a_probe_is_green_or_says_what_changed_and_proposes_the_next_pack(
    command: Callable[..., Ended], whole_command: Callable[..., Ended], ledger: Ledger, tmp_path: Path
) -> None:
    with Simulator() as simulator:
        simulator.client.add_account("aurora", "10234", "jdoe", "secret-pw-7", "Lakeside Motors", None)
        secrets = {"USERNAME": "jdoe", "PASSWORD": "secret-pw-7"}
        environment = {f"OEM_SUBMISSIONS_SECRET_PORTAL_AURORA_10234_{name}": said for name, said in secrets.items()}
        environment["OEM_SUBMISSIONS_PORTAL_URL_AURORA"] = simulator.http_url
        green = command("probe", "aurora", "--dealer", "10234", "--json", **environment)
        assert (green.code, green.document["red"], green.document["changes"]) == (0, False, [])
        assert green.document["stopped"] == {"warranty": "there is no claim to try it with"}
        simulator.client.set_fault("aurora", "renamed_label")
        red = whole_command("probe", "aurora", "--dealer", "10234", "--propose", COLUMNS="200", **environment)
        assert simulator.client.truth("aurora")["submit_posts"] == 0
    assert (red.code, red.out) == (1, "")
    assert "warranty, page form" in red.err
    assert "BLOCK label 'VIN' is now 'Vehicle ID number'" in red.err
    assert [record.red for record in ledger.probes("aurora")] == [True, False]
    following = f"v{int(versions(SELECTORS, 'aurora')[-1][1:]) + 1:04d}"
    folder = tmp_path / "proposals" / "aurora"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{following}-warranty-form.webp", f"{following}.candidate.yaml", f"{following}.diff",
    ]  # fmt: skip
    assert f"{following}.candidate.yaml" in red.err.replace("\n", "")
    candidate = (folder / f"{following}.candidate.yaml").read_text()
    assert f"version: {following}" in candidate
    assert "label 'VIN' is now 'Vehicle ID number'; field 'vin'" in candidate
