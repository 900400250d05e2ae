"""`mask --min-confidence`, and classes that do not stand under each other, from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def related(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model, told that every phylum stands under the first superkingdom and every genus under any phylum."""
    directory = tmp_path / "related"
    shutil.copytree(tiny_model, directory)
    path = directory / "labels.json"
    data = json.loads(path.read_text())
    domains, phyla, genera = data["ranks"]
    phyla["parents"] = [[0]] * len(phyla["classes"])
    genera["parents"] = [list(range(len(phyla["classes"])))] * len(genera["classes"])
    path.write_text(json.dumps(data))
    assert domains["classes"][0] == "Archaea"
    return directory


def rows(text: str) -> list[dict[str, str]]:
    header, *lines = (line.split("\t") for line in text.splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_least_confidence(run: Run, tiny_model: Path, few: Path) -> None:
    all_named = rows(run("mask", few, "-m", tiny_model, "--tsv", "-").text)
    values = sorted(float(row["genus_confidence"]) for row in all_named)
    least = values[5]  # of twelve
    done = run("mask", few, "-m", tiny_model, "--tsv", "-", "--min-confidence", least)
    found = rows(done.text)
    for name in ("superkingdom", "phylum", "genus"):
        # The table has four decimals: a value that looks equal may be on either side
        certain = [i for i, row in enumerate(all_named) if abs(float(row[f"{name}_confidence"]) - least) > 1e-4]
        for i in certain:
            below = float(all_named[i][f"{name}_confidence"]) < least
            assert found[i][name] == ("unclassified" if below else all_named[i][name])
    assert [row["genus_confidence"] for row in found] == [row["genus_confidence"] for row in all_named]
    count = sum(row["genus"] == "unclassified" for row in found)
    assert count >= 5
    assert f"unclassified, confidence below {least:g}: superkingdom " in done.err
    assert f"genus {count}" in done.err
    assert "inconsistent" not in found[0]


def test_nothing_to_say_is_not_said(run: Run, tiny_model: Path, few: Path) -> None:
    assert not {"unclassified", "together"} & set(run("mask", few, "-m", tiny_model, "--tsv", "-").err.split())


@pytest.mark.parametrize("least", ["-0.1", "1.1", "much"])
def test_a_confidence_is_a_share(run: Run, tiny_model: Path, few: Path, least: str) -> None:
    done = run("mask", few, "-m", tiny_model, "--tsv", "-", f"--min-confidence={least}")
    assert (done.code, done.out) == (2, b"")


def test_inconsistent_classes(run: Run, related: Path, few: Path) -> None:
    done = run("mask", few, "-m", related, "--tsv", "-")
    found = rows(done.text)
    assert [row["inconsistent"] for row in found] == [
        "" if row["superkingdom"] == "Archaea" else "phylum" for row in found
    ]
    count = sum(row["inconsistent"] == "phylum" for row in found)
    assert 0 < count < 12
    assert f"{count} records with classes that never stand together in the training labels" in done.err
