"""Charts as SVG, drawn here: no script, no style of their own (the page's policy would forbid it), words for readers.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log10

from markupsafe import Markup, escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 460, 170, 40, 12, 24


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what stands below it, how high it is, and what is said of it. `more` is a second, lighter height."""

    label: str
    value: float
    words: str
    more: float | None = None


def bars(title: str, data: Sequence[Bar], unit: str = "") -> Markup:
    """A chart of bars; labels that would not fit are left out."""
    most = max([max(bar.value, bar.more or 0) for bar in data], default=0)
    top = nice(most)
    inner, room = _HEIGHT - _TOP - _BOTTOM, (_WIDTH - _LEFT - 4) / max(1, len(data))
    every = max(1, ceil(len(data) / 8))
    parts = [f'<text class="axis" x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{number(top)}{escape(unit)}</text>']
    parts.append(f'<text class="axis" x="{_LEFT - 6}" y="{_TOP + inner + 4}" text-anchor="end">0</text>')
    for share in (0.0, 0.5, 1.0):
        y = _TOP + inner * share
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 4}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for place, bar in enumerate(data):
        x, width = _LEFT + place * room + room * 0.15, room * 0.7
        for kind, value in (("bar more", bar.more), ("bar", bar.value)):
            if value:
                height = max(1.5, inner * value / top)
                y = _TOP + inner - height
                parts.append(
                    f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
                    f"<title>{escape(bar.words)}</title></rect>"
                )
        if place % every == 0:
            middle = _LEFT + (place + 0.5) * room
            text = (
                f'<text class="axis" x="{middle:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(bar.label)}</text>'
            )
            parts.append(text)
    told = "; ".join(bar.words for bar in data if bar.value) or "0"
    head = f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}: {told}")}">'
    return Markup(head + "".join(map(str, parts)) + "</svg>")  # noqa: S704 - every text in it is escaped


def nice(most: float) -> float:
    """A round number that is at least this, for the top of an axis."""
    if most <= 0:
        return 1
    step = 10.0 ** int(log10(most)) if most >= 1 else 10.0 ** -ceil(-log10(most))
    return float(next(step * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20) if step * factor >= most * 0.9999))


def number(value: float) -> str:
    """As short as it is clear."""
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
