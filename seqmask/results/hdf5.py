"""The HDF5 file that holds everything, written in large buffers; docs/schema.md describes it, tests hold it to that."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from seqmask.errors import InputError, UsageError
from seqmask.labels.ranks import Rank, Ranks
from seqmask.results.annotated import Annotated
from seqmask.results.chunks import append
from seqmask.results.predictions import Predictions
from seqmask.sequences.records import Record

FORMAT: Final = "seqmask-hdf5"
FORMAT_VERSION: Final = "1.0"
COORDINATES: Final = "0-based half-open"
# Attributes that the caller knows; the writer adds those that follow from the format and from what was appended.
METADATA: Final = frozenset(
    {
        "tool",
        "tool_version",
        "command",
        "classifier_sha256",
        "explainer_sha256",
        "tokenizer_sha256",
        "operator",
        "threshold",
        "device",
        "dtype",
        "seed",
    }
)
OPTIONAL: Final = frozenset({"frames", "overlap", "shard", "shard_commands", "smallest", "target"})
RECORD_COLUMNS: Final = {
    "index": "<i8",
    "length": "<i8",
    "token_offset": "<i8",
    "status": "u1",
    "kept_fraction": "<f4",
    "mean_importance": "<f4",
}
TOKEN_COLUMNS: Final = {"start": "<i4", "end": "<i4", "importance": "<f4"}
PREDICTION_COLUMNS: Final = {"class": "<u4", "confidence": "<f4"}
CHECK_COLUMNS: Final = {
    "masked_class": "<u4",
    "masked_confidence": "<f4",
    "inverse_class": "<u4",
    "inverse_confidence": "<f4",
}
RELATED_COLUMNS: Final = {"inconsistent": "u1"}  # of a model that knows which classes stand under which
NO_CLASS: Final = 2**32 - 1  # class of a record without prediction
RECORD_CHUNK: Final = 16_384
TOKEN_CHUNK: Final = 65_536
FILTERS: Final = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
# A buffer is written when it holds either: large appends are hundreds of times faster than single rows.
BUFFER_RECORDS: Final = 65_536
BUFFER_TOKENS: Final = 1_000_000
_ID_CHUNK_BYTES: Final = 1 << 24
_LONGEST_ID: Final = 1 << 16  # bytes, which every id of the file then takes


def creation_date() -> str:
    """Now, or SOURCE_DATE_EPOCH where it is set, in UTC as ISO 8601. Raises UsageError if that is no number."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        when = datetime.now(UTC) if not epoch else datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"SOURCE_DATE_EPOCH is {epoch!r}, not a number of seconds since 1970") from error
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def id_width(longest: int) -> int:
    """Bytes of an id column whose longest id has `longest` bytes: the next power of two, at least 16."""
    return max(16, 1 << (longest - 1).bit_length()) if longest else 16


def rounded(mask: NDArray[np.float32], tau: np.float32) -> NDArray[np.float32]:
    """To the nearest 1/1024 on the same side of a threshold, so that what reaches it says which tokens are kept."""
    steps, least = np.rint(mask * 1024), np.ceil(tau * np.float32(1024))
    found: NDArray[np.float32] = np.where(mask >= tau, np.maximum(steps, least), np.minimum(steps, least - 1))
    return found / np.float32(1024)


