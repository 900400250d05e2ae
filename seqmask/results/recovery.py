"""Where a stopped run can be taken up again: the last point at which every output holds whole records."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from seqmask.errors import UsageError
from seqmask.results.files import Target, prefixes
from seqmask.results.journal import Checkpoint, Journal, same_run, stopped_beside
from seqmask.results.parts import Hdf5Parts, remove

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
            run = self._run({kind: target.path for kind, target in targets.items()})
            found = journal.run() if self.resume else None
            if found is not None:
                same_run(run, found)
                checkpoints = journal.checkpoints()
                if last := _last(checkpoints, targets):
                    journal.keep(last)
                    return journal, checkpoints[last - 1]
            journal.start(run)
        except BaseException:
            journal.close()
            raise
        return journal, Checkpoint()

    def complete(self, outputs: Mapping[str, str]) -> None:
        """Give the files of an `ended` run, by kind, their names. Raises UsageError if it was to do something else."""
        journal = Journal(Journal.beside(next(iter(outputs.values()))))
        try:
            same_run(self._run(outputs), journal.run() or {})
            for source, target in journal.moves():
                if source.exists():
                    os.replace(source, target)
            if HDF5 in outputs:
                remove(_working(outputs[HDF5]))
        except BaseException:
            journal.close()
            raise
        journal.remove()

    def _run(self, outputs: Mapping[str, str]) -> dict[str, Any]:
        """What the run is, and where its outputs go, by kind."""
        return {**self.run, "outputs": {kind: os.path.realpath(path) for kind, path in outputs.items()}}


def check_resumable(targets: Mapping[str, str]) -> None:
    """Raise UsageError naming an output that is no file, and so cannot be taken up again."""
    for path in targets.values():
        if Target(path).straight:
            raise UsageError(f"--resume needs every output to be a file, and {path} is none")


def check_nothing_left(outputs: Mapping[str, str], resume: bool) -> None:
    """Raise UsageError where a stopped run has left records for one of these outputs, by kind, that would be lost.

    resume: what is left is not lost where the journal is beside the first output, as it tells what there is.
    """
    if resume and Journal.beside(next(iter(outputs.values()))).exists():
        return
    parts = Hdf5Parts.records(_working(outputs[HDF5])) if HDF5 in outputs else []
    kept = max(sum(parts), stopped_beside(outputs.values()))
    if kept and resume:
        raise UsageError(
            f"a stopped run with other outputs, too, has left {kept} records for one of these; give its own command "
            "with --resume to go on from there, or --force instead of --resume to start over"
        )
    if kept:
        raise UsageError(
            f"a stopped run has left {kept} records for these outputs; give --resume to go on from there, "
            "or --force to start over"
        )


def _working(path: str) -> Path:
    return Target(path, resumable=True).working


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
