"""Small pieces of text that the FASTA, BED and TSV writers share, a whole column at a time.

What turns names into text is cached: the names of classes come again with every batch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_NOT_PRINTABLE = re.compile(r"[^!-~]")
_BREAKS = re.compile(r"[\t\r\n]")
_SPACES = re.compile(r"\s")
BED_NAME_MAX = 255

Table: TypeAlias = NDArray[np.object_]
"""Texts (K,) that are looked up by their number."""


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


def woven(columns: Sequence[list[str] | str]) -> str:
    """Rows of text end to end, each the pieces of one row; columns of n pieces each, or one piece that every row has.

    One join over all pieces: faster than a formatted string a row.
    """
    count = next(len(column) for column in columns if isinstance(column, list))
    pieces = [""] * (count * len(columns))
    for i, column in enumerate(columns):
        pieces[i :: len(columns)] = column if isinstance(column, list) else [column] * count
    return "".join(pieces)


def table_of(texts: Iterable[str]) -> Table:
    """Texts to be looked up by number, thousands at a time: `table[codes].tolist()`; negative ones from the end."""
    return np.array(list(texts), dtype=object)


def decimals(values: NDArray[np.float32], digits: int) -> list[str]:
    """Numbers in [0, 1] with that many decimals; '' for NaN. values (n,).

    Looked up, not formatted: five times faster, and this is what the text writers do most.
    """
    found: list[str] = decimal_table(digits)[units(values, digits)].tolist()
    return found


def units(values: NDArray[np.float32], digits: int) -> NDArray[np.int64]:
    """Numbers in [0, 1] in units of the last of that many decimals, -1 for NaN; any shape."""
    scaled = np.clip(np.rint(values.astype(np.float64) * 10**digits), 0, 10**digits)
    return np.where(np.isnan(scaled), -1, scaled).astype(np.int64)


def integers(values: NDArray[Any], before: str = "", after: str = "") -> list[str]:
    """Integers >= 0 in decimal, with what stands around each; small ones are looked up. values (n,)."""
    table = _integer_table(before, after)
    if values.max(initial=0) < len(table):
        found: list[str] = table[values].tolist()
        return found
    return [f"{before}{value}{after}" for value in values.tolist()]


@cache
def _integer_table(before: str, after: str) -> Table:
    return table_of(f"{before}{i}{after}" for i in range(1 << 12))


@cache
def decimal_table(digits: int) -> Table:
    """'0.00', '0.01', ..., '1.00', and '' last, which -1 reaches: text of `units`."""
    return table_of((*(f"{i / 10**digits:.{digits}f}" for i in range(10**digits + 1)), ""))
