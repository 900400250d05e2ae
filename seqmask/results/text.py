"""Small pieces of text that the FASTA, BED and TSV writers share, a whole column at a time.

What turns names into text is cached: the names of classes come again with every batch.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NOT_PRINTABLE = re.compile(r"[^!-~]")
_BREAKS = re.compile(r"[\t\r\n]")
_SPACES = re.compile(r"\s")
BED_NAME_MAX = 255


def encode(text: str) -> bytes:
    """UTF-8; bytes of the input that were not UTF-8 come back as they were (surrogateescape)."""
    return text.encode("utf-8", "surrogateescape")


@cache
def bed_name(text: str) -> str:
    """Printable ASCII without blanks, at most 255 characters: everything else becomes '_'."""
    return _NOT_PRINTABLE.sub("_", text)[:BED_NAME_MAX]


@cache
def one_word(text: str) -> str:
    """Every white space becomes '_'."""
    return _SPACES.sub("_", text)


@cache
def cell(text: str) -> str:
    """A TSV cell: tabs and line breaks become spaces."""
    return _BREAKS.sub(" ", text)


def decimals(values: NDArray[np.float32], digits: int) -> list[str]:
    """Numbers in [0, 1] with that many decimals; '' for NaN. values (n,).

    Looked up, not formatted: five times faster, and this is what the text writers do most.
    """
    table = decimal_table(digits)
    return [table[key] for key in units(values, digits).tolist()]


def units(values: NDArray[np.float32], digits: int) -> NDArray[np.int64]:
    """Numbers in [0, 1] in units of the last of that many decimals, -1 for NaN; any shape."""
    scaled = np.clip(np.rint(values.astype(np.float64) * 10**digits), 0, 10**digits)
    return np.where(np.isnan(scaled), -1, scaled).astype(np.int64)


def integers(values: NDArray[Any]) -> list[str]:
    """Integers >= 0 in decimal; small ones are looked up. values (n,)."""
    if values.max(initial=0) < len(table := _integer_table()):
        return [table[value] for value in values.tolist()]
    return list(map(str, values.tolist()))


@cache
def _integer_table() -> tuple[str, ...]:
    return tuple(map(str, range(1 << 12)))


@cache
def decimal_table(digits: int) -> tuple[str, ...]:
    """'0.00', '0.01', ..., '1.00', and '' last, which -1 reaches: text of `units`."""
    return (*(f"{i / 10**digits:.{digits}f}" for i in range(10**digits + 1)), "")
