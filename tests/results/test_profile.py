"""The profile's table and figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqmask.errors import UsageError
from seqmask.results.profile import COLUMNS, check_figure, figure, smoothed, table

REGIONS = [("V1", 0, 2), ("V2", 1, 2)]


def test_table() -> None:
    values = np.arange(18, dtype=np.float64).reshape(6, 1, 3) / 100
    values[:, 0, 2] = np.nan
    header, *rows = table("ACn", ["genus"], np.array([7, 8, 0]), values, REGIONS).decode().splitlines()
    assert tuple(header.split("\t")) == COLUMNS
    assert rows == [
        "genus\t0\t1\tA\tV1\t7\t0.0000\t0.0300\t0.0600\t0.0900\t0.1200\t0.1500",
        "genus\t1\t2\tC\tV1,V2\t8\t0.0100\t0.0400\t0.0700\t0.1000\t0.1300\t0.1600",
        "genus\t2\t3\tn\t\t0" + "\t" * 6,
    ]


def test_smoothed_by_hand() -> None:
    values = np.array([1, 2, np.nan, 4, 9], dtype=np.float64)
    assert smoothed(values, 3) == pytest.approx([1.5, 1.5, np.nan, 6.5, 6.5], nan_ok=True)


@pytest.mark.parametrize(("name", "begin"), [("x.png", b"\x89PNG"), ("x.SVG", b"<?xml"), ("x.pdf", b"%PDF")])
def test_figure(tmp_path: Path, name: str, begin: bytes) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / name
    check_figure(path)
    values = np.random.default_rng(0).random((6, 2, 50))
    values[:, :, :5] = np.nan
    figure(path, path.suffix[1:].lower(), "title", ["phylum", "genus"], np.full(50, 3), values, REGIONS)
    data = path.read_bytes()
    assert data.startswith(begin)
    if begin == b"<?xml":
        text = data.decode()
        figure(path, "svg", "title", ["phylum", "genus"], np.full(50, 3), values, REGIONS)
        assert [f"<!-- {word} -->" in text for word in ("title", "V1", "V2", "phylum", "genus")] == [True] * 5


def test_a_figure_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a name that ends in one of \.png, \.svg, \.pdf"):
        check_figure(tmp_path / "x.jpg")
