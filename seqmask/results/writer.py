"""All outputs of a run behind one `write`: each record is annotated once, in batches, and goes to every sink."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from seqmask.labels.ranks import Ranks
from seqmask.results import bed, fasta, table
from seqmask.results.annotated import Annotated, annotate
from seqmask.results.files import Sink, Target, check_targets, is_straight
from seqmask.results.hdf5 import Hdf5Writer
from seqmask.results.journal import Checkpoint, Journal
from seqmask.results.parts import Hdf5Parts
from seqmask.results.predictions import UNCLASSIFIED
from seqmask.results.recovery import HDF5, Recovery, check_nothing_left, check_resumable
from seqmask.results.report import Counts
from seqmask.results.shard import SUFFIX, Shard, describe
from seqmask.sequences.digest import chained
from seqmask.sequences.explanations import Explanation, Explanations

# A batch is written when it holds any of these. Arrays of more nucleotides leave the cache: a tenth slower.
BATCH_RECORDS: Final = 4096
BATCH_NUCLEOTIDES: Final = 1 << 18
BATCH_LOGITS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the outputs go; None is not written. '-' is stdout."""

    fasta: str | None = None
    bed: str | None = None
    tsv: str | None = None
    hdf5: str | None = None

    @classmethod
    def from_prefix(cls, prefix: str | Path) -> Paths:
        """All four outputs: PREFIX.fasta, PREFIX.bed, PREFIX.tsv, PREFIX.h5."""
        return cls(f"{prefix}.fasta", f"{prefix}.bed", f"{prefix}.tsv", f"{prefix}.h5")

    def given(self) -> dict[str, str]:
        """The outputs that are written, by kind."""
        kinds = {"fasta": self.fasta, "bed": self.bed, "tsv": self.tsv, HDF5: self.hdf5}
        return {kind: path for kind, path in kinds.items() if path is not None}

    def beside(self) -> dict[str, str]:
        """The file beside each text output that describes it as a shard, by kind."""
        texts = {kind: path for kind, path in self.given().items() if kind != HDF5 and not is_straight(path)}
        return {kind: path + SUFFIX for kind, path in texts.items()}

    def check(
        self, force: bool, *, extras: Iterable[str] = (), resume: bool = False, inputs: Iterable[str] = ()
    ) -> None:
        """Refuse what cannot be written as asked, before any work. extras: other files that the run writes; inputs:
        those that it reads.

        Raises InputError or UsageError, this also where a stopped run would be lost without `force` or `resume`.
        """
        given = self.given()
        check_targets((*given.values(), *extras), force, seekable=(self.hdf5,), inputs=inputs)
        if resume:
            check_resumable(given)
        if not force and given:
            check_nothing_left(given, resume)


@dataclass(frozen=True, slots=True)
class Style:
    """What is written, the same for all outputs.

    tau: threshold of kept nucleotides. rank: index of the rank that names a shared mask, the finest by default.
    token_tracks: 1 for a shared mask, R for one a rank. hard_mask: N instead of lower case. check: predictions of
    masked sequences are known. full_precision: importance in HDF5 is not rounded. min_confidence: a class below it is
    printed as `unclassified`.
    """

    tau: float
    rank: int = -1
    token_tracks: int = 1
    hard_mask: bool = False
    check: bool = False
    full_precision: bool = False
    min_confidence: float = 0.0


