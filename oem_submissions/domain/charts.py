"""Small pictures of a release's runs, for people: SVG as text, without script and outside styles. Pure.

They are readable in a page and as an image, on white and on black. In a page, text takes the page's colour where its
style sheet says `svg { color: inherit }`; anywhere else it has a grey that is dark enough for the one and bright
enough for the other.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from oem_submissions.domain.drift import BASELINE, CAP, Verdict, baseline, time_drift

NEWEST = 200
"""Runs that a chart shows at most."""
WIDTH, HEIGHT = 680, 220
"""Pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 112, 34, 30
_INK, _POINT, _GOOD, _BAD = "#7b8087", "#3f8ae0", "#25985d", "#dc5a3c"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
_DOTTED = 120
"""Points that get a dot each; more are a line only."""
_HEADROOM = 1.6
"""Times the highest line: what is higher is drawn at the edge, with its figure."""


@dataclass(frozen=True)
class Line:
    """A level across the chart."""

    label: str
    value: float
    limit: bool = False
    """Whether it must not be reached."""


@dataclass(frozen=True)
class _Scale:
    """Runs and values to pixels."""

    first: int
    runs: int
    """How many are shown."""
    top: float

    def x(self, run: float) -> float:
        """Of a run, counted from 1."""
        wide = WIDTH - _LEFT - _RIGHT
        return _LEFT + wide * ((run - self.first + 0.5) / self.runs)

    def y(self, value: float) -> float:
        """Of a value; what is too high is at the edge."""
        high = HEIGHT - _TOP - _BOTTOM
        return _TOP + high * (1 - min(value, self.top) / self.top)


def seconds_chart(seconds: Sequence[float], title: str) -> str:
    """Seconds per run, with the baseline's median, the cap and every alarm of `time_drift`."""
    alarms = {alarm.run: alarm.why for alarm in time_drift(seconds).alarms}
    usual = baseline(seconds, ()).median_seconds
    lines = [] if usual is None else [Line("baseline", usual), Line("cap", CAP * usual, limit=True)]
    return chart(seconds, title, lines, alarms, unit=" s", shaded=min(len(seconds), BASELINE))


def cusum_chart(verdict: Verdict, title: str) -> str:
    """The CUSUM after every run, with its limit and the alarms of whatever rule."""
    alarms = {alarm.run: alarm.why for alarm in verdict.alarms}
    return chart(verdict.series, title, [Line("limit", verdict.limit, limit=True)], alarms)


def as_image(svg: str, text: str) -> str:
    """Markdown that shows a chart as an image; `text` is for those who can't see it."""
    plain = text.translate(str.maketrans("[]\n", "() "))
    return f"![{plain}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def chart(
    points: Sequence[float],
    title: str,
    lines: Sequence[Line] = (),
    marks: Mapping[int, str] | None = None,
    *,
    unit: str = "",
    shaded: int = 0,
) -> str:
    """One value, 0 or more, per run: the newest `NEWEST` of them, as an SVG of `WIDTH` by `HEIGHT`.

    `marks`: why, by run (from 1). `shaded`: so many first runs are the baseline's. Texts are escaped.
    """
    shown = points[-NEWEST:]
    scale = _Scale(len(points) - len(shown) + 1, max(len(shown), 1), _top(shown, lines))
    noted = {run: why for run, why in (marks or {}).items() if scale.first <= run <= len(points)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' role="img" color="{_INK}" font-family="{_FONT}" font-size="11" fill="currentColor">',
        f"<title>{escape(title)}</title>",
        f'<text x="{_LEFT}" y="16" font-size="13" font-weight="600">{escape(title)}</text>',
        *_shade(scale, shaded),
        *(_grid(scale, unit) if shown else [_text(_LEFT, HEIGHT / 2, "No run yet.")]),
        *(_level(scale, line, unit) for line in lines if shown),
        *_curve(scale, shown),
        *_too_high(scale, shown, unit),
        *(_mark(scale, run, points[run - 1], why) for run, why in sorted(noted.items())),
        "</svg>",
    ]
    return "".join(parts)


def _top(shown: Sequence[float], lines: Sequence[Line]) -> float:
    highest, level = max(shown, default=0.0), max((line.value for line in lines), default=0.0)
    top = max(highest, level) * 1.08 or 1.0
    return min(top, level * _HEADROOM) if level else top


def _text(x: float, y: float, text: str, anchor: str = "start", fill: str = "currentColor") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'


def _shade(scale: _Scale, shaded: int) -> list[str]:
    if shaded < scale.first:
        return []
    left, right = scale.x(scale.first - 0.5), scale.x(shaded + 0.5)
    box = (
        f'<rect x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{HEIGHT - _TOP - _BOTTOM}" opacity=".1"/>'
    )
    named = right - left > 90
    return [box, *([_text(left + 5, HEIGHT - _BOTTOM - 6, "baseline's runs")] if named else [])]


def _grid(scale: _Scale, unit: str) -> list[str]:
    right = WIDTH - _RIGHT
    parts = []
    for value in _ticks(0.0, scale.top, 4):
        y = scale.y(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="currentColor" opacity=".25"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{value:g}{unit}", "end"))
    for run in _labelled(scale):
        said = f"run {run}" if run == scale.first else str(run)
        parts.append(_text(scale.x(run), HEIGHT - _BOTTOM + 15, said, "middle"))
    return parts


def _labelled(scale: _Scale) -> list[int]:
    """The first run and round ones, as far as their labels leave each other room."""
    round_ones = [int(run) for run in _ticks(scale.first, scale.first + scale.runs - 1, 8) if run == int(run)]
    return [scale.first, *(run for run in round_ones if scale.x(run) - scale.x(scale.first) > 40)]


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high."""
    raw = max((high - low) / about, 1e-9)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _level(scale: _Scale, line: Line, unit: str) -> str:
    y, colour = scale.y(line.value), _BAD if line.limit else _GOOD
    return (
        f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="{colour}" stroke-width="1.5" stroke-dasharray="5 4"/>'
        + _text(WIDTH - _RIGHT + 6, y + 4, f"{line.label} {line.value:.3g}{unit}", fill=colour)
    )


def _curve(scale: _Scale, shown: Sequence[float]) -> list[str]:
    at = [(scale.x(run), scale.y(value)) for run, value in enumerate(shown, scale.first)]
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    parts = [f'<polyline points="{steps}" fill="none" stroke="{_POINT}" stroke-width="1.5" stroke-linejoin="round"/>']
    if len(at) <= _DOTTED:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{_POINT}"/>' for x, y in at]
    return parts


def _too_high(scale: _Scale, shown: Sequence[float], unit: str) -> list[str]:
    over = [(run, value) for run, value in enumerate(shown, scale.first) if value > scale.top]
    return [_text(scale.x(run), _TOP - 4, f"{value:.3g}{unit}", "middle", _BAD) for run, value in over[-3:]]


def _mark(scale: _Scale, run: int, value: float, why: str) -> str:
    at = f'cx="{scale.x(run):.1f}" cy="{scale.y(value):.1f}"'
    return f'<circle {at} r="4.5" fill="{_BAD}"><title>{escape(why)}</title></circle>'
