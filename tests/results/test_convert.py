"""The HDF5 file in other formats, held against bedtools, pybigtools and numpy."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqmask.errors import InputError, UsageError
from seqmask.labels.ranks import Ranks
from seqmask.results import convert
from seqmask.results.files import Target
from seqmask.results.reader import read
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.explanations import Explanation

AtRandom = Callable[..., list[Explanation]]
Peer = Callable[[str], str]


class Sink:
    """What the writers write to."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, data: bytes) -> None:
        self.text += data.decode()

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.text.splitlines()]


def write(path: Path, items: list[Explanation], ranks: Ranks, metadata: dict[str, Any], tracks: int = 1) -> str:
    style = Style(0.5, token_tracks=tracks, full_precision=True)
    with Outputs(Paths(hdf5=str(path)), ranks, style, metadata=metadata) as outputs:
        for item in items:
            outputs.write(item)
    return str(path)


@pytest.fixture
def items(at_random: AtRandom) -> list[Explanation]:
    return at_random(3, 30)


@pytest.fixture
def file(tmp_path: Path, items: list[Explanation], ranks: Ranks, metadata: dict[str, Any]) -> str:
    return write(tmp_path / "x.h5", items, ranks, metadata)


@pytest.fixture
def fasta(tmp_path: Path, items: list[Explanation]) -> str:
    path = tmp_path / "x.fasta"
    path.write_text("".join(f">{i.record.description}\n{i.record.sequence}\n" for i in items))
    return str(path)


