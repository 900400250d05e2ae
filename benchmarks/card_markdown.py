"""Numbers, tables and commands of a model card as Markdown."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

Json = dict[str, Any]


def wrap(paragraph: str, indent: str = "") -> str:
    return textwrap.fill(paragraph, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def bullets(sentences: Iterable[str]) -> str:
    return "\n".join(wrap(f"- {sentence}", "  ") for sentence in sentences)


def number(value: float | None, sign: str = "") -> str:
    """Three decimals; n/a for what is not defined."""
    return "n/a" if value is None or math.isnan(value) else f"{value:{sign}.3f}"


def between(value: float | None, interval: Sequence[float | None], sign: str = "") -> str:
    """A figure with its 95 % interval; of signed figures the ends are signed, too."""
    low, high = interval
    return f"{number(value, sign)} ({number(low, sign)}{' to ' if sign else '-'}{number(high, sign)})"


def score(of: Json) -> str:
    return between(of["accuracy"], of["interval"])


def drawn(report: Json) -> str:
    """How a report's intervals were made."""
    column = report.get("resample_by")
    return f"Intervals draw the sequences of one {column} together." if column else "Intervals draw sequences singly."


def estimate(of: Json | None, sign: str = "") -> str:
    return "n/a" if of is None else between(of["mean"], of["interval"], sign)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(words: Sequence[str]) -> str:
    """A shell command as an indented block, broken before flags at 100 letters."""
    lines, line = [], ""
    for word in words:
        quoted = shlex.quote(word)
        if word.startswith("-") and len(line) > 90:
            lines.append(line + " \\")
            line = "    " + quoted
        else:
            line += f"{' ' if line else ''}{quoted}"
    return "\n".join(f"    {part}" for part in [*lines, line])
