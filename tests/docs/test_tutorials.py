"""What the tutorials tell readers to type, typed: the bash blocks of each page, in order."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from seqmask.config import ClassifierOptions
from seqmask.models.encoders import SIZES, configuration

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PEERS = ("seqkit", "bedtools")

Bash = Callable[..., subprocess.CompletedProcess[str]]
Peer = Callable[[str], str]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_tutorial(page: Path, bash: Bash, peer: Peer, tmp_path: Path) -> None:
    text = "".join(BLOCK.findall(page.read_text()))
    assert "seqmask " in text
    for name in PEERS:
        if name in text:
            peer(name)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    bash(text)


def test_the_table_of_sizes() -> None:
    """That of the classifiers that `--size` can make, the default named."""
    text = (ROOT / "docs" / "tutorials" / "train.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    keys = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
    made = {size: configuration(size, 4096, 256) for size in SIZES}
    assert [(name, tuple(map(int, row))) for name, *row in told] == [
        (size, tuple(config[key] for key in keys)) for size, config in made.items()
    ]
    assert f"(`{ClassifierOptions().size}` is the default)" in text


def test_pages_in_the_menu() -> None:
    """Every page that is no decision record is in the site's menu, under a name that exists."""
    menu = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]
    named = set(re.findall(r": ([\w/.-]+\.md)$", menu, re.MULTILINE))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    records = {page for page in pages if re.match(r"decisions/\d", page)}
    assert named == pages - records


def test_slurm_scripts(bash: Bash, peer: Peer, tiny_model: Path, tmp_path: Path) -> None:
    """The array's tasks one after the other, then the merge: one run's outputs."""
    peer("seqkit")
    bash(
        """
        seqkit head -n 20 "$EXAMPLES/reads.fasta.gz" > reads.fasta
        export SLURM_ARRAY_TASK_COUNT=3 SLURM_CPUS_PER_TASK=1
        for SLURM_ARRAY_TASK_ID in 1 2 3; do
            export SLURM_ARRAY_TASK_ID
            "$EXAMPLES/slurm/mask.sbatch" reads.fasta masks --quiet
        done
        "$EXAMPLES/slurm/merge.sbatch" masks
        seqmask mask -q reads.fasta -o whole
        for kind in fasta bed tsv; do cmp whole.$kind masks.$kind; done
        test -s masks.h5
        """,
        EXAMPLES=ROOT / "examples",
        SEQMASK_MODEL=tiny_model,
        POOL_WINDOWS=4,
    )
