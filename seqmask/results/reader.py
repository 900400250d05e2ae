"""Opening the HDF5 files of `seqmask.results.hdf5`: only whole ones, of a version that is understood."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from seqmask.errors import InputError
from seqmask.labels.ranks import Rank, Ranks
from seqmask.results.hdf5 import (
    BUFFER_RECORDS,
    BUFFER_TOKENS,
    CHECK_COLUMNS,
    FORMAT,
    FORMAT_VERSION,
    PREDICTION_COLUMNS,
    RECORD_COLUMNS,
    RELATED_COLUMNS,
    TOKEN_COLUMNS,
)


def read(path: str | Path) -> Results:
    """Open a file for reading; use it in a `with`, or close it.

    Raises InputError if it is missing, not HDF5, not of this format, of another major version, not complete or lacks
    a dataset.
    """
    return Results(path)


class Results:
    """An open, complete file. ranks: as the model has them, but without parents.

    check: whether predictions of masked sequences are there; related: whether it says which classes are inconsistent.
    attributes: those of the root. n_records, n_tokens: rows of /records and of /tokens. tracks: 1 for a shared mask,
    otherwise one a rank. file: the open h5py file, for whatever this class does not offer.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.file = _open(self.path)
        try:
            self.attributes: dict[str, Any] = dict(self.file.attrs)
            _check_format(self.path, self.attributes)
            self.n_records, self.n_tokens = int(self.attributes["n_records"]), int(self.attributes["n_tokens"])
            self.ranks = self._ranks()
            first = f"predictions/{self.ranks.names[0]}"
            self.check = all(f"{first}/{name}" in self.file for name in CHECK_COLUMNS)
            self.related = all(f"{first}/{name}" in self.file for name in RELATED_COLUMNS)
            self._check_columns()
            shape = self.file["tokens/importance"].shape
            self.tracks = int(shape[1]) if len(shape) == 2 else 1
        except (IndexError, KeyError, TypeError, ValueError, OSError, RuntimeError) as error:  # h5py has them all
            self.file.close()
            raise InputError(self.path, f"a damaged {FORMAT} file ({error})", remedy="write it again") from error
        except BaseException:
            self.file.close()
            raise

    def column(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows start to stop of a dataset such as `tokens/start`; text comes as bytes. Raises InputError if damaged."""
        try:
            rows: NDArray[Any] = self.file[name][start:stop]
        except (OSError, RuntimeError) as error:
            raise InputError(self.path, f"{name} cannot be read ({error})", remedy="write the file again") from error
        return rows

    def ids(self, start: int = 0, stop: int | None = None) -> list[str]:
        """Names of the records start to stop."""
        return [name.decode() for name in self.encoded_ids(start, self.n_records if stop is None else stop)]

    def encoded_ids(self, start: int, stop: int) -> list[bytes]:
        """The same as UTF-8; a chunk at a time, as one long name makes all of them wide."""
        chunk = self.file["records/id"].chunks[0]
        parts = (self.column("records/id", at, min(at + chunk, stop)) for at in range(start, stop, chunk))
        return [name for part in parts for name in part.tolist()]

    def classes(self, rank: str, name: str = "class") -> NDArray[np.int64]:
        """Class of each record at a rank (N,) int64, -1 unknown. name: class, masked_class or inverse_class."""
        stored = self.column(f"predictions/{rank}/{name}")
        # Reading the bits as signed turns the one value that stands for 'no class' into -1
        return stored.astype(np.uint32).view(np.int32).astype(np.int64)

    @property
    def more_columns(self) -> list[str]:
        """Names of the columns that this file has of each rank beside class and confidence."""
        return [*(CHECK_COLUMNS if self.check else ()), *(RELATED_COLUMNS if self.related else ())]

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Records start to stop, in order, of about a buffer together: one record at least, however many its tokens."""
        offsets = self.column("records/token_offset")
        start = 0
        while start < self.n_records:
            full = int(np.searchsorted(offsets, offsets[start] + BUFFER_TOKENS, side="right")) - 1
            stop = min(max(full, start + 1), start + BUFFER_RECORDS, self.n_records)
            yield start, stop
            start = stop

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ranks(self) -> Ranks:
        return Ranks(tuple(self._rank(name) for name in json.loads(self.attributes["ranks"])))

    def _rank(self, name: str) -> Rank:
        group = self.file[f"predictions/{name}"]
        taxids = tuple(group["taxid"][:].tolist())
        classes = tuple(text.decode() for text in group["classes"][:].tolist())
        return Rank(name, classes, taxids if max(taxids) >= 0 else ())

    def _check_columns(self) -> None:
        """Every dataset must be there, with as many rows as the counts say."""
        expected = {f"records/{name}": self.n_records for name in ("id", *RECORD_COLUMNS)}
        expected["records/token_offset"] += 1
        expected |= {f"tokens/{name}": self.n_tokens for name in TOKEN_COLUMNS}
        for rank in self.ranks.names:
            names = [*PREDICTION_COLUMNS, *self.more_columns]
            expected |= {f"predictions/{rank}/{name}": self.n_records for name in names}
        for path, rows in expected.items():
            if len(self.file[path]) != rows:
                raise ValueError(f"{path} has {len(self.file[path])} rows, expected {rows}")
        offsets = self.file["records/token_offset"][:]
        if offsets[0] != 0 or offsets[-1] != self.n_tokens or (np.diff(offsets) < 0).any():
            raise ValueError("records/token_offset does not go from 0 to the number of tokens")


def _open(path: str) -> Any:
    if not Path(path).exists():
        raise InputError(path, "no such file", remedy="check the path")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(path, "cannot be opened as HDF5", expected=f"a {FORMAT} file") from error


def _check_format(path: str, attributes: dict[str, Any]) -> None:
    if attributes.get("format") != FORMAT:
        raise InputError(path, "an HDF5 file of another program", expected=f"the format {FORMAT}")
    version = str(attributes.get("format_version"))
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise InputError(
            path, f"{FORMAT} {version}", expected=f"version {FORMAT_VERSION}", remedy="use a matching seqmask"
        )
    if not attributes.get("complete", False):
        raise InputError(path, "an incomplete file: the run that wrote it did not finish", remedy="run it again")
