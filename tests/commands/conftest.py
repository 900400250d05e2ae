"""Running commands in this process, and real reads to run them on."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seqmask.cli.app import app

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
READS = EXAMPLES / "reads.fasta.gz"
LABELS = EXAMPLES / "reads.tsv"


@dataclass(frozen=True)
class Done:
    """How a command ended and what it wrote to its streams."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


Run = Callable[..., Done]


def invoke(*arguments: object, stdin: bytes = b"") -> Done:
    """`seqmask ARGUMENTS` in this process; an exception that would be a traceback is raised here."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, catch_exceptions=False)
    return Done(result.exit_code, result.stdout_bytes, result.stderr)


@pytest.fixture(scope="session")
def run() -> Run:
    return invoke


@pytest.fixture(scope="session")
def reads() -> Path:
    """500 real reads of 150 to 1,492 nt, gzipped FASTA."""
    return READS


@pytest.fixture(scope="session")
def labels() -> Path:
    """Their true classes."""
    return LABELS


@pytest.fixture(scope="session")
def fasta() -> bytes:
    """The same reads, not compressed."""
    return gzip.decompress(READS.read_bytes())


@pytest.fixture(scope="session")
def few(fasta: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 12 of them."""
    path = tmp_path_factory.mktemp("few") / "few.fasta"
    path.write_bytes(b"".join(b">" + record for record in fasta.split(b">")[1:13]))
    return path


@pytest.fixture(scope="session")
def masked(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run over all reads: the prefix of its four outputs."""
    prefix = tmp_path_factory.mktemp("masked") / "reads"
    done = invoke("mask", READS, "-m", tiny_model, "-x", "cpu", "-o", prefix, "--check", "--full-precision")
    assert done.code == 0, done.err
    return prefix


@pytest.fixture
def sequences() -> Callable[[bytes], dict[str, str]]:
    """Names (first words) and sequences of FASTA text."""

    def parse(text: bytes) -> dict[str, str]:
        found: dict[str, str] = {}
        for record in text.decode().split(">")[1:]:
            header, _, body = record.partition("\n")
            found[header.split()[0]] = body.replace("\n", "")
        return found

    return parse
