"""The HDF5 file as what other tools read: bedGraph, bigWig, a table of tokens, arrays for TF-MoDISco, logo tables."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seqmask.errors import InputError, SeqmaskError, UsageError, brief, install
from seqmask.labels.ranks import ALIASES
from seqmask.results.files import Target, Writable
from seqmask.results.reader import Results
from seqmask.results.text import cell, encode
from seqmask.sequences.records import Record, check_nucleotides, read
from seqmask.sequences.spans import Spans, spread

BASES: Final = "ACGT"
_CODES: Final = np.full(256, len(BASES), dtype=np.uint8)
for _letters in (BASES, BASES.lower()):
    _CODES[np.frombuffer(_letters.encode(), dtype=np.uint8)] = range(len(BASES))
_CODES[np.frombuffer(b"Uu", dtype=np.uint8)] = BASES.index("T")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one record. index: its ordinal in the input. spans (n, 2) int32: nt. importance (n, G) float32."""

    name: str
    index: int
    length: int
    spans: Spans
    importance: NDArray[np.float32]

    def track(self, column: int) -> NDArray[np.float32]:
        """Importance of each nucleotide (L,), NaN where no token covers it."""
        return spread(self.importance[:, column], self.spans, self.length)


Sequenced: TypeAlias = "Iterator[tuple[Tokens, Record]]"


def tokens(results: Results, names: Collection[str] = ()) -> Iterator[Tokens]:
    """Every record in order, or those of these names. Raises InputError if there is none of one of the names."""
    missing = set(names)
    for start, stop in results.blocks():
        offsets = results.column("records/token_offset", start, stop + 1)
        first, last = int(offsets[0]), int(offsets[-1])
        spans = np.stack([results.column(f"tokens/{end}", first, last) for end in ("start", "end")], axis=1)
        importance = results.column("tokens/importance", first, last).reshape(len(spans), results.tracks)
        lengths = results.column("records/length", start, stop).tolist()
        indices = results.column("records/index", start, stop).tolist()
        bounds = (offsets - first).tolist()
        for i, name in enumerate(results.ids(start, stop)):
            if not names or name in names:
                missing.discard(name)
                part = slice(bounds[i], bounds[i + 1])
                yield Tokens(name, indices[i], lengths[i], spans[part], importance[part])
    if missing:
        raise InputError(
            results.path, f"no record {brief(min(missing))}", remedy="names are the first words of the headers"
        )


def track_of(results: Results, rank: str | None) -> int:
    """Column of the importance that belongs to a rank, None = the finest. Raises UsageError for an unknown rank."""
    known = results.ranks.names
    if rank is not None and rank not in known and ALIASES.get(rank) not in known:
        raise UsageError(f"--rank {rank}: no such rank in {results.path}; expected {', '.join(known)}")
    index = len(known) - 1 if rank is None else results.ranks.index(rank)
    return min(index, results.tracks - 1)


