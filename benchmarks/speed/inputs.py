"""Sequences and models to measure with: nothing is downloaded, and random weights cost what trained ones do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqmask.config import ClassifierOptions
from seqmask.labels.ranks import Rank, Ranks
from seqmask.models.checkpoint import Model, load_classifier, load_model, save_classifier, save_explainer
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import SIZES, configuration
from seqmask.models.explainer import Explainer
from seqmask.sequences.tokens import KmerTokenizer

LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)
HEADS = (4, 45, 1500)  # classes of the three ranks of most rows


def ranks_of(sizes: Sequence[int]) -> Ranks:
    return Ranks(tuple(Rank(f"rank{i}", tuple(f"class{i}_{j}" for j in range(n))) for i, n in enumerate(sizes)))


def sequences(lengths: Sequence[int], seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [LETTERS[rng.integers(0, 4, int(length))].tobytes().decode() for length in lengths]


def write_reads(path: Path, count: int, length: int = 150, seed: int = 0) -> Path:
    """`count` random reads, one line each, a few thousand at a time."""
    rng = np.random.default_rng(seed)
    with path.open("wb") as handle:
        for begin in range(0, count, 4096):
            rows = LETTERS[rng.integers(0, 4, (min(4096, count - begin), length))]
            records = (b">read%07d sample=1\n%s\n" % (begin + i, row.tobytes()) for i, row in enumerate(rows))
            handle.write(b"".join(records))
    return path


def write_fasta(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("".join(f">seq{i} random\n{text}\n" for i, text in enumerate(texts)))
    return path


def shape(size: str) -> dict[str, Any]:
    """Configuration of an encoder: a named size, or layers x width such as 12x768."""
    if size in SIZES:
        return SIZES[size]
    layers, width = (int(part) for part in size.split("x"))
    return {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": max(width // 64, 1)}


def random_model(
    folder: Path, size: str, max_tokens: int, sizes: Sequence[int] = HEADS, k: int = 6, crossing: bool | None = None
) -> Path:
    """A model directory with random weights. size: as in `shape`; crossing: None = as new classifiers are made."""
    directory = folder / f"model-{size}-{max_tokens}-{k}-{len(sizes)}"
    if (directory / "explainer.json").exists():
        return directory
    tokenizer = KmerTokenizer(k, k)
    crosses = ClassifierOptions().crossing if crossing is None else crossing
    config = configuration("base", tokenizer.vocabulary_size, max_tokens, k if crosses else 0)
    config |= shape(size)
    config["intermediate_size"] = 4 * config["hidden_size"]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        network = Classifier(config, tuple(sizes), "blend")
        save_classifier(directory, network, tokenizer, ranks_of(sizes), {})
        classifier = load_classifier(directory)
        explainer = Explainer.like(classifier.network)
        explainer.head.weight.normal_(std=0.2)
        save_explainer(directory, explainer, classifier, 0.5, "blend", {})
    return directory


def loaded(folder: Path, size: str, max_tokens: int, **options: Any) -> Model:
    return load_model(random_model(folder, size, max_tokens, **options))
