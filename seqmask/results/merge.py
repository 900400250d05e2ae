"""Shards, or the parts of one run, to one file: equal to what a single run would have written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from seqmask.errors import InputError
from seqmask.results.files import Sink, is_straight
from seqmask.results.hdf5 import (
    METADATA,
    PREDICTION_COLUMNS,
    RECORD_COLUMNS,
    TOKEN_COLUMNS,
    Hdf5Writer,
)
from seqmask.results.reader import Results, read
from seqmask.results.shard import Shard, ordered, read_beside
from seqmask.sequences.source import open_source

HDF5: Final = "hdf5"


def arrange(paths: Sequence[str]) -> tuple[str, list[str], list[Shard]]:
    """What kind of files these are (hdf5, fasta, bed, tsv), and paths and shards in the order of the input.

    Raises InputError if one is no shard, they are of two kinds or two runs, or one is missing or there twice.
    """
    kinds: dict[str, str] = {}
    shards: dict[str, Shard] = {}
    for path in paths:
        if path in shards:
            raise InputError(path, "named twice", expected="each shard once")
        kinds[path], shards[path] = identify(path)
    first = paths[0]
    for path, kind in kinds.items():
        if kind != kinds[first]:
            raise InputError(path, kind.upper(), expected=f"{kinds[first].upper()} as {first}")
    order = ordered(shards)
    return kinds[first], order, [shards[path] for path in order]


def identify(path: str) -> tuple[str, Shard]:
    """What kind of output this is (hdf5, fasta, bed, tsv), of which shard. Raises InputError if of none, or cut off."""
    if is_straight(path):
        found = "a directory" if Path(path).is_dir() else "a pipe or device"
        raise InputError(
            path, found, expected="a file, as shards are read more than once", remedy="name the file itself"
        )
    if not Path(path).is_file():
        raise InputError(path, "no such file", remedy="check the path")
    if not h5py.is_hdf5(path):
        return read_beside(path)
    with read(path) as results:
        text = results.attributes.get("shard")
    if text is None:
        raise InputError(path, "the whole output of a run", expected="an output of 'seqmask mask --shard I/N'")
    return HDF5, Shard.from_json(path, str(text))


def merge_text(kind: str, paths: Sequence[str], sink: Sink) -> None:
    """Write the texts one after the other; of the tables' header lines the first. Raises InputError or OSError."""
    for i, path in enumerate(paths):
        with ExitStack() as stack:
            source = open_source(path, stack)
            if kind == "tsv" and i:
                source.readline()
            shutil.copyfileobj(source, sink, 1 << 20)


def merge_hdf5(
    paths: Sequence[str | Path], target: str | Path, command: Sequence[str], shown: str | None = None
) -> None:
    """Write one complete file with the rows of all, in the order given. Raises InputError or OSError.

    shown: the target's name in messages, if that is another.
    What the attributes say is that of the first file; device: of all. `shard_commands`: the commands of the files.
    """
    found = [_attributes(path) for path in paths]
    metadata = {key: found[0][key] for key in METADATA} | {
        "command": list(command),
        "device": ", ".join(sorted({str(attributes["device"]) for attributes in found})),
        "shard_commands": json.dumps([json.loads(attributes["command"]) for attributes in found]),
    }
    metadata |= {key: found[0][key] for key in ("frames", "overlap", "smallest", "target") if key in found[0]}
    with read(paths[0]) as one:
        ranks, tracks, check, related = one.ranks, one.tracks, one.check, one.related
    concatenate(
        paths, Hdf5Writer(target, ranks, metadata, token_tracks=tracks, check=check, related=related, shown=shown)
    )


def _attributes(path: str | Path) -> dict[str, Any]:
    with read(path) as results:
        return results.attributes


def concatenate(paths: Sequence[str | Path], writer: Hdf5Writer) -> None:
    """Add all rows of the files to a fresh writer, then close it; on an error its file stays incomplete."""
    try:
        for path in paths:
            with read(path) as results:
                for start, stop in results.blocks():
                    _copy(results, start, stop, writer)
        writer.close()
    except BaseException:
        writer.abort()
        raise


def _copy(results: Results, start: int, stop: int, writer: Hdf5Writer) -> None:
    offsets: NDArray[np.int64] = results.column("records/token_offset", start, stop + 1)
    first, last = int(offsets[0]), int(offsets[-1])
    columns: dict[str, NDArray[Any]] = {"records/token_offset": offsets[1:] - first}
    for name in RECORD_COLUMNS.keys() - {"token_offset"}:
        columns[f"records/{name}"] = results.column(f"records/{name}", start, stop)
    for name in TOKEN_COLUMNS if last > first else ():
        columns[f"tokens/{name}"] = results.column(f"tokens/{name}", first, last)
    for rank in results.ranks.names:
        for name in [*PREDICTION_COLUMNS, *results.more_columns]:
            columns[f"predictions/{rank}/{name}"] = results.column(f"predictions/{rank}/{name}", start, stop)
    writer.extend(results.encoded_ids(start, stop), last - first, columns.items())