class Hdf5Writer:
    """Writes one file: `append` batches, then `close`. Until then the file says that it is not complete.

    path: a seekable file, created anew; shown: its name in messages, if that is another. metadata: a value for each of
    `METADATA`; `command` may be a list (stored as JSON). token_tracks: 1 for a shared mask, R for one a rank. check:
    also store the predictions from the hard-masked and the inverse hard-masked sequence. full_precision: keep
    importance as it is instead of rounding it to 1/1024. tau: the threshold, which rounding does not cross.
    related: also store which classes do not stand under which; None = where the ranks know.
    Raises UsageError for a rank name that HDF5 cannot hold, OSError if the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        ranks: Ranks,
        metadata: Mapping[str, Any],
        *,
        token_tracks: int = 1,
        check: bool = False,
        full_precision: bool = False,
        tau: float = 0.5,
        related: bool | None = None,
        shown: str | None = None,
    ) -> None:
        if set(metadata) - OPTIONAL != METADATA:
            raise ValueError(f"metadata must be exactly {sorted(METADATA)}, found {sorted(metadata)}")
        for name in ranks.names:
            if name in {"", ".", ".."} or "/" in name:
                raise UsageError(f"the rank name {name!r} cannot be a group in HDF5")
        self._ranks, self._tracks, self._check, self._full = ranks, token_tracks, check, full_precision
        self._tau = np.float32(tau)
        self._related = ranks.related if related is None else related
        self._n_records = self._n_tokens = 0
        self._held: dict[str, list[NDArray[Any]]] = {}
        self._held_ids: list[bytes] = []
        self._held_tokens = 0
        self._path = str(shown or path)
        # Without a chunk cache a full disk is met when data are written, and not once more when datasets are let go
        with _disk_errors(self._path):
            self._file = h5py.File(path, "w", rdcc_nbytes=0)
        try:
            with _disk_errors(self._path):
                self._create(metadata)
        except BaseException:
            self.abort()
            raise

    def append(self, batch: Annotated) -> None:
        """Add the records of a batch after those that are there. Raises OSError, InputError for a name too long."""
        of = batch.explanations
        if len(of.spans) and of.mask.shape[1] != self._tracks:
            raise ValueError(f"a mask of {of.mask.shape[1]} tracks in a file of {self._tracks}")
        # Names are without white space: all of them are encoded at once
        ids = "\n".join([record.name for record in of.records]).encode("utf-8", "replace").split(b"\n")
        _check_longest(of.records, ids)
        self.extend(ids, len(of.spans), self._columns(batch))

    def extend(self, ids: Sequence[bytes], n_tokens: int, columns: Iterable[tuple[str, NDArray[Any]]]) -> None:
        """Add rows: the ids, and by its name what each other growing dataset is to get. Raises OSError.

        n_tokens: rows that `/tokens` gets. `records/token_offset` counts from the first of them: one end a record.
        """
        for name, values in columns:
            rows = values + self._n_tokens if name == "records/token_offset" else values
            self._held.setdefault(name, []).append(rows)
        self._held_ids += ids
        self._n_records += len(ids)
        self._n_tokens += n_tokens
        self._held_tokens += n_tokens
        if len(self._held_ids) >= BUFFER_RECORDS or self._held_tokens >= BUFFER_TOKENS:
            with _disk_errors(self._path):
                self._flush()

    def close(self) -> None:
        """Write what is held, then the counts, and `complete` as the very last thing. Raises OSError."""
        try:
            with _disk_errors(self._path):
                self._flush(last=True)
                self._file.attrs["n_records"] = self._n_records
                self._file.attrs["n_tokens"] = self._n_tokens
                self._file.flush()
                self._file.attrs["complete"] = True
                self._file.close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Close the file as it is, not complete. Never raises."""
        # On a full disk h5py fails here again, and in more than one way
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._file.close()

    def _create(self, metadata: Mapping[str, Any]) -> None:
        attributes = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "creation_date": creation_date(),
            "coordinate_system": COORDINATES,
            "ranks": json.dumps(self._ranks.names),
            "complete": False,
            **metadata,
        }
        if not isinstance(metadata["command"], str):
            attributes["command"] = json.dumps(list(metadata["command"]))
        self._file.attrs.update(attributes)
        self._create_ids("records/id", id_width(0))
        for name, dtype in RECORD_COLUMNS.items():
            self._create_column(f"records/{name}", dtype, RECORD_CHUNK)
        self._extend("records/token_offset", np.zeros(1, dtype=np.int64))
        for name, dtype in TOKEN_COLUMNS.items():
            wide = self._tracks if name == "importance" and self._tracks > 1 else 0
            self._create_column(f"tokens/{name}", dtype, TOKEN_CHUNK, wide)
        for rank in self._ranks.ranks:
            self._create_rank(rank)

    def _create_rank(self, rank: Rank) -> None:
        group = self._file.require_group(f"predictions/{rank.name}")
        names = [name.encode() for name in rank.classes]
        text = h5py.string_dtype("utf-8", id_width(max(map(len, names))))
        chunks = (min(len(names), RECORD_CHUNK),)
        group.create_dataset("classes", data=np.array(names, dtype=text), dtype=text, chunks=chunks, **FILTERS)
        taxids = np.array(rank.taxids or [-1] * len(names), dtype="<i8")
        group.create_dataset("taxid", data=taxids, chunks=chunks, **FILTERS)
        more = (CHECK_COLUMNS if self._check else {}) | (RELATED_COLUMNS if self._related else {})
        for name, dtype in (PREDICTION_COLUMNS | more).items():
            self._create_column(f"{group.name}/{name}", dtype, RECORD_CHUNK)

    def _create_column(self, name: str, dtype: Any, chunk: int, wide: int = 0) -> None:
        tail = (wide,) if wide else ()
        self._file.create_dataset(
            name, (0, *tail), maxshape=(None, *tail), chunks=(chunk, *tail), dtype=dtype, **FILTERS
        )

    def _create_ids(self, name: str, width: int) -> None:
        # Ids of more than a kilobyte would make a chunk of the usual number of rows too large to hold
        chunk = max(1, min(RECORD_CHUNK, _ID_CHUNK_BYTES // width))
        self._create_column(name, h5py.string_dtype("utf-8", width), chunk)

    def _columns(self, batch: Annotated) -> Iterator[tuple[str, NDArray[Any]]]:
        """Each growing dataset but the ids and what a batch adds to it."""
        of = batch.explanations
        yield "records/index", of.index
        yield "records/length", batch.stops - batch.starts
        yield "records/token_offset", np.cumsum(of.token_counts)
        yield "records/status", of.status
        yield "records/kept_fraction", batch.kept_fraction
        yield "records/mean_importance", batch.mean_importance
        yield "tokens/start", of.spans[:, 0]
        yield "tokens/end", of.spans[:, 1]
        if len(of.spans):
            importance = of.mask if self._full else rounded(of.mask, self._tau)
            yield "tokens/importance", importance if self._tracks > 1 else importance[:, 0]
        yield from self._predictions("", batch.predicted)
        if self._check:
            yield from self._predictions("masked_", batch.masked or _unknown(batch))
            yield from self._predictions("inverse_", batch.inverse or _unknown(batch))
        if batch.inconsistent is not None:
            for rank, column in zip(self._ranks.names, batch.inconsistent.T, strict=True):
                yield f"predictions/{rank}/inconsistent", column.astype(np.uint8)

    def _predictions(self, prefix: str, found: Predictions) -> Iterator[tuple[str, NDArray[Any]]]:
        classes = np.where(found.classes >= 0, found.classes, NO_CLASS).astype(np.uint32)
        for i, rank in enumerate(self._ranks.names):
            yield f"predictions/{rank}/{prefix}class", classes[:, i]
            yield f"predictions/{rank}/{prefix}confidence", found.confidence[:, i]

    def _flush(self, last: bool = False) -> None:
        """Write what is held; but for the last time only what fills chunks, as others would be written twice."""
        held, self._held, self._held_tokens = self._held, {}, 0
        count = len(self._held_ids) if last else self._filling("records/id", len(self._held_ids))
        if count:
            self._extend_ids(self._held_ids[:count])
        self._held_ids = self._held_ids[count:]
        for name, parts in held.items():
            values = np.concatenate(parts)
            count = len(values) if last else self._filling(name, len(values))
            if count:
                self._extend(name, values[:count])
            if count < len(values):
                self._held[name] = [values[count:].copy()]  # not a view, which would keep all of them
                self._held_tokens += len(values) - count if name == "tokens/start" else 0

    def _filling(self, name: str, count: int) -> int:
        """How many of `count` new rows fill whole chunks with the rows that are there."""
        begin, chunk = len(self._file[name]), int(self._file[name].chunks[0])
        return max((begin + count) // chunk * chunk - begin, 0)

    def _extend_ids(self, ids: list[bytes]) -> None:
        width = id_width(max(map(len, ids)))
        if width > self._file["records/id"].dtype.itemsize:
            self._widen_ids(width)
        self._append_ids("records/id", ids)

    def _widen_ids(self, width: int) -> None:
        """Copy the ids to a wider column. Widths are powers of two, so this happens a few times at most."""
        narrow = self._file["records/id"]
        self._create_ids("records/wide", width)
        for start in range(0, len(narrow), narrow.chunks[0]):
            self._append_ids("records/wide", narrow[start : start + narrow.chunks[0]])
        del self._file["records/id"]
        self._file.move("records/wide", "records/id")

    def _append_ids(self, name: str, ids: Sequence[bytes] | NDArray[np.bytes_]) -> None:
        """A chunk at a time: for one long name, all that are held would take gigabytes in its width."""
        column = self._file[name]
        for start in range(0, len(ids), column.chunks[0]):
            self._extend(name, np.array(ids[start : start + column.chunks[0]], dtype=column.dtype))

    def _extend(self, name: str, values: NDArray[Any]) -> None:
        append(self._file[name], values)


@contextlib.contextmanager
def _disk_errors(path: str) -> Iterator[None]:
    """HDF5 tells of a full disk in several lines and by several errors: give one OSError of one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = getattr(error, "errno", None)
        if code is None:
            raise OSError(f"{path} cannot be written: {str(error).splitlines()[0]}") from error
        raise OSError(code, os.strerror(code), path) from error


def _check_longest(records: Sequence[Record], ids: Sequence[bytes]) -> None:
    """Raise an InputError for a name that is too long."""
    longest = max(ids, key=len)
    if len(longest) > _LONGEST_ID:
        record = records[ids.index(longest)]
        raise InputError(
            record.path,
            f"a name of {len(longest):,} bytes",
            expected=f"at most {_LONGEST_ID:,}: in HDF5 every name takes as much as the longest",
            remedy="shorten it, or do without the HDF5 output",
            line=record.line or None,
        )


def _unknown(batch: Annotated) -> Predictions:
    """What is known of a batch in which no record was checked."""
    shape = batch.predicted.classes.shape
    return Predictions(np.full(shape, -1, dtype=np.int64), np.full(shape, np.nan, dtype=np.float32))
