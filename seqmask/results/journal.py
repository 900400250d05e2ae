"""What a stopped run leaves behind so that `--resume` can go on: a log beside the first output, and how it is read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from seqmask.errors import SeqmaskError, UsageError
from seqmask.results.files import Target, hold, is_straight

FORMAT: Final = "seqmask-journal"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A point at which all outputs hold whole records. records: so many from the run's first on.

    digest: of those records (`sequences.digest`). texts: bytes of each text output before compression, by its kind, and
    their digest. parts: whole HDF5 parts. counts: state of the report's counts.
    """

    records: int = 0
    digest: str = ""
    texts: dict[str, tuple[int, str]] = field(default_factory=dict)
    parts: int = 0
    counts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Checkpoint:
        """From a line of the journal; what another version wrote beyond these fields is left out."""
        return cls(**{of.name: entry[of.name] for of in fields(cls) if of.name in entry})


class Journal:
    """Lines of JSON: what the run is, then a `Checkpoint` each few minutes, at last the names that files are to get.

    path: see `beside`. While it is open no other run can open it: SeqmaskError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "a+b")  # noqa: SIM115 - closed by `close`
        try:
            hold(self._file, path)
        except SeqmaskError:
            self._file.close()
            raise

    @staticmethod
    def beside(output: str | Path) -> Path:
        """Where the journal of a run is whose first output is this one."""
        working = Target(output, resumable=True).working
        return working.with_name(working.name + ".journal")

    def start(self, run: Mapping[str, Any]) -> None:
        """Forget what is there, and say what the run is."""
        os.truncate(self.path, 0)
        self._add({"format": FORMAT, "run": dict(run)})

    def keep(self, count: int) -> None:
        """Forget all but the first `count` checkpoints."""
        lines = self._lines()
        os.truncate(self.path, sum(map(len, lines[: count + 1])))

    def add(self, checkpoint: Checkpoint) -> None:
        """Log a checkpoint."""
        self._add(asdict(checkpoint))

    def finish(self, moves: Sequence[tuple[Path, Path]], records: int, digest: str) -> None:
        """Log that all files are whole, of so many records of this digest, and the name that each is to get."""
        named = [[str(source), str(target)] for source, target in moves]
        self._add({"moves": named, "whole": {"records": records, "digest": digest}})

    def run(self) -> dict[str, Any] | None:
        """What the run is that wrote this; None if that is not known."""
        entries = self._entries()
        return dict(entries[0]["run"]) if entries else None

    def checkpoints(self) -> list[Checkpoint]:
        """All that were logged whole, in order."""
        return [Checkpoint.of(entry) for entry in self._entries()[1:] if "records" in entry]

    def whole(self) -> Checkpoint | None:
        """The records of all files, if they only want their names."""
        found = [entry["whole"] for entry in self._entries()[-1:] if "whole" in entry]
        return Checkpoint.of(found[0]) if found else None

    def moves(self) -> list[tuple[Path, Path]]:
        """Names that are to be given, if the run had come so far."""
        found = [entry["moves"] for entry in self._entries()[-1:] if "moves" in entry]
        return [(Path(source), Path(target)) for moves in found for source, target in moves]

    def close(self) -> None:
        """Close it; it stays for a resumed run."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete it."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def _add(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def _lines(self) -> list[bytes]:
        """Whole lines; the last one of a killed run may not be."""
        return [line for line in self.path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def _entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for line in self._lines():
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
        return entries if entries and entries[0].get("format") == FORMAT else []


def stopped(output: str | Path) -> int:
    """Records that a stopped run with this first output left; 0 without one."""
    path = Journal.beside(output)
    if is_straight(output) or not path.exists():
        return 0
    journal = Journal(path)
    checkpoints = journal.checkpoints()
    journal.close()
    return checkpoints[-1].records if checkpoints else 0


def stopped_beside(outputs: Iterable[str | Path]) -> int:
    """Most records that any stopped run left for one of these outputs, its first or not; 0 without one.

    The journal is beside a run's first output: it is looked for in the directories of these.
    """
    ours = {os.path.realpath(path) for path in outputs if not is_straight(path)}
    most = 0
    for folder in {Path(path).parent for path in ours}:
        for path in folder.glob(".*.partial.journal"):
            with contextlib.suppress(OSError, SeqmaskError):  # gone, not ours to read, or of a run that goes on
                journal = Journal(path)
                run, checkpoints = journal.run() or {}, journal.checkpoints()
                journal.close()
                if checkpoints and ours & set(run.get("outputs", {}).values()):
                    most = max(most, checkpoints[-1].records)
    return most


def ended(output: str | Path) -> Checkpoint | None:
    """The records of a run with this first output, if it was stopped when its files only wanted their names."""
    path = Journal.beside(output)
    if is_straight(output) or not path.exists():
        return None
    journal = Journal(path)
    whole = journal.whole()
    journal.close()
    return whole


def same_run(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise UsageError unless a stopped run was to do what this one is to do."""
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            raise UsageError(
                f"--resume: the stopped run had {key} {found.get(key)}, this one has {wanted.get(key)}; "
                "give the same options, or --force instead of --resume to start over"
            )
