"""Models that ship inside the package, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from seqmask.errors import UsageError

DIRECTORY = Path(__file__).parent / "shipped"


def names() -> list[str]:
    """Names of the models that ship."""
    return sorted(path.parent.name for path in DIRECTORY.glob("*/explainer.json"))


def resolve(model: str) -> Path:
    """The directory of a model: a path that exists, or the name of a model that ships.

    A name without a path separator that ships wins over a directory of that name: `./genomes` is always a path.
    Raises UsageError naming what there is.
    """
    if model in names():
        return DIRECTORY / model
    path = Path(model)
    if path.is_dir():
        return path if path.name not in ("", "..") else path.resolve()  # of `.` messages would have no name
    shipped = ", ".join(names()) or "none"
    near = difflib.get_close_matches(model.casefold(), names(), 1)
    raise UsageError(
        f"unknown model {model!r}: no such directory, and no model of that name ships (shipped: {shipped})"
        + (f"; did you mean {near[0]!r}?" if near else "")
    )
