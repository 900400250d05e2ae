"""How a run of `seqmask mask` is stopped and goes on, and what it must have in common with its continuation."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from seqmask.config import MaskOptions, to_json
from seqmask.errors import InputError, brief
from seqmask.results.files import is_straight
from seqmask.results.journal import Journal
from seqmask.results.merge import identify
from seqmask.results.recovery import Recovery
from seqmask.results.shard import Shard
from seqmask.results.writer import Outputs, Paths
from seqmask.sequences.records import Record

# Options that say from where, to where and how, or whose outcome is among the facts: digests, threshold, target
INDIFFERENT: Final = frozenset(
    {
        *("reads", "infile_list", "model", "fasta", "bed", "tsv", "hdf5", "json_report", "besides"),
        *("threshold", "target", "compute", "seed", "shard", "checkpoint_minutes", "resume", "force"),
    }
)


def decisive(facts: dict[str, Any], options: MaskOptions, frames: int) -> dict[str, Any]:
    """All that the outputs depend on but the input: shards, and a run and its continuation, must agree in it."""
    chosen = {key: value for key, value in to_json(options).items() if key not in INDIFFERENT}
    return chosen | {key: facts[key] for key in facts if key not in ("command", "device", "seed")} | {"frames": frames}


def recovery(paths: Paths, options: MaskOptions, run: dict[str, Any]) -> Recovery | None:
    """How the run can be stopped and go on; None where an output is no file."""
    if any(is_straight(path) for path in paths.given().values()):
        return None
    return Recovery(run | {"shard": options.shard}, options.resume, options.checkpoint_minutes * 60)


def all_there(paths: Paths, extras: Iterable[str]) -> bool:
    """Whether every output has its name, and no run was stopped since. extras: other files that the run writes."""
    given = list(paths.given().values())
    return all(map(os.path.isfile, [*given, *extras])) and not Journal.beside(given[0]).exists()


def is_shard(paths: Paths, shard: Shard) -> bool:
    """Whether outputs that are there hold this shard, masked in this way."""
    wanted = Shard.from_json("", shard.to_json())
    with contextlib.suppress(InputError):  # no shard at all, or cut off
        return all(identify(path) == (kind, wanted) for kind, path in paths.given().items())
    return False


def nothing_more(left: Iterator[tuple[int, Record]]) -> None:
    """InputError for records beyond those of a run that had all of them."""
    for _, record in left:
        raise InputError(
            record.path,
            f"a record {brief(record.name)} more than the stopped run had, which had come to its end",
            remedy="give the same files, or --force instead of --resume to start over",
            line=record.line,
        )


@contextlib.contextmanager
def kept(outputs: Outputs, left: int, say: Callable[[str], None]) -> Iterator[None]:
    """Say what a stopped run leaves, and whence a resumed one goes on. left: records that the one before had noted."""
    if outputs.resumed.records:
        say(f"going on after {outputs.resumed.records} records")
    elif left:
        say(f"of {left} records of the stopped run not all is there any more: starting over")
    try:
        yield
    except BaseException:
        if outputs.kept:
            say(f"{outputs.kept} records are kept; the same command with --resume goes on from there")
        raise
