"""The networks: how near to the machine's peak, in which batches, in which precision, and what the command adds."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqmask.commands.mask import mask as command
from seqmask.config import Compute, MaskOptions
from seqmask.inference.batches import Batch, Step
from seqmask.inference.device import autocast
from seqmask.inference.engine import Engine, Items
from seqmask.inference.explain import classify_pool, mask_pool, pooled, predictions
from seqmask.inference.steps import Classify, Explain
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import ClassifierModel, Model, load_model
from seqmask.sequences.pool import Pool, make_pool
from seqmask.sequences.records import Record, read
from speed.inputs import loaded, random_model, sequences, write_fasta
from speed.measure import Figure, Settings, figure, ratios, side_by_side

CPU = torch.device("cpu")


def records(lengths: list[int]) -> Iterator[tuple[int, Record]]:
    texts = sequences(lengths)
    return enumerate(Record(f"r{i}", f"r{i}", text) for i, text in enumerate(texts))


def one_pool(numbered: Iterable[tuple[int, Record]], model: ClassifierModel, overlap: int, frames: int = 1) -> Pool:
    """All of the records in one pool, where `pooled` would begin with a small one."""
    index, given = zip(*numbered, strict=True)
    return make_pool(given, index, model.tokenizer, model.network.max_tokens, overlap, frames)


def flops(config: dict[str, Any], tokens: int) -> float:
    """Of one token in a sequence of so many: L (24 d^2 + 4 T d), multiplications and additions."""
    layers, width = config["num_hidden_layers"], config["hidden_size"]
    return float(layers * (24 * width**2 + 4 * tokens * width))


def random_batch(model: Model, rows: int, tokens: int) -> Batch:
    ids = torch.randint(5, model.classifier.tokenizer.vocabulary_size, (rows, tokens))
    return Batch(ids, torch.ones(rows, tokens, dtype=torch.bool))


def forward(step: Step, batch: Batch, precision: str) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode(), autocast(precision, CPU)():
            step(batch)

    return run


def peak(settings: Settings) -> list[Figure]:
    """Of the classifier at 8 x 512 tokens, against the better of the products 4096 x d x 4d and 4096 x 4d x d."""
    torch.set_num_threads(settings.threads)
    model = loaded(settings.folder, "tiny" if settings.quick else "base", 512)
    config = model.classifier.network.config
    batch = random_batch(model, settings.of(8, 2), 512)
    work = flops(config, 512) * batch.ids.numel()
    step = Classify(model.classifier.network, "blend")
    figures = []
    for precision, dtype, bar in (("fp32", torch.float32, 0.75), ("bf16", torch.bfloat16, 0.65)):
        width = config["hidden_size"]
        products = {
            f"{n} x {m}": product(nn.Linear(n, m).to(dtype), torch.randn(4096, n).to(dtype))
            for n, m in ((width, 4 * width), (4 * width, width))
        }
        found = side_by_side({"model": forward(step, batch, precision), **products}, settings.rounds)
        best = min(products, key=lambda name: statistics.median(t.by(settings.clock) for t in found[name]))
        share = [
            (work / a.by(settings.clock)) / (PRODUCTS * 2 * 4096 * 4 * width**2 / b.by(settings.clock))
            for a, b in zip(found["model"], found[best], strict=True)
        ]
        gigaflops = work / statistics.median(t.by(settings.clock) for t in found["model"]) / 1e9
        tokens = batch.ids.numel() * gigaflops * 1e9 / work
        figures.append(
            figure(f"{precision}, {described(config)}", share, bar, unit="of peak", gflops=gigaflops, tokens=tokens)
        )
    return figures


PRODUCTS = 4  # one product is short: a few of them are timed together


def product(layer: nn.Linear, inputs: Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            for _ in range(PRODUCTS):
                layer(inputs)

    return run


def described(config: dict[str, Any]) -> str:
    return f"{config['num_hidden_layers']}x{config['hidden_size']}"


def mix(settings: Settings) -> list[Figure]:
    """Reads of 150 and 250 nt (60 and 40 %), three in ten trimmed, as 3-mers: a pool through the engine, against
    batches of 32 in file order."""
    torch.set_num_threads(settings.threads)
    rng = np.random.default_rng(0)
    lengths = rng.choice([150, 250], settings.of(768, 64), p=[0.6, 0.4])
    trimmed = rng.random(len(lengths)) < 0.3
    lengths[trimmed] = rng.integers(60, lengths[trimmed])
    model = loaded(settings.folder, "tiny" if settings.quick else "base", 512, k=3)
    network = model.classifier.network
    pool = one_pool(records(lengths.tolist()), model.classifier, 0)
    step = Classify(network, "blend")

    def sorted_batches() -> None:
        Engine(CPU).run_all(step, Items(pool.ids, pool.offsets))

    found = side_by_side(
        {
            "sorted": sorted_batches,
            "longest": lambda: in_file_order(step, pool.ids, pool.offsets, 0),
            "512": lambda: in_file_order(step, pool.ids, pool.offsets, 512),
        },
        min(settings.rounds, 3),
    )
    clock, tokens = settings.clock, len(pool.ids)
    rate = [tokens / t.by(clock) for t in found["sorted"]]
    return [
        figure("padded to the longest of 32", ratios(found["longest"], found["sorted"], clock), 1.3),
        figure("padded to 512", ratios(found["512"], found["sorted"], clock), 8.0),
        figure("sorted", rate, unit="tokens/s", mean_tokens=tokens / len(lengths)),
    ]


def in_file_order(step: Step, ids: Any, offsets: Any, width: int) -> None:
    """Batches of 32, each padded to its longest sequence or to `width`."""
    parts = [ids[start:stop] for start, stop in pairwise(offsets.tolist())]
    for begin in range(0, len(parts), 32):
        part = parts[begin : begin + 32]
        shape = (len(part), width or max(map(len, part)))
        padded = torch.zeros(shape, dtype=torch.long)
        attention = torch.zeros(shape, dtype=torch.bool)
        for row, of in enumerate(part):
            padded[row, : len(of)] = torch.from_numpy(of)
            attention[row, : len(of)] = True
        with torch.inference_mode():
            step(Batch(padded, attention))


def bf16(settings: Settings) -> list[Figure]:
    """Speed of the Explainer with random weights; masks of the model that ships, on the reads beside it."""
    torch.set_num_threads(settings.threads)
    model = loaded(settings.folder, "tiny" if settings.quick else "base", 512)
    batch = random_batch(model, settings.of(8, 2), 512)
    step = Explain(model.explainer)
    width = model.explainer.config["hidden_size"]
    layer, rows = nn.Linear(width, 4 * width), torch.randn(4096, width)
    times = side_by_side(
        {
            "fp32": forward(step, batch, "fp32"),
            "bf16": forward(step, batch, "bf16"),
            "fp32 product": product(layer, rows),
            "bf16 product": product(copy.deepcopy(layer).bfloat16(), rows.bfloat16()),
        },
        settings.rounds,
    )
    shipped = load_model(resolve("genomes"))
    given = list(read(["examples/reads.fasta.gz"]))[: settings.of(500, 20)]
    pool = one_pool(enumerate(given), shipped.classifier, 192, shipped.frames)
    logits = classify_pool(pool, shipped.classifier.network, Engine(CPU))
    targets = predictions(logits, shipped.classifier.ranks.slices)
    masks = {
        precision: mask_pool(pool, shipped.explainer, Engine(CPU, precision), targets)[:, 0]
        for precision in ("fp32", "bf16")
    }
    off = np.abs(masks["fp32"] - masks["bf16"])
    crossed = (masks["fp32"] >= shipped.threshold) != (masks["bf16"] >= shipped.threshold)
    return [
        figure("speed", ratios(times["fp32"], times["bf16"], settings.clock), 1.6),
        figure("matrix products alone", ratios(times["fp32 product"], times["bf16 product"], settings.clock)),
        figure("mean difference of a mask", [float(off.mean())], 0.005, least=False, unit="", largest=float(off.max())),
        figure("tokens across the threshold", [100 * float(crossed.mean())], 1.0, least=False, unit="%"),
    ]


@dataclass
class Recorder:
    """Keeps the batches that went through its steps."""

    batches: list[tuple[Step, Batch]] = field(default_factory=list)

    def of(self, step: Step) -> Step:
        def recorded(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
            self.batches.append((step, batch))
            return step(batch)

        return recorded

    def replay(self) -> None:
        with torch.inference_mode():
            for step, batch in self.batches:
                step(batch)


def mask(settings: Settings) -> list[Figure]:
    """FASTA to all four files by the command's own function, model loading included, imports not."""
    torch.set_num_threads(settings.threads)
    directory = random_model(settings.folder, "tiny" if settings.quick else "base", 512)
    model = load_model(directory)
    lengths = np.random.default_rng(1).choice(
        [150, 450, 1500, 3000, 9000], settings.of(140, 12), p=[0.2, 0.3, 0.3, 0.15, 0.05]
    )
    reads = write_fasta(settings.folder / "mask-reads.fasta", sequences(lengths.tolist()))
    options = MaskOptions(
        reads=[str(reads)],
        model=str(directory),
        fasta=str(settings.folder / "mask.fasta"),
        bed=str(settings.folder / "mask.bed"),
        tsv=str(settings.folder / "mask.tsv"),
        hdf5=str(settings.folder / "mask.hdf5"),
        force=True,
        compute=Compute("cpu", threads=settings.threads),
    )
    recorder, engine = Recorder(), Engine(CPU)
    classify, explain = (
        recorder.of(Classify(model.classifier.network, "blend")),
        recorder.of(Explain(model.explainer)),
    )
    for pool in pooled(enumerate(read([reads])), model.classifier, options.overlap, model.frames):
        logits = classify_pool(pool, model.classifier.network, engine)
        targets = predictions(logits, model.classifier.ranks.slices)
        engine.run_all(classify, Items(pool.ids, pool.offsets))
        engine.run_all(explain, Items(pool.ids, pool.offsets, fixed=np.repeat(targets, pool.windows, axis=0)))
    found = side_by_side(
        {"command": lambda: command(options, lambda text: None, lambda tally: None), "forwards": recorder.replay},
        min(settings.rounds, 3),
    )
    clock = settings.clock
    seconds = [t.by(clock) for t in found["forwards"]]
    return [
        figure("command / forwards", ratios(found["command"], found["forwards"], clock), 1.15, least=False),
        figure("forwards alone", seconds, unit="s", batches=len(recorder.batches)),
    ]
