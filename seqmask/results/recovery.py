"""Where a stopped run can be taken up again: the last point at which every output holds whole records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seqmask.errors import UsageError
from seqmask.results.files import Target, prefixes
from seqmask.results.journal import Checkpoint, Journal, same_run
from seqmask.results.parts import Hdf5Parts

HDF5: Final = "hdf5"


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a run may be stopped and go on. run: what a resumed run must agree in, by name; JSON values.

    resume: go on where a stopped run ended, if there is one. seconds: between checkpoints.
    """

    run: Mapping[str, Any]
    resume: bool = False
    seconds: float = 300.0

    def begin(self, targets: Mapping[str, Target]) -> tuple[Journal, Checkpoint]:
        """The journal of these outputs, by kind, and where to go on: at a checkpoint without records to start anew.

        Raises UsageError if the stopped run was to do something else, SeqmaskError if it is not stopped.
        """
        journal = Journal(Journal.beside(next(iter(targets.values())).path))
        try:
            found = journal.run() if self.resume else None
            if found is not None:
                same_run(self.run, found)
                checkpoints = journal.checkpoints()
                if last := _last(checkpoints, targets):
                    journal.keep(last)
                    return journal, checkpoints[last - 1]
            journal.start(self.run)
        except BaseException:
            journal.close()
            raise
        return journal, Checkpoint()


def check_resumable(targets: Mapping[str, str]) -> None:
    """Raise UsageError naming an output that is no file, and so cannot be taken up again."""
    for path in targets.values():
        if Target(path).straight:
            raise UsageError(f"--resume needs every output to be a file, and {path} is none")


def _last(checkpoints: Sequence[Checkpoint], targets: Mapping[str, Target]) -> int:
    """Number, from 1, of the last checkpoint of which all is there, byte by byte; 0 if there is none."""
    there = {
        kind: prefixes(target, (checkpoint.texts[kind][0] for checkpoint in checkpoints))
        for kind, target in targets.items()
        if kind != HDF5
    }
    records = Hdf5Parts.records(targets[HDF5].working) if HDF5 in targets else []
    for number, checkpoint in reversed(list(enumerate(checkpoints, 1))):
        texts = all(there[kind].get(size) == digest for kind, (size, digest) in checkpoint.texts.items())
        parts = records[: checkpoint.parts] if HDF5 in targets else [checkpoint.records]
        if texts and sum(parts) == checkpoint.records:
            return number
    return 0
