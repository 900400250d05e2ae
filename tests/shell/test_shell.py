"""What is typed into a shell around seqmask: each .sh file here, with the real tools, as a test of its own.

Scripts find $READS (500 reads, FASTA, gzip), $FEW (12 of them, FASTA), $LABELS (their true classes) and $MASKS (prefix
of the outputs of `mask --check` on all of them). They run in an empty directory with `set -euo pipefail` and check
themselves.
"""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seqmask.cli.app import app

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
SCRIPTS = sorted(HERE.glob("*.sh"))
TOOLS = re.compile(r"^(?:.*[|(;] *)?(bedtools|seqkit|samtools|parallel)\b", re.MULTILINE)


@pytest.fixture(scope="module")
def inputs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the scripts find in their environment."""
    folder = tmp_path_factory.mktemp("inputs")
    reads, few, masks = EXAMPLES / "reads.fasta.gz", folder / "few.fasta", folder / "masks"
    few.write_bytes(b"".join(b">" + record for record in gzip.decompress(reads.read_bytes()).split(b">")[1:13]))
    command = ["mask", "-q", str(reads), "-m", str(tiny_model), "-x", "cpu", "-o", str(masks), "--check"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.stderr
    labels = EXAMPLES / "reads.tsv"
    return {
        "READS": reads,
        "FEW": few,
        "MASKS": masks,
        "LABELS": labels,
        "SEQMASK_MODEL": tiny_model,
        "LC_ALL": "C",
        "POOL_WINDOWS": 3,
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(
    script: Path,
    bash: Callable[..., subprocess.CompletedProcess[str]],
    inputs: dict[str, object],
    peer: Callable[[str], str],
) -> None:
    text = script.read_text()
    for tool in sorted(set(TOOLS.findall(text))):
        peer(tool)
    bash(text, **inputs)


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 20
