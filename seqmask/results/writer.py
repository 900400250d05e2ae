"""All outputs of a run behind one `write`: each record is annotated once, in batches, and goes to every sink."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from seqmask.labels import Ranks
from seqmask.results import bed, fasta, table
from seqmask.results.annotated import Annotated, annotate
from seqmask.results.files import Sink, Target, check_targets
from seqmask.results.hdf5 import Hdf5Writer
from seqmask.sequences.explanations import Explanation

# A batch is written when it holds either; the nucleotides and logits bound the memory.
BATCH_RECORDS: Final = 4096
BATCH_NUCLEOTIDES: Final = 1 << 22
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

    def check(self, force: bool) -> None:
        """Refuse what cannot be written as asked, before any work. Raises UsageError or InputError."""
        check_targets((self.fasta, self.bed, self.tsv, self.hdf5), force, seekable=(self.hdf5,))


@dataclass(frozen=True, slots=True)
class Style:
    """What is written, the same for all outputs.

    tau: threshold of kept nucleotides. rank: index of the rank that names a shared mask, the finest by default.
    token_tracks: 1 for a shared mask, R for one a rank. hard_mask: N instead of lower case. check: predictions of
    masked sequences are known. full_precision: importance in HDF5 is not rounded.
    """

    tau: float
    rank: int = -1
    token_tracks: int = 1
    hard_mask: bool = False
    check: bool = False
    full_precision: bool = False


class Outputs:
    """Every requested output of one run. As a context manager: no file appears under its name before all are whole.

    metadata: for HDF5, see `Hdf5Writer`. Raises what `Paths.check` raises, before a file is touched, and OSError; a
    reader that has gone is a BrokenPipeError.
    """

    def __init__(
        self,
        paths: Paths,
        ranks: Ranks,
        style: Style,
        *,
        metadata: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> None:
        paths.check(force)
        self._ranks, self._style = ranks, style
        self._targets: list[Target] = []
        self._sinks: list[Sink | Hdf5Writer] = []
        self._writers: list[Callable[[Annotated], None]] = []
        self._pending: list[Explanation] = []
        self._pending_nt = 0
        self._limit = max(1, min(BATCH_RECORDS, BATCH_LOGITS // max(1, sum(ranks.sizes))))
        try:
            self._open_texts(paths)
            if paths.hdf5 is not None:
                self._open_hdf5(paths.hdf5, metadata or {})
        except BaseException:
            self.abort()
            raise

    def write(self, explanation: Explanation) -> None:
        """Take one record, in input order; it reaches the files with its batch. Raises OSError."""
        self._pending.append(explanation)
        self._pending_nt += len(explanation.record.sequence)
        if len(self._pending) >= self._limit or self._pending_nt >= BATCH_NUCLEOTIDES:
            self._write_pending()

    def close(self) -> None:
        """Write what is pending, close everything, then give every file its name. Raises OSError."""
        self._write_pending()
        while self._sinks:
            self._sinks.pop().close()
        while self._targets:
            self._targets[0].commit()
            del self._targets[0]

    def abort(self) -> None:
        """Close everything and remove what was written; targets stay as they were. Never raises OSError."""
        self._pending = []
        for sink in self._sinks:
            # A pipe whose reader has gone, or a full disk, fails once more here
            with contextlib.suppress(OSError):
                sink.abort() if isinstance(sink, Hdf5Writer) else sink.close()
        for target in self._targets:
            with contextlib.suppress(OSError):
                target.discard()
        self._sinks, self._targets = [], []

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

    def _open_texts(self, paths: Paths) -> None:
        style = self._style
        if paths.fasta is not None:
            self._add(paths.fasta, lambda sink, batch: fasta.write(sink, batch, hard_mask=style.hard_mask))
        if paths.bed is not None:
            self._add(paths.bed, bed.write)
        if paths.tsv is not None:
            sink = self._add(paths.tsv, lambda sink, batch: table.write(sink, batch, check=style.check))
            table.write_header(sink, self._ranks, check=style.check)

    def _add(self, path: str, write: Callable[[Sink, Annotated], None]) -> Sink:
        target = Target(path)
        self._targets.append(target)
        sink = target.open()
        self._sinks.append(sink)
        self._writers.append(lambda batch: write(sink, batch))
        return sink

    def _open_hdf5(self, path: str, metadata: Mapping[str, Any]) -> None:
        target = Target(path)
        self._targets.append(target)
        style = self._style
        writer = Hdf5Writer(
            target.working,
            self._ranks,
            metadata,
            token_tracks=style.token_tracks,
            check=style.check,
            full_precision=style.full_precision,
        )
        self._sinks.append(writer)
        self._writers.append(writer.append)

    def _write_pending(self) -> None:
        pending, self._pending, self._pending_nt = self._pending, [], 0
        if not pending:
            return
        batch = annotate(pending, self._ranks, self._style.tau, self._style.rank)
        for write in self._writers:
            write(batch)
