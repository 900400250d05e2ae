"""How much of the input is done: bytes of the files as they are on disk, so that compressed ones count, too."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Final

from seqmask.sequences.records import Record

EVERY: Final = 64  # records between two looks at the position


class Meter:
    """Share of the input that the first n records take; None where a part of it is a pipe.

    `opened` and `counted` are for the reader, `share` is for whoever asks, in another thread or not.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._sizes = [_size(path) for path in paths]
        self._known = None not in self._sizes and any(self._sizes)  # a pipe has no size, and can not say where it is
        self._before, self._files = 0, 0  # bytes and number of the files that were opened before the present one
        self._raw: BinaryIO | None = None
        self._marks: deque[tuple[int, int]] = deque([(0, 0)])  # records, bytes

    def opened(self, raw: BinaryIO) -> None:
        """The next file is read from here on."""
        if self._raw is not None:
            self._before += self._sizes[self._files] or 0
            self._files += 1
        self._raw = raw

    def counted(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records, remembering how far the files are read."""
        for number, record in enumerate(records):
            if self._known and number % EVERY == 0 and self._raw is not None and not self._raw.closed:
                self._marks.append((number, self._before + self._raw.tell()))
            yield record

    def share(self, records: int) -> float | None:
        """Of all bytes, the share that was read before the last of so many records; never falling."""
        if not self._known:
            return None
        total = sum(size or 0 for size in self._sizes)
        while len(self._marks) > 1 and self._marks[1][0] <= records:
            self._marks.popleft()
        return min(self._marks[0][1] / total, 1.0)


def _size(path: str) -> int | None:
    """Bytes of a regular file, None for anything else."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
