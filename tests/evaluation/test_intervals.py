import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seqmask.errors import InputError
from seqmask.evaluation.intervals import BedInterval, Intervals, read_bed, track_of
from seqmask.sequences.records import Record


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "x.bed"
    path.write_text(text)
    return str(path)


def test_three_to_twelve_columns_and_what_is_skipped(tmp_path: Path) -> None:
    text = "# said\ntrack name=x\nbrowser position a\n\na\t0\t5\na\t3\t9\tCDS:COX1\t0\t+\nb 1 2 name\n"
    found = read_bed(write(tmp_path, text))
    assert found.by_chrom == {
        "a": [BedInterval("a", 0, 5, "", 5), BedInterval("a", 3, 9, "CDS:COX1", 6)],
        "b": [BedInterval("b", 1, 2, "name", 7)],
    }


def test_compressed_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.bed"
    path.write_bytes(gzip.compress(b"a\t0\t5\tn\r\n", mtime=0))
    assert read_bed(str(path)).by_chrom["a"][0].name == "n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a\t5", "2 columns"),
        ("a\t0\t5" + "\tx" * 10, "13 columns"),
        ("a\tx\t5", "a x 5"),
        ("a\t-1\t5", "a -1 5"),
        ("a\t6\t5", "a 6 5"),
        ("a\t1.5\t5", "a 1.5 5"),
        ("\t1\t5", "1 5"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, found: str) -> None:
    path = write(tmp_path, f"a\t0\t5\n{line}\n")
    with pytest.raises(InputError) as error:
        read_bed(path)
    assert str(error.value).startswith(f"{path}, line 2: ")
    assert found in str(error.value)
    assert "expected" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "found"), [("", "no intervals"), ("# nothing\n", "no intervals")])
def test_an_empty_file_is_refused(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        read_bed(write(tmp_path, text))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_bed(str(tmp_path / "absent.bed"))


def test_an_interval_beyond_the_end_is_refused() -> None:
    intervals = Intervals("x.bed", {"a": [BedInterval("a", 0, 10, "", 1), BedInterval("a", 5, 11, "", 4)]})
    assert intervals.of(Record("b", "b", "ACGT")) == []
    assert len(intervals.of(Record("a", "a", "A" * 11))) == 2
    with pytest.raises(InputError, match=r"x\.bed, line 4: a:5-11 ends beyond the sequence; expected at most 10"):
        intervals.of(Record("a", "a", "A" * 10))


def test_unknown_sequences_are_counted() -> None:
    intervals = Intervals("x.bed", {name: [] for name in "abc"})
    assert intervals.unknown(["b", "z"]) == 2


def test_tracks_cover_what_bedtools_merges(tmp_path: Path, peer: Callable[[str], str]) -> None:
    rng = np.random.default_rng(0)
    starts = np.sort(rng.integers(0, 300, 25))
    bed = write(tmp_path, "".join(f"a\t{s}\t{s + n}\n" for s, n in zip(starts, rng.integers(1, 20, 25), strict=True)))
    merged = subprocess.run([peer("bedtools"), "merge", "-i", bed], capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in merged.splitlines()]
    expected = np.zeros(330, dtype=bool)
    for _, start, end in rows:
        expected[int(start) : int(end)] = True
    assert np.array_equal(track_of(read_bed(bed).by_chrom["a"], 330), expected)
