"""Shards of a run, joined: the same bytes and datasets as without shards, and no shard of anything else."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from seqmask.errors import InputError, UsageError
from seqmask.labels.ranks import Ranks
from seqmask.results import hdf5
from seqmask.results.files import Target
from seqmask.results.merge import arrange, concatenate, merge_hdf5, merge_text
from seqmask.results.reader import read
from seqmask.results.shard import SUFFIX, Shard, bounds, ordered, parse
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.explanations import Explanation

AtRandom = Callable[..., list[Explanation]]
RUN = {"threshold": 0.5, "explainer_sha256": "ab"}


@pytest.fixture
def items(at_random: AtRandom) -> list[Explanation]:
    found = at_random(11, 40, 2, check=True)
    # An id that is longer than all others, in the last shard: the column is wide from the first row on
    found[-1] = replace(found[-1], record=replace(found[-1].record, name="long" * 9))
    return found


def write(
    prefix: Path, items: list[Explanation], ranks: Ranks, metadata: dict[str, Any], shard: Shard | None = None
) -> Path:
    style = Style(0.5, token_tracks=2, check=True)
    facts = metadata if shard is None else metadata | {"shard": shard.to_json()}
    with Outputs(Paths.from_prefix(prefix), ranks, style, metadata=facts, shard=shard) as outputs:
        for item in items:
            outputs.write(item)
    return prefix


@pytest.fixture
def whole(tmp_path: Path, items: list[Explanation], ranks: Ranks, metadata: dict[str, Any]) -> Path:
    return write(tmp_path / "whole", items, ranks, metadata)


@pytest.fixture
def shards(tmp_path: Path, items: list[Explanation], ranks: Ranks, metadata: dict[str, Any]) -> list[Path]:
    """Seven shards, in an order that is not theirs."""
    found = []
    for number in (3, 1, 7, 2, 5, 4, 6):
        shard = Shard(number, 7, *bounds(number, 7, len(items)), len(items), "d", RUN)
        found.append(write(tmp_path / f"s{number}", items[shard.start : shard.stop], ranks, metadata, shard))
    return found


def datasets(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def same(one: Path, other: Path) -> None:
    a, b = datasets(one), datasets(other)
    assert a.keys() == b.keys()
    for name, values in a.items():
        assert values.dtype == b[name].dtype, name
        np.testing.assert_array_equal(values, b[name], err_msg=name)


@pytest.mark.parametrize("size", [3, 10_000_000])
def test_hdf5_dataset_by_dataset(
    shards: list[Path], whole: Path, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the blocks are in which it is copied."""
    monkeypatch.setattr("seqmask.results.reader.BUFFER_TOKENS", size)
    monkeypatch.setattr(hdf5, "BUFFER_TOKENS", size)
    kind, paths, found = arrange([f"{prefix}.h5" for prefix in shards])
    assert (kind, [shard.number for shard in found]) == ("hdf5", [1, 2, 3, 4, 5, 6, 7])
    merge_hdf5(paths, tmp_path / "merged.h5", ["seqmask", "merge"])
    same(tmp_path / "merged.h5", Path(f"{whole}.h5"))
    with read(tmp_path / "merged.h5") as merged, read(f"{whole}.h5") as unsharded:
        assert "shard" not in merged.attributes
        assert json.loads(merged.attributes["command"]) == ["seqmask", "merge"]
        assert json.loads(merged.attributes["shard_commands"]) == [json.loads(unsharded.attributes["command"])] * 7
        others = {"command", "shard_commands", "creation_date"}
        assert {k: v for k, v in merged.attributes.items() if k not in others} == {
            k: v for k, v in unsharded.attributes.items() if k not in others
        }


@pytest.mark.parametrize("suffix", ["fasta", "bed", "tsv"])
def test_text_byte_by_byte(shards: list[Path], whole: Path, tmp_path: Path, suffix: str) -> None:
    kind, paths, _ = arrange([f"{prefix}.{suffix}" for prefix in shards])
    assert kind == suffix
    with Target(tmp_path / "merged") as target, contextlib.closing(target.open()) as sink:
        merge_text(kind, paths, sink)
    assert (tmp_path / "merged").read_bytes() == Path(f"{whole}.{suffix}").read_bytes() != b""


