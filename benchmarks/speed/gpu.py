"""The largest test of the paper, on one GPU: 103,638 sequences of 512 tokens."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from seqmask.commands.mask import mask as command
from seqmask.config import Compute, MaskOptions
from speed.inputs import LETTERS, random_model
from speed.measure import Figure, Settings, figure, timed

COUNT, TOKENS, FEW = 103_638, 512, 4200
# size, --check, most seconds
RUNS = (("6x384", False, 10.0), ("6x384", True, 40.0), ("12x768", False, 60.0), ("12x768", True, 240.0))


def gpu(settings: Settings) -> Iterator[Figure] | str:
    """Wall time of the command's function, bf16: FASTA in, HDF5 and TSV out, model loading included, imports not.

    With `--sequences` fewer of them, the bars in proportion.
    """
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        return "no CUDA device here"
    return runs(settings)


def runs(settings: Settings) -> Iterator[Figure]:
    """Each as soon as it is known: the last take minutes."""
    count = settings.of(min(settings.sequences or COUNT, COUNT), 16)
    reads = write_long(settings.folder / "gpu.fasta", count, 6 * settings.of(TOKENS, 32))
    few = write_long(settings.folder / "few.fasta", min(count, FEW), 6 * settings.of(TOKENS, 32))
    for size, check, bar in RUNS[: 2 if settings.quick else None]:
        directory = random_model(settings.folder, "tiny" if settings.quick else size, settings.of(TOKENS, 32))
        options = MaskOptions(
            reads=[str(few)],
            model=str(directory),
            tsv=str(settings.folder / "gpu.tsv"),
            hdf5=str(settings.folder / "gpu.h5"),
            check=check,
            force=True,
            compute=Compute(settings.device, "bf16"),
        )
        run = partial(command, options, lambda text: None, lambda tally: None)
        run()  # kernels are loaded, memory is taken
        options.reads = [str(reads)]
        name = f"{size}, mask{' --check' if check else ''}"
        seconds = [timed(run).wall for _ in range(min(settings.rounds, 3))]
        share = bar * count / COUNT  # what takes as long whatever the number counts against us
        yield figure(name, seconds, share, least=False, unit="s", sequences=count)


def write_long(path: Path, count: int, length: int) -> Path:
    """Random sequences, one line each; drawn once and turned, which the tokenizer can not tell."""
    text = LETTERS[np.random.default_rng(0).integers(0, 4, 2 * length)].tobytes()
    with path.open("wb") as handle:
        for i in range(count):
            begin = i * 7919 % length
            handle.write(b">seq%d\n%s\n" % (i, text[begin : begin + length]))
    return path
