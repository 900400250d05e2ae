"""`seqmask info` and `seqmask models`: what a file or a model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from seqmask.models.bundled import names, resolve
from seqmask.models.describe import describe
from seqmask.results.hdf5 import METADATA
from seqmask.results.reader import read
from seqmask.sequences.explanations import Status

SUFFIXES = (".h5", ".hdf5")  # of what is no model even where no such file is there


def info(what: str) -> dict[str, Any]:
    """A JSON-ready description of a model directory, a model that ships, or an HDF5 file of `seqmask mask`.

    A name that ships wins over a file of that name, as with `--model`. Raises InputError, or UsageError for nothing.
    """
    if what not in names() and not Path(what).is_dir() and (Path(what).is_file() or Path(what).suffix in SUFFIXES):
        return results(what)
    return describe(resolve(what))


def models() -> list[dict[str, Any]]:
    """The models that ship, described."""
    return [describe(resolve(name)) for name in names()]


def results(path: str) -> dict[str, Any]:
    """What an HDF5 file holds, and of which run. area: kept share of the covered nt, a mean over records."""
    with read(path) as file:
        statuses = np.bincount(file.column("records/status"), minlength=len(Status)).tolist()
        kept = file.column("records/kept_fraction")
        known = kept[~np.isnan(kept)]
        attributes = {key: file.attributes.get(key) for key in sorted(METADATA - {"command"})}
        shard = json.loads(file.attributes["shard"]) if "shard" in file.attributes else None
        return {
            "kind": f"results, {file.attributes['format']} {file.attributes['format_version']}",
            "path": path,
            "bytes": Path(path).stat().st_size,
            "records": file.n_records,
            "statuses": {status.name: statuses[status] for status in Status},
            "tokens": file.n_tokens,
            "nucleotides": int(file.column("records/length").sum()),
            "ranks": dict(zip(file.ranks.names, file.ranks.sizes, strict=True)),
            "masks": "one" if file.tracks == 1 else "one a rank",
            "checked": file.check,
            "area": float(known.mean()) if len(known) else None,
            **({"target": json.loads(file.attributes["target"])} if "target" in file.attributes else {}),
            **({"smallest": True} if "smallest" in file.attributes else {}),
            **({"shard": f"{shard['number']}/{shard['of']}"} if shard else {}),
            "created": str(file.attributes["creation_date"]),
            "command": json.loads(file.attributes["command"]),
            **{key: value.item() if isinstance(value, np.generic) else value for key, value in attributes.items()},
        }
