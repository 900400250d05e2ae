"""What is not the model: reading, tokenising, writing. One core, seconds of CPU time whatever the clock."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from Bio import SeqIO

from seqmask.inference.explain import grouped
from seqmask.inference.stages import Stages
from seqmask.results.annotated import Annotated, annotate
from seqmask.results.hdf5 import FILTERS, METADATA, TOKEN_CHUNK, Hdf5Writer
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.bpe import BpeTokenizer
from seqmask.sequences.explanations import Explanations
from seqmask.sequences.pool import Pool, make_pool
from seqmask.sequences.records import Record, checked, read
from seqmask.sequences.tokenizer import Tokenizer
from seqmask.sequences.tokens import KmerTokenizer
from speed.inputs import HEADS, ranks_of, sequences, write_reads
from speed.measure import Figure, Settings, figure, one_core, ratios, side_by_side

CPU = "cpu"
MAX_TOKENS = 256


class Network(Protocol):
    """As much of a classifier as pools are cut by."""

    max_tokens: int


class StubModel:
    """In the place of the networks: logits and smooth masks that were drawn before anything is timed.

    About 2.5 kept stretches a read of 150 nt, as trained models have.
    """

    def __init__(self, heads: tuple[int, ...] = HEADS, tokens: int = 1 << 17) -> None:
        rng = np.random.default_rng(0)
        noise = np.convolve(rng.normal(size=tokens + 8), np.ones(9) / 3, "valid")
        self.mask = (1 / (1 + np.exp(-2 * noise))).astype(np.float32)[:, None]
        self.logits = rng.normal(size=(4096, sum(heads))).astype(np.float32)
        self.ranks = ranks_of(heads)
        self.tokenizer = KmerTokenizer()
        self.network = self
        self.max_tokens = MAX_TOKENS

    def explain(self, pool: Pool) -> Explanations:
        n = len(pool.records)
        repeats = -(-len(pool.ids) // len(self.mask))
        mask = np.tile(self.mask, (repeats, 1))[: len(pool.ids)]
        targets = np.zeros((n, len(self.ranks.ranks)), dtype=np.int64)
        return Explanations(
            pool.records, pool.index, pool.status, self.logits[:n], targets, pool.token_counts, pool.spans, mask
        )


def pools(records: Iterable[Record], model: Any) -> Iterable[Pool]:
    """As `inference.explain.pooled`, which wants a classifier."""
    for index, held in grouped(enumerate(records), model, 192, 1):
        yield make_pool(held, index, model.tokenizer, model.max_tokens, 192, 1)


def host(settings: Settings) -> list[Figure]:
    """Reads a second through everything but the model: FASTA in; HDF5, BED and FASTA out."""
    count = settings.of(100_000, 2_000)
    model = StubModel()
    few = StubModel((4, 45, 75))
    path = write_reads(settings.folder / "host-reads.fasta", count)
    out = str(settings.folder / "host")

    def run(model: StubModel, paths: Paths) -> Callable[[], None]:
        def whole() -> None:
            metadata = dict.fromkeys(METADATA, "")
            with Outputs(paths, model.ranks, Style(0.5), metadata=metadata, force=True) as outputs:
                Stages(pools(checked(read([path])), model), model.explain).run(outputs.write_all)

        return whole

    three = Paths(fasta=f"{out}.fasta", bed=f"{out}.bed", hdf5=f"{out}.h5")
    names = {
        "fasta, bed, hdf5": (few, three),
        "all four outputs": (few, Paths(f"{out}.fasta", f"{out}.bed", f"{out}.tsv", f"{out}.h5")),
        f"{sum(HEADS)} classes": (model, three),
        "fasta alone": (few, Paths(fasta=f"{out}.fasta")),
    }
    with one_core():
        found = side_by_side({name: run(*of) for name, of in names.items()}, settings.rounds)
    bars = {"fasta, bed, hdf5": 150_000.0}
    return [
        figure(name, [count / t.cpu for t in times], bars.get(name), unit="reads/s", reads=count)
        for name, times in found.items()
    ]


def kmer(settings: Settings) -> list[Figure]:
    """Nucleotides a second from text to ids and spans, pool by pool."""
    count = settings.of(40_960, 4_096)
    bpe = BpeTokenizer.learn(sequences([1000] * settings.of(5_000, 200)), 4096)
    shapes: dict[str, tuple[int, Tokenizer, float | None]] = {
        "150 nt, 6-mers": (150, KmerTokenizer(6, 6), 120.0),
        "150 nt, 3-mers": (150, KmerTokenizer(3, 3), None),
        "150 nt, 6-mers at every nt": (150, KmerTokenizer(6, 1), None),
        "10 kb, 6-mers": (10_000, KmerTokenizer(6, 6), None),
        "150 nt, BPE of 4,096": (150, bpe, 4.0),
        "10 kb, BPE of 4,096": (10_000, bpe, None),
    }

    def run(length: int, tokenizer: Tokenizer) -> Callable[[], None]:
        texts = sequences([length] * (count * 150 // length))
        records = [Record(f"r{i}", f"r{i}", text) for i, text in enumerate(texts)]
        size = max(4096 * 150 // length, 1)

        def whole() -> None:
            for begin in range(0, len(records), size):
                held = records[begin : begin + size]
                make_pool(held, range(begin, begin + len(held)), tokenizer, 512, 192)

        return whole

    found = side_by_side({name: run(*of[:2]) for name, of in shapes.items()}, settings.rounds)
    return [
        figure(name, [count * 150 / t.cpu / 1e6 for t in times], shapes[name][2], unit="Mnt/s")
        for name, times in found.items()
    ]


def reading(settings: Settings) -> list[Figure]:
    """Records a second from a file, against Bio.SeqIO.parse."""
    count = settings.of(100_000, 2_000)
    plain = write_reads(settings.folder / "reading.fasta", count)
    packed = settings.folder / "reading.fasta.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes(), 6))
    long = settings.folder / "long.fasta"
    lines = [text[i : i + 60] for text in sequences([10_000] * (count // 100)) for i in range(0, 10_000, 60)]
    per = -(-10_000 // 60)
    long.write_text("".join(f">c{i}\n" + "\n".join(lines[per * i : per * i + per]) + "\n" for i in range(count // 100)))

    def ours(path: Path) -> Callable[[], None]:
        def run() -> None:
            sum(len(record.sequence) for record in read([path]))

        return run

    def theirs(path: Path) -> Callable[[], None]:
        def run() -> None:
            with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as handle:
                sum(len(record.seq) for record in SeqIO.parse(handle, "fasta"))

        return run

    bars = {"150 nt": (plain, 2.5), "150 nt, .gz": (packed, 2.0), "10 kb, wrapped": (long, None)}
    variants: dict[str, Callable[[], None]] = {}
    for name, (path, _) in bars.items():
        variants |= {name: ours(path), f"{name}, Bio": theirs(path)}
    found = side_by_side(variants, settings.rounds)
    return [figure(name, ratios(found[f"{name}, Bio"], found[name], CPU), bar) for name, (_, bar) in bars.items()]


def hdf5(settings: Settings) -> list[Figure]:
    """Reads a second into HDF5, against the same columns appended read by read."""
    count, single = settings.of(100_000, 4_096), settings.of(2_000, 200)
    model, path = StubModel((4, 45, 75)), settings.folder / "x.h5"
    records = [Record(f"r{i}", f"r{i}", text) for i, text in enumerate(sequences([150] * count))]
    batches = [annotate(model.explain(pool), model.ranks, 0.5) for pool in pools(records, model)]

    def buffered() -> None:
        writer = Hdf5Writer(path, model.ranks, dict.fromkeys(METADATA, ""))
        for batch in batches:
            writer.append(batch)
        writer.close()

    found = side_by_side(
        {
            "buffered": buffered,
            "flat": lambda: one_row_at_a_time(path, batches[0], single, None),
            "vlen": lambda: one_row_at_a_time(path, batches[0], single, h5py.vlen_dtype(np.float32)),
        },
        settings.rounds,
    )
    rate = {"buffered": count, "flat": single, "vlen": single}
    per_read = {name: [t.cpu / rate[name] for t in times] for name, times in found.items()}
    size = path.stat().st_size
    buffered()
    tokens = sum(len(batch.explanations.spans) for batch in batches)
    figures = [
        figure(
            f"against one row at a time, {name}",
            [slow / fast for slow, fast in zip(per_read[name], per_read["buffered"], strict=True)],
            40.0,
        )
        for name in ("flat", "vlen")
    ]
    rates = [1 / seconds for seconds in per_read["buffered"]]
    stored = path.stat().st_size / tokens
    return [*figures, figure("buffered", rates, unit="reads/s", bytes_a_token=stored, of_one_by_one=size)]


def one_row_at_a_time(path: Path, batch: Annotated, count: int, vlen: Any) -> None:
    """The importance of each read appended when it comes, to a flat dataset or as a row of variable length."""
    of = batch.explanations
    ends = np.cumsum(of.token_counts)
    with h5py.File(path, "w") as file:
        columns = ("length", "kept_fraction", "mean_importance")
        for name in columns:
            file.create_dataset(name, (0,), maxshape=(None,), chunks=(16_384,), dtype="f4", **FILTERS)
        shape = {"chunks": (TOKEN_CHUNK,), "dtype": "f4", **FILTERS}
        if vlen is not None:  # HDF5 has no filters for rows of variable length
            shape = {"chunks": (1024,), "dtype": vlen}
        tokens = file.create_dataset("importance", (0,), maxshape=(None,), **shape)
        for i in range(count):
            for name in columns:
                column = file[name]
                column.resize(i + 1, axis=0)
                column[i] = batch.kept_fraction[i]
            mask = of.mask[int(ends[i] - of.token_counts[i]) : int(ends[i]), 0]
            if vlen is None:
                tokens.resize(len(tokens) + len(mask), axis=0)
                tokens[-len(mask) :] = mask
            else:
                tokens.resize(i + 1, axis=0)
                tokens[i] = mask
