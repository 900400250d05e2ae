"""Which records of its input a run masks: one shard of them, without those that a stopped run has done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from seqmask.errors import InputError, UsageError
from seqmask.inference.explain import grouped
from seqmask.models.checkpoint import ClassifierModel
from seqmask.results.files import is_straight
from seqmask.results.journal import Checkpoint
from seqmask.results.shard import Shard, bounds, parse
from seqmask.sequences.digest import chained
from seqmask.sequences.meter import Meter
from seqmask.sequences.records import Record, checked, read
from seqmask.sequences.source import STDIN


def part_of(text: str, reads: Sequence[str]) -> tuple[int, int]:
    """I and N of `--shard I/N`. Raises UsageError for what is no shard, and for input that cannot be read twice."""
    number, of = parse(text)
    for path in reads:
        if path == STDIN or is_straight(path):
            raise UsageError(
                f"--shard reads its input twice, to count it first: name files, not {path}, which is a pipe"
            )
    return number, of


def plan(
    number: int,
    of: int,
    reads: Sequence[str],
    model: ClassifierModel,
    overlap: int,
    frames: int,
    smallest: bool,
    run: Mapping[str, Any],
) -> Shard:
    """Shard `number` of `of` of the input, which is read once to count its pools: a shard is some of them, one after
    the other. run: what else the results depend on.
    """
    digest, edges = "", [0]
    for _, group in grouped(enumerate(read(reads)), model, overlap, frames, smallest):
        edges.append(edges[-1] + len(group))
        for record in group:
            digest = chained(digest, record)
    start, stop = (edges[edge] for edge in bounds(number, of, len(edges) - 1))
    return Shard(number, of, start, stop, edges[-1], digest, dict(run))


def portion(records: Iterator[Record], shard: Shard | None, done: Checkpoint) -> Iterator[tuple[int, Record]]:
    """The records to mask, each with its ordinal in the input. Raises InputError where one is not nucleotides, or where
    what the stopped run has done is not what is there.
    """
    start, stop = (shard.start, shard.stop) if shard else (0, None)
    part = islice(records, start, stop)
    left = _after(_whole(part, shard) if shard else part, done)
    return enumerate(checked(left), start + done.records)


def _whole(records: Iterator[Record], shard: Shard) -> Iterator[Record]:
    """The records of a shard; InputError at their end if these are not as many as were counted."""
    left, path = shard.stop - shard.start, STDIN
    for record in records:
        left, path = left - 1, record.path
        yield record
    if left:
        raise InputError(
            path,
            f"{left} records fewer than were counted for shard {shard.name}",
            remedy="the input has changed meanwhile: mask all shards again",
        )


def _after(records: Iterator[Record], done: Checkpoint) -> Iterator[Record]:
    digest, path = "", STDIN
    for record in islice(records, done.records):
        digest, path = chained(digest, record), record.path
    if digest != done.digest:
        del records  # the error's traceback would keep the file open
        raise InputError(
            path,
            f"not the {done.records} records that the stopped run began with",
            remedy="give the same files, or --force instead of --resume to start over",
        )
    yield from records


def share_of(meter: Meter, shard: Shard | None, skipped: int) -> Callable[[int], float | None]:
    """The share of what is to do that so many records of this run are, None where it is not known."""
    if shard is not None:
        return lambda records: records / max(shard.stop - shard.start - skipped, 1)

    before: float | None = None

    def share(records: int) -> float | None:
        nonlocal before
        if not records:
            return 0.0
        if before is None:
            before = meter.share(skipped)  # once: the meter forgets what lies behind
        now = meter.share(skipped + records)
        return None if before is None or now is None or before == 1 else (now - before) / (1 - before)

    return share