def test_bedgraph_is_the_mean_that_bedtools_finds(
    file: str, items: list[Explanation], tmp_path: Path, peer: Peer
) -> None:
    bedtools = peer("bedtools")
    graph = Sink()
    with read(file) as results:
        convert.write_bedgraph(graph, results, 0)
    (tmp_path / "x.bedgraph").write_text(graph.text)
    names = sorted(item.record.name for item in items)
    tokens, bases = [], []
    for item in sorted(items, key=lambda item: item.record.name):
        for (start, end), value in zip(item.spans.tolist(), item.mask[:, 0].tolist(), strict=True):
            tokens.append(f"{item.record.name}\t{start}\t{end}\tt\t{value!r}")
        bases += [f"{item.record.name}\t{i}\t{i + 1}" for i in range(len(item.record.sequence))]
    (tmp_path / "tokens.bed").write_text("\n".join([*tokens, ""]))
    (tmp_path / "bases.bed").write_text("\n".join([*bases, ""]))
    (tmp_path / "genome").write_text("".join(f"{name}\t1000\n" for name in names))

    def mapped(path: str, column: str) -> list[list[str]]:
        subprocess.run(f"sort -k1,1 -k2,2n {path} > sorted", shell=True, check=True, cwd=tmp_path, env={"LC_ALL": "C"})
        command = [bedtools, "map", "-a", "bases.bed", "-b", "sorted", "-c", column, "-o", "mean", "-g", "genome"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    expected, found = mapped("tokens.bed", "5"), mapped("x.bedgraph", "4")
    assert [row[:3] for row in expected] == [row[:3] for row in found]
    assert len(found) > 1000
    for a, b in zip(expected, found, strict=True):
        assert a[3] == b[3] == "." or float(a[3]) == pytest.approx(float(b[3]), rel=1e-5), (a, b)


def test_bedgraph_lines(explain: Callable[..., Explanation], ranks: Ranks, metadata: Any, tmp_path: Path) -> None:
    """Equal neighbours are one line, gaps none; a float32 is written so that it can be read back."""
    items = [
        explain("A" * 30, [(0, 6), (6, 12), (12, 18), (20, 26)], [0.25, 0.25, 0.1, 0.1], name="a"),
        explain("", name="b"),
    ]
    sink = Sink()
    with read(write(tmp_path / "x.h5", items, ranks, metadata)) as results:
        convert.write_bedgraph(sink, results, 0)
    assert sink.text == "a\t0\t12\t0.25\na\t12\t18\t0.1\na\t20\t26\t0.1\n"


def test_bigwig_read_back(file: str, items: list[Explanation], tmp_path: Path) -> None:
    pybigtools = pytest.importorskip("pybigtools")
    with read(file) as results, Target(tmp_path / "x.bw") as target:
        convert.write_bigwig(target, results, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.bw", "x.h5"]
    bigwig = pybigtools.open(str(tmp_path / "x.bw"))
    covered = {item.record.name: item for item in items if len(item.spans)}
    assert covered
    assert covered.keys() <= bigwig.chroms().keys()
    for name, item in covered.items():
        values = np.full(len(item.record.sequence), np.nan, dtype=np.float32)
        for start, end, value in bigwig.records(name):
            values[start:end] = value
        np.testing.assert_array_equal(values, item.track())


def test_a_bigwig_that_cannot_be(
    explain: Callable[..., Explanation], ranks: Ranks, metadata: Any, tmp_path: Path
) -> None:
    pytest.importorskip("pybigtools")
    twice = [explain("A" * 12, [(0, 6)], [0.5], name="a"), explain("A" * 12, [(0, 6)], [0.5], name="a")]
    for items, message in ((twice, "two records 'a'"), ([explain("", name="b")], "no record has a mask")):
        path = write(tmp_path / "x.h5", items, ranks, metadata)
        with (
            read(path) as results,
            pytest.raises(InputError, match=message),
            Target(tmp_path / "x.bw") as target,
        ):
            convert.write_bigwig(target, results, 0)
        Path(path).unlink()
        assert list(tmp_path.iterdir()) == []


def test_an_error_in_between_is_not_swallowed(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pybigtools")

    def damaged(track: object) -> Any:
        raise InputError(file, "damaged")

    monkeypatch.setattr(convert, "intervals", damaged)
    with read(file) as results, pytest.raises(InputError, match="damaged"), Target(tmp_path / "x.bw") as target:
        convert.write_bigwig(target, results, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.h5"]


@pytest.mark.parametrize("tracks", [1, 2])
def test_tokens(at_random: AtRandom, ranks: Ranks, metadata: Any, tmp_path: Path, tracks: int) -> None:
    items, sink = at_random(4, 20, tracks), Sink()
    with read(write(tmp_path / "x.h5", items, ranks, metadata, tracks)) as results:
        convert.write_tokens(sink, results)
    header, *rows = sink.rows
    assert header == ["id", "start", "end", *(["importance"] if tracks == 1 else ranks.names)]
    spans = [[item.record.name, *map(str, span)] for item in items for span in item.spans.tolist()]
    assert [row[:3] for row in rows] == spans
    values = np.array([row[3:] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(values, np.concatenate([item.mask for item in items if len(item.mask)]))


def test_one_hot() -> None:
    assert convert.one_hot("AcgTuN-").T.tolist() == [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def sequenced(results: Any, fasta: str, names: tuple[str, ...] = ()) -> Any:
    return convert.with_sequences(convert.tokens(results, names), results, [fasta])


def test_modisco_arrays(file: str, fasta: str, items: list[Explanation]) -> None:
    """Every nucleotide is in one window, under its letter; scores are the track, and zero beyond the end."""
    with read(file) as results:
        hot, score = convert.modisco_arrays(sequenced(results, fasta), 0, 50)
    n = sum(-(-len(item.record.sequence) // 50) for item in items)
    assert hot["arr_0"].shape == score["arr_0"].shape == (n, 4, 50)
    assert (hot["arr_0"].dtype, score["arr_0"].dtype) == (np.int8, np.float32)
    assert (score["arr_0"][hot["arr_0"] == 0] == 0).all()
    for item in items:
        rows = np.flatnonzero(hot["ids"] == item.record.name)
        assert hot["starts"][rows].tolist() == [50 * i for i in range(len(rows))]
        length = len(item.record.sequence)
        if length:
            letters = np.concatenate(list(hot["arr_0"][rows]), axis=1)
            assert (
                "".join("ACGTN"[i] for i in np.append(letters, [[0.5] * letters.shape[1]], 0).argmax(0))[:length]
                == item.record.sequence
            )
            assert letters[:, length:].sum() == 0
            track = np.concatenate(list(score["arr_0"][rows]), axis=1).sum(axis=0)[:length]
            known = [letter in "ACGT" for letter in item.record.sequence]
            centred = item.track() - np.nanmean(item.track()) if len(item.spans) else np.zeros(length)
            np.testing.assert_allclose(track[known], np.nan_to_num(centred)[known], atol=1e-6)


def test_logos(file: str, fasta: str, items: list[Explanation]) -> None:
    item = next(item for item in items if len(item.spans))
    sink = Sink()
    with read(file) as results:
        convert.write_logos(sink, sequenced(results, fasta, (item.record.name,)), 0)
    header, *rows = sink.rows
    assert header == ["id", "position", "A", "C", "G", "T"]
    assert [row[:2] for row in rows] == [[item.record.name, str(i)] for i in range(len(item.record.sequence))]
    heights = np.array([row[2:] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(heights.sum(axis=1), np.nan_to_num(item.track()))
    for row, letter, value in zip(heights, item.record.sequence, item.track(), strict=True):
        assert row.max() == 0 or ("ACGT"[row.argmax()] == letter and row.max() == value)


def test_sequences_that_were_not_masked(file: str, fasta: str, items: list[Explanation], tmp_path: Path) -> None:
    text = Path(fasta).read_text()
    for changed, message in (
        (text.replace(">read3 ", ">other "), r"line \d+: record 'other' of \d+ nt; expected 'read3' of"),
        (text[: text.index(">read9")], "no more records; expected 'read9'"),
    ):
        (tmp_path / "y.fasta").write_text(changed)
        with read(file) as results, pytest.raises(InputError, match=message):
            list(sequenced(results, str(tmp_path / "y.fasta")))


def test_unknown_names(file: str) -> None:
    with read(file) as results:
        with pytest.raises(InputError, match="no record 'nobody'"):
            list(convert.tokens(results, {"nobody", "read1"}))
        with pytest.raises(UsageError, match=r"--rank class: no such rank in .*; expected superkingdom, genus"):
            convert.track_of(results, "class")
        assert (convert.track_of(results, None), convert.track_of(results, "superkingdom")) == (0, 0)


def test_a_rank_of_its_own_has_a_column(at_random: AtRandom, ranks: Ranks, metadata: Any, tmp_path: Path) -> None:
    with read(write(tmp_path / "x.h5", at_random(4, 5, 2), ranks, metadata, 2)) as results:
        assert (convert.track_of(results, None), convert.track_of(results, "superkingdom")) == (1, 0)


def test_intervals() -> None:
    nan = np.nan
    starts, ends, values = convert.intervals(np.array([nan, nan, 0.5, 0.5, 0.25, nan, 1], dtype=np.float32))
    assert list(zip(starts.tolist(), ends.tolist(), values.tolist(), strict=True)) == [
        (2, 4, 0.5),
        (4, 5, 0.25),
        (6, 7, 1),
    ]
    assert [len(part) for part in convert.intervals(np.zeros(0, dtype=np.float32))] == [0, 0, 0]