def test_more_shards_than_records(tmp_path: Path, items: list[Explanation], ranks: Ranks, metadata: Any) -> None:
    items = items[:2]
    paths = []
    for number in range(1, 6):
        shard = Shard(number, 5, *bounds(number, 5, 2), 2, "d", RUN)
        paths.append(write(tmp_path / f"s{number}", items[shard.start : shard.stop], ranks, metadata, shard))
    merge_hdf5([f"{path}.h5" for path in paths], tmp_path / "merged.h5", [])
    same(tmp_path / "merged.h5", Path(f"{write(tmp_path / 'whole', items, ranks, metadata)}.h5"))


def test_bounds_are_a_partition() -> None:
    for total in (0, 1, 5, 12, 100):
        for of in (1, 2, 3, 7, 12):
            edges = [bounds(number, of, total) for number in range(1, of + 1)]
            assert [edge for pair in edges for edge in range(*pair)] == list(range(total))
            sizes = [stop - start for start, stop in edges]
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "a/b", "1/3/4", ""])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="expected I/N"):
        parse(text)
    assert parse(" 2/3 ") == (2, 3)


ONE = Shard(1, 3, 0, 4, 12, "d", RUN)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"b": replace(ONE, number=2)}, "a: shards of 3, but number 3 is missing"),
        ({}, "a: shards of 3, but numbers 2, 3 are missing"),
        ({"b": ONE}, "b: shard 1/3, as is a"),
        ({"b": replace(ONE, number=2, of=4)}, "b: shard 2/4; expected one of 3, as a is 1/3"),
        ({"b": replace(ONE, number=2, digest="e")}, "b: a shard of another input than a"),
        ({"b": replace(ONE, number=2, run=RUN | {"threshold": 0.4})}, r"b: threshold 0.4; expected 0.5 as in a"),
        ({"b": replace(ONE, number=2, run=RUN | {"overlap": 9})}, r"b: overlap 9; expected None as in a"),
    ],
)
def test_shards_that_do_not_belong_together(others: dict[str, Shard], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ordered({"a": ONE, **others})


def test_files_that_are_no_shards(shards: list[Path], whole: Path, tmp_path: Path) -> None:
    one = shards[0]
    with pytest.raises(InputError, match=r"whole\.h5: the whole output of a run; expected an output of .*--shard"):
        arrange([f"{whole}.h5"])
    with pytest.raises(InputError, match=r"whole\.bed: no .*whole\.bed\.shard\.json beside it"):
        arrange([f"{whole}.bed"])
    with pytest.raises(InputError, match="no such file"):
        arrange([str(tmp_path / "none")])
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="fifo: a pipe or device; expected a file"):
        arrange([str(tmp_path / "fifo")])
    with pytest.raises(InputError, match="a directory; expected a file"):
        arrange([str(tmp_path)])
    with pytest.raises(InputError, match=r"TSV; expected BED as"):
        arrange([f"{one}.bed", f"{one}.tsv"])
    with pytest.raises(InputError, match="named twice"):
        arrange([f"{one}.bed", f"{one}.bed"])
    Path(f"{one}.bed").write_bytes(Path(f"{one}.bed").read_bytes()[:-1])
    with pytest.raises(InputError, match=r"\d+ bytes; expected the \d+ that were written"):
        arrange([f"{one}.bed"])
    Path(f"{one}.tsv{SUFFIX}").write_text("[]")
    with pytest.raises(InputError, match="cannot be understood"):
        arrange([f"{one}.tsv"])


def test_a_failure_leaves_no_complete_file(shards: list[Path], tmp_path: Path, ranks: Ranks, metadata: Any) -> None:
    writer = hdf5.Hdf5Writer(tmp_path / "x.h5", ranks, metadata, token_tracks=2, check=True)
    with pytest.raises(InputError, match="no such file"):
        concatenate([f"{shards[0]}.h5", tmp_path / "none.h5"], writer)
    with pytest.raises(InputError, match="incomplete"):
        read(tmp_path / "x.h5")