class Outputs:
    """Every requested output of one run. As a context manager: no file appears under its name before all are whole.

    metadata: for HDF5, see `Hdf5Writer`. extras: small files that are made of the counts at the end, by name. shard:
    which part of the input this is; a file beside each text output says it, too. recovery: write in a way that a
    stopped run can go on. counts: of what was written, records of a resumed run included; resumed: what is there from
    the stopped run, whose records must not be written again. Raises what `Paths.check` and `Recovery.begin` raise,
    before a file is touched, and OSError; a reader that has gone is a BrokenPipeError.
    """

    def __init__(
        self,
        paths: Paths,
        ranks: Ranks,
        style: Style,
        *,
        metadata: Mapping[str, Any] | None = None,
        force: bool = False,
        extras: Mapping[str, Callable[[Counts], bytes]] | None = None,
        shard: Shard | None = None,
        recovery: Recovery | None = None,
    ) -> None:
        self._extras, self._shard, self._beside = dict(extras or {}), shard, paths.beside() if shard else {}
        resume = recovery is not None and recovery.resume
        paths.check(force, extras=[*self._extras, *self._beside.values()], resume=resume)
        self._ranks, self._style, self._metadata = ranks, style, metadata or {}
        self._targets: list[Target] = []
        self._texts: dict[str, Sink] = {}
        self._parts: Hdf5Parts | None = None
        self._writers: list[Callable[[Annotated], None]] = []
        self._pending: list[Explanation] = []
        self._pending_nt = 0
        self._limit = max(1, min(BATCH_RECORDS, BATCH_LOGITS // max(1, sum(ranks.sizes))))
        self._outputs = {kind: Target(path, resumable=recovery is not None) for kind, path in paths.given().items()}
        self._journal: Journal | None = None
        self._saved, self._interval = Checkpoint(), 0.0
        if recovery is not None:
            self._journal, self._saved = recovery.begin(self._outputs)
            self._interval = recovery.seconds
        self.resumed = self._saved
        self.counts = Counts.from_json(self._saved.counts)
        self._digest, self._when = self._saved.digest, time.monotonic()
        try:
            for kind, target in self._outputs.items():
                self._open_hdf5(target) if kind == HDF5 else self._open_text(kind, target)
                self._targets.append(target)  # not before: what another run holds is not ours to remove
        except BaseException:
            self.abort()
            raise

    @property
    def unclassified(self) -> NDArray[np.int64]:
        """Records without a confident class, a rank (R,)."""
        return np.array([self.counts.classes.get(name, Counter())[UNCLASSIFIED] for name in self._ranks.names])

    @property
    def inconsistent(self) -> int:
        """Records with classes that never stand together in the training labels."""
        return self.counts.inconsistent

    @property
    def kept(self) -> int:
        """Records that a resumed run would not have to do again."""
        return self._saved.records

    def write(self, explanation: Explanation) -> None:
        """Take one record, in input order; it reaches the files with its batch. Raises OSError."""
        self._pending.append(explanation)
        self._pending_nt += len(explanation.record.sequence)
        if len(self._pending) >= self._limit or self._pending_nt >= BATCH_NUCLEOTIDES:
            self._write_pending()
            self._checkpoint()

    def write_all(self, explanations: Explanations) -> None:
        """Take many records at once, in input order; they are written before this returns. Raises OSError."""
        self._write_pending()
        ends = np.cumsum([len(record.sequence) for record in explanations.records])
        start, before = 0, 0
        while start < len(explanations):
            full = int(np.searchsorted(ends, before + BATCH_NUCLEOTIDES)) + 1  # the record that fills it is in it
            stop = min(full, start + self._limit, len(explanations))
            self._write_batch(explanations.part(start, stop))
            start, before = stop, int(ends[stop - 1])
        self._checkpoint()

    def check_readers(self) -> None:
        """Raise BrokenPipeError where nobody reads an output any more: `| head` needs no further pool."""
        for sink in self._texts.values():
            sink.check_reader()

    def close(self) -> None:
        """Write what is pending, close everything, then give every file its name. Raises OSError."""
        self._write_pending()
        for sink in self._texts.values():
            sink.close()
        if self._parts is not None:
            self._outputs[HDF5].working = self._parts.close()
        self._write_besides()
        if self._journal is not None:
            moves = [(target.working, target.final) for target in self._targets if not target.straight]
            self._journal.finish(moves, self.counts.records, self._digest)
        while self._targets:
            self._targets[0].commit()
            del self._targets[0]
        if self._parts is not None:
            self._parts.remove()
        if self._journal is not None:
            self._journal.remove()
        self._parts = self._journal = None

    def abort(self) -> None:
        """Close everything; targets stay as they were. Never raises OSError.

        What was written is removed, unless there is a checkpoint from which a resumed run can go on.
        """
        self._pending = []
        resumable = self._journal is not None and self._saved.records > 0
        for close in [sink.close for sink in self._texts.values()] + ([self._parts.abort] if self._parts else []):
            # A pipe whose reader has gone, or a full disk, fails once more here
            with contextlib.suppress(OSError):
                close()
        if not resumable:
            for target in self._targets:
                with contextlib.suppress(OSError):
                    target.discard()
        if self._parts is not None:
            self._parts.leave() if resumable else self._parts.remove()
        if self._journal is not None:
            self._journal.close() if resumable else self._journal.remove()
        self._texts, self._targets, self._parts, self._journal = {}, [], None, None

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abort()

    def _open_text(self, kind: str, target: Target) -> None:
        style = self._style
        kept, _ = self._saved.texts.get(kind, (0, ""))
        sink = self._texts[kind] = target.open(kept)
        if kind == "fasta":
            self._writers.append(lambda batch: fasta.write(sink, batch, hard_mask=style.hard_mask))
        elif kind == "bed":
            self._writers.append(lambda batch: bed.write(sink, batch))
        else:
            self._writers.append(lambda batch: table.write(sink, batch, check=style.check))
            if not kept:
                table.write_header(sink, self._ranks, check=style.check)

    def _open_hdf5(self, target: Target) -> None:
        style = self._style

        def create(path: Path) -> Hdf5Writer:
            return Hdf5Writer(
                path,
                self._ranks,
                self._metadata,
                token_tracks=style.token_tracks,
                check=style.check,
                full_precision=style.full_precision,
                tau=style.tau,
                shown=target.path,
            )

        self._parts = Hdf5Parts(target.working, create, self._saved.parts)
        self._writers.append(self._parts.append)

    def _write_besides(self) -> None:
        """The small files that are about the run or its outputs."""
        for kind, path in self._beside.items():
            assert self._shard is not None
            size = os.path.getsize(self._outputs[kind].working)
            self._write_small(path, describe(kind, size, self._shard))
        for path, make in self._extras.items():
            self._write_small(path, make(self.counts))

    def _write_small(self, path: str, data: bytes) -> None:
        target = Target(path)
        self._targets.append(target)
        with contextlib.closing(target.open()) as sink:
            sink.write(data)

    def _write_pending(self) -> None:
        pending, self._pending, self._pending_nt = self._pending, [], 0
        if pending:
            self._write_batch(Explanations.of(pending))

    def _write_batch(self, explanations: Explanations) -> None:
        style = self._style
        batch = annotate(explanations, self._ranks, style.tau, style.rank, style.min_confidence)
        self.counts.add(batch)
        for write in self._writers:
            write(batch)
        if self._journal is not None:
            for record in explanations.records:
                self._digest = chained(self._digest, record)

    def _checkpoint(self) -> None:
        """Make what was written safe, then say so, if it is time to.

        After what the caller has written at once, never within: a resumed run computes the same records together.
        """
        if self._journal is None or time.monotonic() - self._when < self._interval:
            return
        for sink in self._texts.values():
            sink.flush()
        parts = self._parts.checkpoint() if self._parts is not None else 0
        texts = {kind: (sink.written, sink.digest) for kind, sink in self._texts.items()}
        self._saved = Checkpoint(self.counts.records, self._digest, texts, parts, self.counts.to_json())
        self._journal.add(self._saved)
        self._when = time.monotonic()
