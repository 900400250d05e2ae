"""How the Nextflow pipeline calls samples: Groovy reads this pattern as Python does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

MAIN = Path(__file__).resolve().parents[2] / "workflows" / "nextflow" / "main.nf"


@pytest.mark.parametrize(
    ("file", "sample"),
    [
        ("run1.A.fasta.gz", "run1.A"),
        ("run1.B.FA", "run1.B"),
        ("genes.ffn.gz", "genes"),
        ("reads.gz", "reads"),
        ("reads", "reads"),
        ("a.b.c", "a.b.c"),
    ],
)
def test_samples_differ_where_files_do(file: str, sample: str) -> None:
    found = re.search(r"file\.name\.replaceFirst\(/(.+)/, ''\)", MAIN.read_text())
    assert found is not None
    assert re.sub(found[1], "", file, count=1) == sample
