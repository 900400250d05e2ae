"""Which part of an input a file holds, said in the HDF5 file itself and in a small JSON file beside a text output."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from seqmask.errors import InputError, UsageError

FORMAT: Final = "seqmask-shard"
SUFFIX: Final = ".shard.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `number`, from 1, of `of`: records start to stop (ordinals in the input, half-open) of `total`.

    digest: of the names and letters of the whole input, so that shards of two inputs are never put together.
    run: everything else that results depend on: model digests, threshold, options, by name.
    """

    number: int
    of: int
    start: int
    stop: int
    total: int
    digest: str
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As on the command line: 2/5."""
        return f"{self.number}/{self.of}"

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, path: str | Path, text: str) -> Shard:
        """What `to_json` wrote. Raises InputError naming `path`."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise InputError(path, "a description of a shard that cannot be understood") from error


def parse(text: str) -> tuple[int, int]:
    """I and N of I/N. Raises UsageError."""
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {text}: expected I/N with I from 1 to N, such as 1/4")
    return int(found[1]), int(found[2])


def bounds(number: int, of: int, total: int) -> tuple[int, int]:
    """Items start to stop of shard `number`: contiguous parts, so that joining outputs is putting them in order."""
    return (number - 1) * total // of, number * total // of


def describe(kind: str, size: int, shard: Shard) -> bytes:
    """Content of the file beside a text output: `size` bytes of `kind` (fasta, bed or tsv)."""
    described = {"format": FORMAT, "kind": kind, "size": size, "shard": asdict(shard)}
    return (json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode()


def read_beside(path: str) -> tuple[str, Shard]:
    """Kind and shard of a text output. Raises InputError if nothing is said of it, or it has changed since."""
    try:
        text = Path(path + SUFFIX).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            path,
            f"no {path}{SUFFIX} beside it",
            expected="an output of 'seqmask mask --shard I/N'",
            remedy="merge the shards where they were written, or copy that file too",
        ) from error
    try:
        described = json.loads(text)
        kind, size = str(described["kind"]), int(described["size"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path + SUFFIX, "a description of a shard that cannot be understood") from error
    if (found := Path(path).stat().st_size) != size:
        raise InputError(path, f"{found} bytes", expected=f"the {size} that were written", remedy="copy it again")
    return kind, Shard.from_json(path + SUFFIX, json.dumps(described["shard"]))


def ordered(shards: Mapping[str, Shard]) -> list[str]:
    """The paths in the order of their shards. Raises InputError unless they are all shards of one run, each once."""
    first, one = next(iter(shards.items()))
    of_number: dict[int, str] = {}
    for path, shard in shards.items():
        _same_run(first, one, path, shard)
        if shard.number in of_number:
            raise InputError(path, f"shard {shard.name}, as is {of_number[shard.number]}", expected="each shard once")
        of_number[shard.number] = path
    missing = [str(number) for number in range(1, one.of + 1) if number not in of_number]
    if missing:
        raise InputError(first, f"shards of {one.of}, but {_listed(missing)} missing", remedy="name all of them")
    return [of_number[number] for number in range(1, one.of + 1)]


def _same_run(first: str, one: Shard, path: str, other: Shard) -> None:
    if one.of != other.of:
        raise InputError(path, f"shard {other.name}", expected=f"one of {one.of}, as {first} is {one.name}")
    if (one.total, one.digest) != (other.total, other.digest):
        raise InputError(path, f"a shard of another input than {first}", remedy="mask all shards of the same files")
    for key in sorted(one.run.keys() | other.run.keys()):
        here, there = other.run.get(key), one.run.get(key)
        if here != there:
            raise InputError(
                path, f"{key} {here}", expected=f"{there} as in {first}", remedy="mask all shards in the same way"
            )


def _listed(numbers: Sequence[str], most: int = 10) -> str:
    """`number 2 is` or `numbers 2, 3 are`."""
    shown = ", ".join([*numbers[:most], *(["..."] if len(numbers) > most else [])])
    return f"number {shown} is" if len(numbers) == 1 else f"numbers {shown} are"
