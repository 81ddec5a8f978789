"""Charts and tables of the drift rules show every run, limit and alarm, and let no text in as markup."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest

from oem_submissions.domain.charts import HEIGHT, NEWEST, WIDTH, Line, as_image, chart, cusum_chart, seconds_chart
from oem_submissions.domain.drift import success_drift, time_drift
from oem_submissions.domain.drift_tables import success_table, time_table

SVG = "{http://www.w3.org/2000/svg}"
SLOWER = [8.0, 8.4, 7.6, 8.0] * 10 + [12.0] * 8


def _drawn(svg: str) -> ElementTree.Element:
    """The chart as a parser reads it; one that would not be drawn as an image fails here."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - we made it
    assert (root.tag, root.get("width"), root.get("height")) == (f"{SVG}svg", str(WIDTH), str(HEIGHT))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "text", "rect", "path", "polyline", "circle")
    }
    return root


def _texts(root: ElementTree.Element) -> list[str]:
    return [str(text.text) for text in root.iter(f"{SVG}text")]


def _curve(root: ElementTree.Element) -> list[tuple[float, float]]:
    line = root.find(f"{SVG}polyline")
    assert line is not None
    return [(float(x), float(y)) for x, y in (at.split(",") for at in str(line.get("points")).split())]


def _alarms(root: ElementTree.Element) -> dict[str, tuple[float, float]]:
    """Where each alarm's mark is, by what it says."""
    found = {}
    for circle in root.iter(f"{SVG}circle"):
        if (said := circle.find(f"{SVG}title")) is not None:
            found[str(said.text)] = (float(str(circle.get("cx"))), float(str(circle.get("cy"))))
    return found


def test_seconds_are_drawn_with_baseline_cap_and_alarms() -> None:
    root, verdict = _drawn(seconds_chart(SLOWER, "Seconds to submit")), time_drift(SLOWER)
    assert {"Seconds to submit", "baseline 8 s", "cap 24 s", "baseline's runs", "run 1", "40", "20 s"} <= set(
        _texts(root)
    )
    curve = _curve(root)
    assert len(curve) == len(SLOWER)
    assert _alarms(root) == {alarm.why: pytest.approx(curve[alarm.run - 1]) for alarm in verdict.alarms}
    assert len(verdict.alarms) == 1
    assert curve[47][1] < curve[1][1] < curve[0][1] < curve[2][1]  # up is slower
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in curve)


def test_the_sum_is_drawn_with_its_limit_and_an_alarm_above_it() -> None:
    verdict = success_drift([True] * 20 + [False] * 3 + [True] * 5, 5)
    svg = cusum_chart(verdict, "Failures")
    assert "limit 58" in _texts(_drawn(svg))
    limit = re.search(r"M\d+ ([\d.]+)H\d+\" stroke=\"[^\"]+\" stroke-width", svg)
    assert limit is not None
    ((_, alarm),) = _alarms(_drawn(svg)).values()
    curve = _curve(_drawn(svg))
    assert alarm < float(limit[1]) < curve[21][1]
    assert curve[-1][1] == max(y for _, y in curve)


def test_only_the_newest_runs_are_drawn_and_what_is_off_the_chart_says_its_figure() -> None:
    seconds = [8.0] * 500
    seconds[450] = 400.0
    root = _drawn(seconds_chart(seconds, "Seconds"))
    assert len(_curve(root)) == NEWEST
    assert {"run 301", "400", "400 s"} <= set(_texts(root))
    assert "baseline's runs" not in _texts(root)
    assert min(y for _, y in _curve(root)) > 0
    assert [why.partition(",")[0] for why in _alarms(root)] == ["Run 451 took 400.0 s"]


@pytest.mark.parametrize("seconds", [[], [8.0], [8.0, 9.0], [0.02] * 6, [1e-9], [1e6] * 300])
def test_any_number_of_runs_and_any_seconds_can_be_drawn(seconds: list[float]) -> None:
    texts = _texts(_drawn(seconds_chart(seconds, "Seconds")))
    assert ("No run yet." in texts) is (not seconds)
    _drawn(cusum_chart(time_drift(seconds), "CUSUM"))


def test_texts_are_never_markup() -> None:
    text = "<script>alert(\"1\")</script> & 'more'"
    root = _drawn(chart([1.0, 2.0], text, [Line(text, 1.5)], {2: text}, unit="<s>"))
    assert text in _texts(root)
    assert f"{text} 1.5<s>" in _texts(root)
    assert list(_alarms(root)) == [text]
    image = as_image(chart([1.0], "One"), "a ] (b)\n[c")
    assert image.startswith("![a ) (b) (c](data:image/svg+xml;base64,")
    assert base64.b64decode(image.rpartition(",")[2][:-1]).decode() == chart([1.0], "One")


def test_tables_have_every_run_newest_first() -> None:
    table, verdict = time_table(SLOWER), time_drift(SLOWER)
    assert list(table.columns) == ["run", "seconds", "times the baseline", "CUSUM", "alarms"]
    assert list(table["run"]) == list(range(48, 0, -1))
    assert (table["seconds"][0], table["times the baseline"][0]) == (12.0, 1.5)
    assert tuple(table["CUSUM"][::-1]) == verdict.series
    assert dict(zip(table["run"], table["alarms"], strict=True)) == {
        run: "slower" if run == verdict.alarms[0].run else "" for run in range(1, 49)
    }
    both = time_table([8.0] * 5 + [40.0])
    assert both["alarms"][0] == "cap, slower than verified"
    failed = success_table([True, False, False, False], 5)
    assert list(failed.itertuples(index=False, name=None)) == [
        (4, "failed", 72.0, "failures"),
        (3, "failed", 48.0, ""),
        (2, "failed", 24.0, ""),
        (1, "well", 0.0, ""),
    ]
    assert time_table([]).empty
    assert success_table([], 5).empty
