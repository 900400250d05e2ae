"""What every test may lean on: peer tools by name, an untrained model, and one torch thread in each parallel worker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Before anything imports torch: two workers with two threads each would fight over the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Before anything imports triton: without a GPU its kernels run in its interpreter
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# What a script runs in the background ignores SIGINT, and so would every process that a test interrupts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
REQUIRE_PEERS = "SEQMASK_REQUIRE_PEERS"


def find_peer(name: str) -> str:
    """Path of an external tool; without it the test is skipped, or fails where SEQMASK_REQUIRE_PEERS=1."""
    beside = os.path.dirname(sys.executable)  # a tool of the same virtual environment, which need not be active
    path = shutil.which(name) or shutil.which(name, path=beside)
    if path is not None:
        return path
    if os.environ.get(REQUIRE_PEERS) == "1":
        pytest.fail(f"{name} is not on PATH, and {REQUIRE_PEERS}=1 asks for it", pytrace=False)
    pytest.skip(f"{name} is not on PATH")


@pytest.fixture(scope="session")
def peer() -> Callable[[str], str]:
    """`peer("bedtools")` is the tool's path."""
    return find_peer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with random weights, large enough for classes and masks to differ from record to record.

    Three ranks, windows of 64 tokens of 6 nt (384 nt), masks over all of (0, 1), the threshold at about their median.
    """
    # Not at the top: tests of the rooms without torch must not load it
    import torch

    from seqmask.labels.ranks import Rank, Ranks
    from seqmask.models.checkpoint import load_classifier, round_to_half, save_classifier, save_explainer
    from seqmask.models.classifier import Classifier
    from seqmask.models.encoders import configuration
    from seqmask.models.explainer import Explainer
    from seqmask.sequences.tokens import SPECIALS, KmerTokenizer

    ranks = Ranks(
        (
            Rank("superkingdom", ("Archaea", "Bacteria", "Eukaryota", "Viruses"), (2157, 2, 2759, 10239)),
            Rank("phylum", ("Actinomycetota", "Bacillota", "Candidatus Omnitrophota", "Pseudomonadota", "Uroviricota")),
            Rank(
                "genus", ("Bacillus", "Candidatus Pelagibacter", "Escherichia", "Vibrio", "unclassified Siphoviridae")
            ),
        )
    )
    directory = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer = KmerTokenizer()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        network = Classifier(configuration("tiny", tokenizer.vocabulary_size, 64), ranks.sizes, "blend")
        for name, weight in network.encoder.named_parameters():
            if "word_embeddings" in name:
                weight.normal_()
            elif "dense" in name or "self" in name:
                weight.mul_(3)
        network.head.weight.normal_(std=1.5)
        ids = torch.randint(len(SPECIALS), tokenizer.vocabulary_size, (64, 64))
        attention = torch.ones_like(ids, dtype=torch.bool)
        network.head.bias.sub_(network(ids, attention).mean(dim=0))  # no class wins everywhere
        save_classifier(directory, network, tokenizer, ranks, {"note": "random weights"})
        classifier = load_classifier(directory)

        explainer = Explainer.like(classifier.network, layers=1)
        explainer.head.weight.normal_(std=0.2)
        explainer.head.bias.zero_()
        round_to_half(explainer)
        masks = torch.sigmoid(explainer(ids, attention))
        save_explainer(directory, explainer, classifier, round(float(masks.median()), 3), "blend", {})
    return directory


MAIN = """
import os
from seqmask.cli.app import main
if "POOL_WINDOWS" in os.environ:
    from seqmask.inference import explain
    explain.POOL_WINDOWS = int(os.environ["POOL_WINDOWS"])
main()
"""


@pytest.fixture
def bash(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`bash(script, NAME=value, ...)` runs a script with `set -euo pipefail` in an empty directory; it must end well.

    `seqmask` and `python` are those under test, and the CPU has one thread. POOL_WINDOWS=n: so many windows are
    computed together, that a few reads be several pools, and so several shards.
    """

    def run(script: str, **variables: object) -> subprocess.CompletedProcess[str]:
        bin_directory = tmp_path.parent / f"{tmp_path.name}-bin"
        bin_directory.mkdir(exist_ok=True)
        (bin_directory / "main.py").write_text(MAIN)
        for name, command in (("python", ""), ("seqmask", f"{bin_directory}/main.py ")):
            (bin_directory / name).write_text(f'#!/bin/sh\nexec {sys.executable} {command}"$@"\n')
            (bin_directory / name).chmod(0o755)
        path = f"{bin_directory}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        own = {"PATH": path, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": 1, "SEQMASK_DEVICE": "cpu", "SEQMASK_THREADS": 1}
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            env=os.environ | {name: str(value) for name, value in (own | variables).items()},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run
