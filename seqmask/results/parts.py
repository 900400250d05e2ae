"""HDF5 that survives a killed run: written as parts that are whole, made one file at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from seqmask.errors import InputError
from seqmask.results.annotated import Annotated
from seqmask.results.hdf5 import Hdf5Writer
from seqmask.results.merge import concatenate
from seqmask.results.reader import read


class Hdf5Parts:
    """Writes WORKING.1, WORKING.2, ...: a part that is closed stays readable whatever happens to the run.

    create: opens a writer at a path. whole: parts that are closed; those beyond are deleted.
    """

    def __init__(self, working: Path, create: Callable[[Path], Hdf5Writer], whole: int = 0) -> None:
        self._working, self._create, self._whole = working, create, whole
        kept = {self._part(number) for number in range(1, whole + 1)}
        for path in self._all():
            if path not in kept:
                path.unlink()
        self._open()

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
        concatenate([self._part(number) for number in range(1, self._whole + 1)], self._create(self._working))
        return self._working

    def abort(self) -> None:
        """Close the part that is being written as it is, not complete. Never raises."""
        self._writer.abort()

    def remove(self) -> None:
        """Delete all parts that are left."""
        for path in [self._working, *self._all()]:
            with contextlib.suppress(OSError):
                path.unlink()

    def _open(self) -> None:
        self._writer, self._empty = self._create(self._part(self._whole + 1)), True

    def _part(self, number: int) -> Path:
        return self._working.with_name(f"{self._working.name}.{number}")

    def _all(self) -> list[Path]:
        begin = f"{self._working.name}."
        names = [path.name for path in self._working.parent.iterdir()]
        return [self._working.with_name(n) for n in names if n.startswith(begin) and n[len(begin) :].isdigit()]
