"""Where a stopped run can be taken up again: the last point at which every output holds whole records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from seqmask.errors import UsageError
from seqmask.results.files import Target, readable
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
                for number, checkpoint in reversed(list(enumerate(journal.checkpoints(), 1))):
                    if _is_there(checkpoint, targets):
                        journal.keep(number)
                        return journal, checkpoint
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


def _is_there(checkpoint: Checkpoint, targets: Mapping[str, Target]) -> bool:
    """Whether the working files hold all that the checkpoint speaks of."""
    for kind, target in targets.items():
        there = Hdf5Parts.count(target.working) if kind == HDF5 else readable(target)
        if there < (checkpoint.parts if kind == HDF5 else checkpoint.sizes[kind]):
            return False
    return True
