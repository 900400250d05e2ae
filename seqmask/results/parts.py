"""HDF5 that survives a killed run: written as parts that are whole, made one file at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from seqmask.errors import InputError
from seqmask.results.annotated import Annotated
from seqmask.results.files import hold
from seqmask.results.hdf5 import Hdf5Writer
from seqmask.results.merge import concatenate
from seqmask.results.reader import read


class Hdf5Parts:
    """Writes WORKING.1, WORKING.2, ...: a part that is closed stays readable whatever happens to the run.

    At the end WORKING.0 is what they are together.

    create: opens a writer at a path. whole: parts that are closed; those beyond are deleted. WORKING itself is held
    against other runs: SeqmaskError if one of them has it, and OSError.
    """

    def __init__(self, working: Path, create: Callable[[Path], Hdf5Writer], whole: int = 0) -> None:
        self._working, self._create, self._whole = working, create, whole
        self._lock = working.open("ab")
        try:
            hold(self._lock, working)
        except BaseException:
            self._lock.close()
            raise
        kept = {self._part(number) for number in range(1, whole + 1)}
        for path in set(parts_of(working)) - kept:
            path.unlink()
        try:
            self._open()
        except BaseException:
            self._lock.close() if whole else self.remove()
            raise

    @staticmethod
    def records(working: Path) -> list[int]:
        """Records of each part that a killed process left whole, from the first on without a gap."""
        found: list[int] = []
        with contextlib.suppress(InputError):
            while True:
                with read(working.with_name(f"{working.name}.{len(found) + 1}")) as part:
                    found.append(part.n_records)
        return found

    def append(self, batch: Annotated) -> None:
        """Add the records of a batch. Raises OSError."""
        self._writer.append(batch)
        self._empty = False

    def checkpoint(self) -> int:
        """Close the part that is being written and begin the next; returns the number of whole parts."""
        if not self._empty:
            self._writer.close()
            self._whole += 1
            self._open()
        return self._whole

    def close(self) -> Path:
        """Finish: the path of one file with everything in it. The parts stay until `remove`. Raises OSError."""
        self._writer.close()
        if self._whole == 0:
            return self._part(1)
        if not self._empty:
            self._whole += 1
        if self._whole == 1:
            return self._part(1)
        together = self._part(0)  # not WORKING: our lock would hinder that of HDF5
        concatenate([self._part(number) for number in range(1, self._whole + 1)], self._create(together))
        return together

    def abort(self) -> None:
        """Close the part that is being written as it is, not complete. Never raises."""
        self._writer.abort()

    def leave(self) -> None:
        """Keep what is there for a resumed run."""
        self._lock.close()

    def remove(self) -> None:
        """Delete all parts that are left."""
        remove(self._working)
        self._lock.close()

    def _open(self) -> None:
        part = self._part(self._whole + 1)
        try:
            self._writer, self._empty = self._create(part), True
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _part(self, number: int) -> Path:
        return self._working.with_name(f"{self._working.name}.{number}")


def parts_of(working: Path) -> list[Path]:
    """The parts that are there, whole or not."""
    begin = f"{working.name}."
    names = [path.name for path in working.parent.iterdir()]
    return [working.with_name(n) for n in names if n.startswith(begin) and n[len(begin) :].isdigit()]


def remove(working: Path) -> None:
    """Delete what is left beside a file that is whole, or that nobody wants."""
    for path in [working, *parts_of(working)]:
        with contextlib.suppress(OSError):
            path.unlink()