def intervals(track: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Starts (n,), ends (n,) and values (n,) of the maximal stretches of one value in a track (L,), NaN left out."""
    edges = np.flatnonzero(track[1:] != track[:-1]) + 1
    starts = np.concatenate([np.zeros(min(len(track), 1), dtype=np.int64), edges])
    ends = np.append(starts[1:], len(track)) if len(starts) else starts
    values = track[starts]
    known = ~np.isnan(values)
    return starts[known], ends[known], values[known]


def write_bedgraph(sink: Writable, results: Results, column: int, names: Collection[str] = ()) -> None:
    """One line a stretch of equal importance: chrom, start, end, value; nt that no token covers are left out."""
    for record in tokens(results, names):
        starts, ends, values = intervals(record.track(column))
        rows = zip(starts.tolist(), ends.tolist(), _shortest(values), strict=True)
        sink.write(encode("".join(f"{record.name}\t{start}\t{end}\t{value}\n" for start, end, value in rows)))


def _shortest(values: NDArray[np.float32]) -> list[str]:
    """The shortest text of each number (n,) that gives the same float32 again; a few numbers stand for most."""
    found, where = np.unique(values, return_inverse=True)
    texts = [np.format_float_positional(value, trim="0") for value in found]
    return [texts[i] for i in where.tolist()]


def write_bigwig(target: Target, results: Results, column: int, names: Collection[str] = ()) -> None:
    """The same as bigWig; the records are its chromosomes. Raises InputError for two records of one name."""
    try:
        import pybigtools
    except ImportError as error:
        raise SeqmaskError(f"bigWig needs pybigtools; {install('bigwig')}") from error
    sizes: dict[str, int] = {}
    covered = False
    for record in tokens(results, names):
        covered = covered or len(record.spans) > 0
        if record.name in sizes:
            raise InputError(
                results.path, f"two records {brief(record.name)}", remedy="a bigWig needs unique names; take bedGraph"
            )
        sizes[record.name] = record.length
    failed: list[BaseException] = []

    def rows() -> Iterator[tuple[str, int, int, float]]:
        try:
            for record in tokens(results, names):
                starts, ends, values = intervals(record.track(column))
                for start, end, value in zip(starts.tolist(), ends.tolist(), values.tolist(), strict=True):
                    yield record.name, start, end, value
        except BaseException as error:  # the library would print it and go on
            failed.append(error)

    if not covered:
        raise InputError(results.path, "no record has a mask", expected="some importance: a bigWig cannot be empty")
    named = Path(f"{target.working}.bw")  # the library goes by the suffix
    try:
        pybigtools.open(str(named), "w").write(sizes, rows())
        if failed:
            raise failed[0]
        os.replace(named, target.working)
    finally:
        named.unlink(missing_ok=True)


def write_tokens(sink: Writable, results: Results, names: Collection[str] = ()) -> None:
    """One line a token: id, start, end, importance; where each rank has a mask of its own, one column a rank."""
    columns = ["importance"] if results.tracks == 1 else [cell(name) for name in results.ranks.names]
    sink.write(encode("\t".join(["id", "start", "end", *columns]) + "\n"))
    for record in tokens(results, names):
        values = [_shortest(column) for column in record.importance.T]
        rows = zip(map(str, record.spans[:, 0].tolist()), map(str, record.spans[:, 1].tolist()), *values, strict=True)
        sink.write(encode("".join(f"{record.name}\t{line}\n" for line in map("\t".join, rows))))


def with_sequences(records: Iterable[Tokens], results: Results, reads: Sequence[str]) -> Sequenced:
    """Each record with its sequence, from the files that were masked. Raises InputError if they are not those."""
    sequences = enumerate(read(reads))
    for record in records:
        found = next((sequence for index, sequence in sequences if index == record.index), None)
        if found is None or (found.name, len(found.sequence)) != (record.name, record.length):
            what = f"record {brief(found.name)} of {len(found.sequence)} nt" if found else "no more records"
            raise InputError(
                found.path if found else reads[-1],
                what,
                expected=f"{brief(record.name)} of {record.length} nt, as in {results.path}",
                remedy="give the files that were masked, in the same order",
                line=found.line if found else None,
            )
        check_nucleotides(found)
        yield record, found


def one_hot(sequence: str) -> NDArray[np.int8]:
    """A, C, G, T (or U) of a sequence as (4, L) int8; other letters are zeros."""
    codes = _CODES[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]
    return np.eye(len(BASES) + 1, dtype=np.int8)[: len(BASES), codes]


def write_logos(sink: Writable, records: Sequenced, column: int) -> None:
    """One line a nucleotide: id, position (from 0), A, C, G, T: its importance in the column of its letter, else 0."""
    sink.write(encode("\t".join(["id", "position", *BASES]) + "\n"))
    for record, sequence in records:
        heights = np.nan_to_num(record.track(column)) * one_hot(sequence.sequence)
        rows = zip(map(str, range(record.length)), *(_shortest(row) for row in heights), strict=True)
        sink.write(encode("".join(f"{record.name}\t{line}\n" for line in map("\t".join, rows))))


def modisco_arrays(
    records: Sequenced, column: int, length: int
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """One-hot sequences and importances of windows of `length` nt, as `modisco motifs` loads them.

    Each is a dict of arr_0 (n, 4, length), int8 or float32; ids (n,) and starts (n,) say where a window comes from. A
    record is cut into windows one after the other; the last is filled up with zeros. The mean of the record is taken
    off its importances: TF-MoDISco sets its thresholds by scores of both signs.
    """
    hots, scores, ids, starts = [], [], [], []
    for record, sequence in records:
        hot = one_hot(sequence.sequence)
        track = record.track(column)
        mean = np.nanmean(track) if len(record.spans) else 0
        score = np.nan_to_num(track - np.float32(mean)) * hot
        for start in range(0, record.length, length):
            wide = ((0, 0), (0, max(start + length - record.length, 0)))
            hots.append(np.pad(hot[:, start : start + length], wide))
            scores.append(np.pad(score[:, start : start + length], wide))
            ids.append(record.name)
            starts.append(start)
    where: dict[str, NDArray[Any]] = {"ids": np.array(ids, dtype=np.str_), "starts": np.array(starts, dtype=np.int64)}
    shape = (len(hots), len(BASES), length)
    return (
        {"arr_0": np.array(hots, dtype=np.int8).reshape(shape), **where},
        {"arr_0": np.array(scores, dtype=np.float32).reshape(shape), **where},
    )
