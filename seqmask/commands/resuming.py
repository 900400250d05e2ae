"""How a run of `seqmask mask` is stopped and goes on, and what it must have in common with its continuation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seqmask.config import MaskOptions
from seqmask.results.files import is_straight
from seqmask.results.recovery import Recovery
from seqmask.results.writer import Outputs, Paths


def decisive(facts: dict[str, Any], options: MaskOptions, frames: int) -> dict[str, Any]:
    """All that the outputs depend on but the input: shards, and a run and its continuation, must agree in it."""
    names = ("overlap", "check", "hard_mask", "full_precision", "min_confidence")
    return {
        **{key: value for key, value in facts.items() if key not in ("command", "device", "seed")},
        **{name: getattr(options, name) for name in names},
        "frames": options.frames or frames,
    }


def recovery(paths: Paths, options: MaskOptions, run: dict[str, Any]) -> Recovery | None:
    """How the run can be stopped and go on; None where an output is no file."""
    if any(is_straight(path) for path in paths.given().values()):
        return None
    outputs = {kind: str(Path(path).resolve()) for kind, path in paths.given().items()}
    return Recovery(run | {"outputs": outputs, "shard": options.shard}, options.resume, options.checkpoint_minutes * 60)


@contextlib.contextmanager
def kept(outputs: Outputs, say: Callable[[str], None]) -> Iterator[None]:
    """Say what a stopped run leaves, and whence a resumed one goes on."""
    if outputs.resumed.records:
        say(f"going on after {outputs.resumed.records} records")
    try:
        yield
    except BaseException:
        if outputs.kept:
            say(f"{outputs.kept} records are kept; the same command with --resume goes on from there")
        raise
