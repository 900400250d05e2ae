"""Line plots as SVG text: small panels one above the other, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Line = Sequence[tuple[float, float]]

# Okabe and Ito 2008: told apart with any colour vision, and dashes where there are more lines than colours
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("", "6 3", "2 2")
WIDTH, HEIGHT, LEFT, LEGEND, TOP, BOTTOM, ROW = 760, 220, 60, 190, 26, 30, 15


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes: lines by name, each of (x, y) points in the order of x; y that is not finite is left out."""

    title: str
    lines: Mapping[str, Line]


def draw(panels: Sequence[Panel], x_label: str) -> str:
    """An SVG document of the panels, one above the other, all with the same range of x."""
    every = [x for panel in panels for line in panel.lines.values() for x, _ in line]
    across = ticks(min(every, default=0.0), max(every, default=1.0))
    height, body = 0, ""
    for panel in panels:
        own = max(HEIGHT, TOP + BOTTOM + ROW * len(panel.lines))  # no line without its name
        body += f'<g transform="translate(0,{height})">{_panel(panel, across, x_label, own)}</g>\n'
        height += own
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="11">\n<rect width="{WIDTH}" height="{height}" fill="white"/>\n'
        f"{body}</svg>\n"
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (steps of 1, 2 or 5 times a power of ten) from at or below `low` to at or above `high`."""
    span = high - low if high > low else max(abs(high), 1.0)
    step = 10.0 ** math.floor(math.log10(span / about))
    step *= next(times for times in (1, 2, 5, 10) if span / (step * times) <= about)
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    return [float(f"{i * step:.6g}") for i in range(first, last + 1)]


def _panel(panel: Panel, across: Sequence[float], x_label: str, height: int) -> str:
    finite = {name: [p for p in line if math.isfinite(p[1])] for name, line in panel.lines.items()}
    values = [y for line in finite.values() for _, y in line]
    up = ticks(min(values, default=0.0), max(values, default=1.0))
    right, bottom = WIDTH - LEGEND, height - BOTTOM

    def x_of(x: float) -> float:
        return LEFT + (x - across[0]) / (across[-1] - across[0]) * (right - LEFT)

    def y_of(y: float) -> float:
        return bottom - (y - up[0]) / (up[-1] - up[0]) * (bottom - TOP)

    parts = [_text(LEFT, 16, panel.title, 'font-weight="bold"'), _text(right, height - 4, x_label, 'text-anchor="end"')]
    for y in up:
        parts.append(_stroke([(LEFT, y_of(y)), (right, y_of(y))], "#dddddd"))
        parts.append(_text(LEFT - 6, y_of(y) + 4, f"{y:g}", 'text-anchor="end"'))
    parts += [_text(x_of(x), bottom + 14, f"{x:g}", 'text-anchor="middle"') for x in across]
    for i, (name, line) in enumerate(finite.items()):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        level = TOP + 8 + ROW * i
        parts.append(_stroke([(x_of(x), y_of(y)) for x, y in line], colour, dash, 1.5))
        parts.append(_stroke([(right + 10, level), (right + 34, level)], colour, dash, 2))
        parts.append(_text(right + 40, level + 4, name))
    return "".join(parts)


def _stroke(points: Line, colour: str, dash: str = "", width: float = 1) -> str:
    """A line through the points; a dot where there is only one."""
    if len(points) == 1:
        return f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="2.5" fill="{colour}"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashed}/>'


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'
