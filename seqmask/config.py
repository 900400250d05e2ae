"""Options of every command: the only home of a default. Plain dataclasses; `cli` turns flags into them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Compute:
    """Where and how the networks run."""

    device: str = "auto"  # auto, cpu, cuda, cuda:N, mps
    precision: str = "fp32"  # fp32, bf16, fp16: autocast; the mask head stays in fp32
    batch_size: int = 0  # sequences a batch at most; 0 = only the token budget decides
    threads: int = 0  # CPU threads; 0 = all


@dataclass(slots=True)
class ClassifierOptions:
    """`seqmask train-classifier`."""

    sequences: list[Path] = field(default_factory=list)  # FASTA or FASTQ files
    labels: Path = Path("labels.tsv")  # label table
    output: Path = Path("classifier")  # model directory to write
    ranks: tuple[str, ...] = ("superkingdom", "phylum", "genus")  # coarse to fine
    size: str = "small"  # tiny, small, base
    k: int = 6  # k-mer length, nt
    stride: int = 6  # nt between the starts of neighbouring k-mers
    max_tokens: int = 256  # longest window, tokens
    operator: str = "blend"  # the masking operator it is trained to expect
    min_per_class: int = 20  # rarer classes are unknown at that rank
    min_crop: int = 150  # shortest random crop, nt; crops are log-uniform from here to the longest window
    bag_epochs: float = 20.0  # epochs of the bag-of-k-mers start; 0 = random weights
    steps: int = 6000  # training batches of the transformer
    batch_tokens: int = 8192  # tokens a training batch, padding included
    learning_rate: float = 1e-3
    bag_learning_rate: float = 3e-2
    weight_decay: float = 0.01
    masked_share: float = 0.5  # share of the batches that are randomly masked
    checkpoint_minutes: float = 5.0
    resume: bool = False
    force: bool = False
    seed: int = 1
    compute: Compute = field(default_factory=lambda: Compute(precision="auto"))


@dataclass(slots=True)
class ExplainerOptions:
    """`seqmask train-explainer`."""

    classifier: Path = Path("classifier")  # model directory of the frozen classifier
    sequences: list[Path] = field(default_factory=list)
    labels: Path | None = None  # label table: only its `split` column and, with target "true", its labels are used
    output: Path = Path("model")
    layers: int = 0  # layers of the Explainer, copied from the classifier's first ones; 0 = all
    operator: str = ""  # empty = the classifier's own
    force_operator: bool = False  # go on although the self-test refuses the operator
    target: str = "predicted"  # predicted, true, kl
    target_area: float = 0.2  # expected share of kept nucleotides
    area_weight: float = 10.0  # of the squared excess over the budget
    entropy_weight: float = 1.0
    variation_weight: float = 0.1
    bounds_weight: float = 0.0
    soft: bool = False  # soft products as in the paper instead of sampled binary masks
    mask_per_rank: bool = False
    frames: int = 1  # k-mer frames that `mask` and `evaluate` read and average; more are slower and more accurate
    steps: int = 600  # training batches
    validations: int = 6  # hard-mask frontiers on `val`, evenly spaced, and one at the start; the best is kept
    batch_tokens: int = 8192
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    min_crop: int = 150
    validation_limit: int = 600
    min_agreement: float = 0.95  # of hard-masked with full predictions, a rank, that the threshold must keep
    checkpoint_minutes: float = 5.0
    resume: bool = False
    force: bool = False
    seed: int = 1
    compute: Compute = field(default_factory=lambda: Compute(precision="auto"))


@dataclass(slots=True)
class MaskOptions:
    """`seqmask mask`."""

    reads: list[str] = field(default_factory=lambda: ["-"])  # files; '-' is stdin
    model: str = "genomes"  # a model directory or the name of a model that ships
    fasta: str | None = None
    bed: str | None = None
    tsv: str | None = None
    hdf5: str | None = None
    threshold: float | None = None  # None = the Explainer's own
    overlap: int = 192  # nt that neighbouring windows of a long record share at least
    frames: int = 0  # k-mer frames to read and average; 0 = the model's own number
    check: bool = False
    hard_mask: bool = False
    full_precision: bool = False
    force: bool = False
    seed: int = 1
    compute: Compute = field(default_factory=Compute)


@dataclass(slots=True)
class EvaluateOptions:
    """`seqmask evaluate`."""

    sequences: list[str] = field(default_factory=list)
    model: str = "genomes"
    labels: Path | None = None  # None = everything is scored against the classifier's own predictions
    split: str | None = None  # score only this split of the label table
    limit: int = 0  # a random sample of this many sequences; 0 = all
    threshold: float | None = None
    json: Path | None = None
    overlap: int = 192
    frames: int = 0
    force: bool = False
    seed: int = 1
    compute: Compute = field(default_factory=Compute)


def to_json(options: Any) -> dict[str, Any]:
    """An options object as a JSON-ready dict (paths as strings)."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    result: dict[str, Any] = plain(dataclasses.asdict(options))
    return result
