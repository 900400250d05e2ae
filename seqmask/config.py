"""Options of every command: the only home of a default. Plain dataclasses; `cli` turns flags into them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqmask.errors import UsageError


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
    taxonomy: Path | None = None  # folder of an NCBI taxdump, by which the taxids of the label table name taxa
    ranks: tuple[str, ...] = ("superkingdom", "phylum", "genus")  # coarse to fine
    size: str = "small"  # tiny, mini, wide, small, base
    tokenizer: str = "kmer"  # kmer, bpe (learned from the training sequences)
    vocabulary: int = 4096  # of bpe: most ids, 5 special ones included
    k: int = 6  # k-mer length, nt
    stride: int = 6  # nt between the starts of neighbouring k-mers
    crossing: bool = True  # tokens also read the k-mers that cross into the next token; needs stride = k
    phases: int = 1  # with crossing: 3 tells k-mers apart by their place modulo 3, for coding sequence
    canonical: bool = False  # with crossing: a k-mer and its reverse complement are one
    pooler: int = 512  # inner size of the feed-forward block between pooling and the heads; 0 = heads read the mean
    lineages: bool = True  # join the ranks: one distribution over the training lineages, fitted on `val`
    max_tokens: int = 256  # longest window, tokens
    operator: str = "gate"  # the masking operator it is trained to expect
    min_per_class: int = 20  # rarer classes are unknown at that rank
    min_crop: int = 150  # shortest random crop, nt; crops are log-uniform from here to the longest window
    mutated: float = 0.0  # bases of a crop are replaced at a rate from U(0, this)
    whole_share: float = 0.0  # of the crops that are whole sequences, or as long as a window
    bag_epochs: float = 20.0  # epochs of the bag-of-k-mers start; 0 = random weights
    steps: int = 6000  # training batches of the transformer
    batch_tokens: int = 8192  # tokens a training batch, padding included
    learning_rate: float = 1e-3
    bag_learning_rate: float = 3e-2
    weight_decay: float = 0.01
    label_smoothing: float = 0.0  # share of each target that is spread over all classes of its rank
    balanced_ranks: tuple[str, ...] = ()  # ranks whose classes count alike, however many sequences each has in training
    masked_share: float = 0.5  # share of the batches that are randomly masked
    checkpoint_minutes: float = 5.0
    resume: bool = False
    force: bool = False
    seed: int = 1
    compute: Compute = field(default_factory=lambda: Compute(precision="auto"))


@dataclass(slots=True)
class ExplainerOptions:
    """`seqmask train-explainer`."""

    classifier: Path | None = None  # directory of the frozen classifier; None = that of `explainer`
    explainer: str = ""  # model, by name or directory, whose Explainer it begins with; empty = a new one
    sequences: list[Path] = field(default_factory=list)
    labels: Path | None = None  # label table: only its `split` column and, with target "true", its labels are used
    taxonomy: Path | None = None
    output: Path = Path("model")
    layers: int = 0  # layers of a new Explainer, copied from the classifier's first ones; 0 = all
    operator: str = ""  # empty = the classifier's own
    force_operator: bool = False  # go on although the self-test refuses the operator
    target: str = "predicted"  # predicted, true, kl
    named_share: float = 0.1  # share of the sequences that explain a likely other class, as `mask --target` does
    form: str = "budget"  # budget, constrained, weighted
    target_area: float = 0.0  # expected share of kept nucleotides, the budget; 0 = as of `explainer`, or .2
    sufficiency_bound: float = 0.1  # constrained: nats a rank
    necessity_bound: float = 0.1  # constrained: in the unit of necessity_kind
    necessity_kind: str = "class"  # class, entropy (the paper's), null
    area_weight: float = 10.0  # of the squared excess over the budget; constrained and weighted: of the area
    necessity_weight: float = 1.0
    variation_weight: float = 0.1
    bounds_weight: float = 0.0
    soft: bool = False  # soft products as in the paper instead of sampled binary masks
    mask_per_rank: bool = False
    frames: int = 0  # k-mer frames that `mask` and `evaluate` read and average, so that masks depend less on where a
    # read begins; 0 = those of `explainer`, 1 for a new one
    steps: int = 600  # training batches; 0 = the threshold alone is chosen
    effects_share: float = 0.9  # of the steps that fit measured effects of single tokens; masks are drawn in the rest
    effect_tokens: int = 16  # measured in each crop
    validations: int = 6  # hard-mask frontiers on `val`, evenly spaced, and one at the start; the best is kept
    batch_tokens: int = 8192
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    min_crop: int = 150
    validation_limit: int = 600
    min_agreement: float = 0.0  # share of the full accuracy, a rank, that the threshold must keep; 0 = as of
    # `explainer`, or .97
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
    target: list[str] = field(default_factory=list)  # RANK=CLASS: explain this class instead of the predicted one
    check: bool = False
    smallest: bool = False  # the smallest mask of each record that holds, as `check` then says
    hard_mask: bool = False
    full_precision: bool = False
    min_confidence: float = 0.0  # a class below it is printed as `unclassified`
    infile_list: str | None = None  # file with the names of further files to read, one a line
    json_report: str | None = None
    shard: str | None = None  # I/N: only this part of the input
    checkpoint_minutes: float = 5.0
    besides: dict[str, bytes] = field(default_factory=dict)  # small files to write with the outputs, by name
    resume: bool = False
    force: bool = False
    seed: int = 1
    compute: Compute = field(default_factory=Compute)


@dataclass(slots=True)
class EvaluateOptions:
    """`seqmask evaluate`."""

    sequences: list[str] = field(default_factory=list)
    model: str = "genomes"
    labels: Path | None = None  # None = everything is scored against the classifier's own predictions
    taxonomy: Path | None = None
    split: str | None = None  # score only this split of the label table
    limit: int = 0  # a random sample of this many sequences; 0 = all
    resample_by: str | None = None  # column of the labels whose sequences are resampled together; None: species, if any
    sample: int = 64  # of these, how many the costly parts read (curves, calibration, consistency); 0 = all
    judge: str | None = None  # classifier or model directory, or the name of a model that ships: leakage check
    other: str | None = None  # model directory: another Explainer of the same classifier
    truth: Path | None = None  # BED file of `seqmask simulate`, or of the same form: where the evidence is known to be
    annotations: Path | None = None  # BED file: is importance higher inside of each kind (column 4)?
    rivals: str = ""  # other attribution methods to compare with, comma-separated: saliency,ig-20,lime
    rivals_limit: int = 100  # sequences, drawn at random, that the rivals are run on; 0 = all
    threshold: float | None = None
    smallest: bool = False  # masks as of `mask --smallest`
    json: Path | None = None
    overlap: int = 192
    frames: int = 0
    force: bool = False
    seed: int = 1
    compute: Compute = field(default_factory=Compute)


@dataclass(slots=True)
class ProfileOptions:
    """`seqmask profile`."""

    sequences: list[str] = field(default_factory=list)
    reference: Path = Path("reference.fasta")  # FASTA with the one sequence that the others are aligned to
    model: str = "genomes"
    regions: str | None = None  # BED file on the reference, or ecoli-16s: V1 to V9
    labels: Path | None = None  # label table: only its `split` column is used
    split: str | None = None  # only this split
    limit: int = 0  # a random sample of this many sequences; 0 = all
    min_identity: float = 0.6  # of the aligned nucleotides; sequences below are left out
    threshold: float | None = None
    tsv: Path = Path("-")
    plot: Path | None = None
    json: Path | None = None
    overlap: int = 192
    frames: int = 0
    force: bool = False
    seed: int = 1
    compute: Compute = field(default_factory=Compute)


TASK_NAMES = ("one", "several", "and", "order", "decoys", "nested")
BACKGROUNDS = ("default", "markov", "fragments")
SHARED = 8  # no two simulated motifs, on any strand, have a word of this length in common


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """`seqmask simulate`. Impossible combinations are a UsageError that names the option."""

    task: str = "one"  # what decides the class: one, several, and, order, decoys or nested (see TASKS)
    sequences: int = 2000  # sequences in all, over all splits
    classes: int = 8  # classes of the finest rank, without "negative"
    groups: int = 4  # classes of the coarse rank (task nested; must divide `classes`)
    ranks: tuple[str, str] = ("superkingdom", "phylum")  # coarse, fine; only task nested has the coarse one
    length: int = 300  # mean length of a sequence, nt
    length_spread: int = 60  # lengths are uniform within this many nt of the mean
    motif_min: int = 12  # shortest motif, nt
    motif_max: int = 18  # longest motif, nt
    max_instances: int = 3  # a planted motif occurs 1 to this many times
    motifs_per_class: int = 4  # task several: motifs of a class, two of which stand in each of its sequences
    decoy_motifs: int = 4  # different decoy motifs, each a shuffled class motif
    decoys: int = 1  # decoy instances in every sequence of every class (task decoys: four times as many)
    negatives: float = 0.1  # share of sequences of class "negative" without any class motif
    background: str = "default"  # default (no data needed), markov (fitted to `sources`) or fragments (of `sources`)
    order: int = 3  # order of the Markov chains: 2 or 3
    gc_bins: int = 4  # Markov chains of different GC content
    val: float = 0.1  # share of sequences in split val
    test: float = 0.2  # share of sequences in split test_species
    seed: int = 0  # with task, classes, groups and the motif options, this alone decides the motifs
    sources: tuple[Path, ...] = ()  # FASTA or FASTQ files with real sequences for the background
    output: str = "simulated"  # PREFIX of the three files
    gzip: bool = False  # PREFIX.fasta.gz instead of PREFIX.fasta
    force: bool = False

    @property
    def derived(self) -> tuple[str, str, str]:
        """The files that are written: sequences, labels, truth."""
        return f"{self.output}.fasta" + (".gz" if self.gzip else ""), f"{self.output}.tsv", f"{self.output}.truth.bed"

    def __post_init__(self) -> None:
        nested = self.task == "nested"
        checks = (
            (self.task in TASK_NAMES, f"--task {self.task}: expected one of {', '.join(TASK_NAMES)}"),
            (
                self.background in BACKGROUNDS,
                f"--background {self.background}: expected one of {', '.join(BACKGROUNDS)}",
            ),
            (
                len({*self.ranks} - {"decoy", "lone"}) == 2 and all(rank.isidentifier() for rank in self.ranks),
                f"--ranks {','.join(self.ranks)}: expected two different words, none of them decoy or lone",
            ),
            (self.sequences >= 1, f"--sequences {self.sequences}: expected at least 1"),
            (self.classes >= 2, f"--classes {self.classes}: expected at least 2"),
            (
                self.task != "order" or self.classes % 2 == 0,
                f"--classes {self.classes}: task order needs an even number",
            ),
            (
                not nested or (2 <= self.groups < self.classes and self.classes % self.groups == 0),
                f"--groups {self.groups}: expected 2 or more, and --classes {self.classes} a multiple of it",
            ),
            (
                SHARED <= self.motif_min <= self.motif_max,
                f"--motif-min {self.motif_min}, --motif-max {self.motif_max}: expected {SHARED} <= min <= max",
            ),
            (self.max_instances >= 1, f"--max-instances {self.max_instances}: expected at least 1"),
            (self.motifs_per_class >= 2, f"--motifs-per-class {self.motifs_per_class}: expected at least 2"),
            (self.decoys >= 0, f"--decoys {self.decoys}: expected 0 or more"),
            (
                self.decoy_motifs >= 1,
                f"--decoy-motifs {self.decoy_motifs}: expected at least 1; --decoys 0 plants none",
            ),
            (0 <= self.negatives < 1, f"--negatives {self.negatives}: expected from 0 to below 1"),
            (self.order in (2, 3), f"--order {self.order}: expected 2 or 3"),
            (self.gc_bins >= 1, f"--gc-bins {self.gc_bins}: expected at least 1"),
            (
                self.val >= 0 and self.test >= 0 and self.val + self.test < 1,
                f"--val {self.val}, --test {self.test}: expected 0 or more, below 1 together",
            ),
            (self.seed >= 0, f"--seed {self.seed}: expected 0 or more"),
            (self.length_spread >= 0, f"--length-spread {self.length_spread}: expected 0 or more"),
            (
                self.length - self.length_spread >= self.greatest_load,
                f"--length {self.length}, --length-spread {self.length_spread}: the shortest sequence needs"
                f" {self.greatest_load} nt for its motifs",
            ),
        )
        for holds, message in checks:
            if not holds:
                raise UsageError(message)

    @property
    def decoys_each(self) -> int:
        """Decoy instances in every sequence."""
        return self.decoys * (4 if self.task == "decoys" else 1)

    @property
    def greatest_load(self) -> int:
        """Nucleotides that the fullest sequence needs for its motifs and the gaps between them."""
        motifs = 1 if self.task in ("one", "decoys") else 2
        return (motifs * self.max_instances + self.decoys_each) * (self.motif_max + 1)

    @property
    def used_ranks(self) -> tuple[str, ...]:
        """Ranks that the labels have, coarse to fine."""
        return self.ranks if self.task == "nested" else self.ranks[1:]


@dataclass(slots=True)
class MergeOptions:
    """`seqmask merge`."""

    shards: list[str] = field(default_factory=list)  # outputs of one kind of `mask --shard`, in any order
    output: str = ""  # '-' is stdout
    force: bool = False


@dataclass(slots=True)
class ConvertOptions:
    """`seqmask convert`."""

    source: str = ""  # HDF5 file of `mask`
    bedgraph: str | None = None
    bigwig: str | None = None
    tokens: str | None = None  # TSV, a line a token
    logo: str | None = None  # TSV, a line a nucleotide
    modisco: str | None = None  # prefix of two .npz files
    sequences: list[str] = field(default_factory=list)  # the files that were masked; for logo and modisco
    rank: str | None = None  # whose mask, where each rank has one; None = the finest
    records: list[str] = field(default_factory=list)  # only these; none = all
    length: int = 400  # nt of a window for modisco
    force: bool = False

    @property
    def derived(self) -> tuple[str, ...]:
        """The files of modisco."""
        return tuple(f"{self.modisco}.{part}.npz" for part in ("ohe", "attributions")) if self.modisco else ()


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
