"""Whole processes: start-up and memory."""

from __future__ import annotations

import sys

from speed.inputs import random_model, write_reads
from speed.measure import Figure, Settings, child, figure

SEQMASK = (sys.executable, "-m", "seqmask")


def start(settings: Settings) -> list[Figure]:
    """CPU seconds of a process, byte code present."""
    one = write_reads(settings.folder / "one.fasta", 1)
    commands = {
        "seqmask --help": ((*SEQMASK, "--help"), 0.15),
        "first mask, one read": ((*SEQMASK, "mask", str(one), "-x", "cpu", "-q"), 3.0),
        "import torch": ((sys.executable, "-c", "import torch"), None),
        "python -c pass": ((sys.executable, "-c", "pass"), None),
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for i in range(settings.rounds + 1):
        for name, (command, _) in commands.items():
            used = child(command)
            if i:  # the first one compiles
                found[name].append(used.cpu)
    return [figure(name, found[name], bar, least=False, unit="CPU s") for name, (_, bar) in commands.items()]


def memory(settings: Settings) -> list[Figure]:
    """Most memory of `seqmask mask` with all four outputs on 10 n reads, against n; a model of one layer of 16."""
    directory = random_model(settings.folder, "1x16", 64, (4, 45, 1500), crossing=False)
    used = {}
    for count in (settings.of(100_000, 500), settings.of(1_000_000, 5_000)):
        path = write_reads(settings.folder / f"{count}.fasta", count)
        texts = [part for kind in ("fasta", "bed", "tsv") for part in (f"--{kind}", "/dev/null")]
        outputs = [*texts, "--hdf5", str(settings.folder / "memory.h5"), "-f"]
        command = [*SEQMASK, "mask", str(path), "-m", str(directory), "-x", "cpu", "-q", *outputs]
        used[count] = child(command, settings.threads)
        path.unlink()
    small, large = used.values()
    counts = list(used)
    return [
        figure(f"{counts[1]:,} reads / {counts[0]:,}", [large.memory / small.memory], 1.05, least=False),
        figure("most memory", [large.memory / 2**20], unit="MiB", seconds=large.wall, cpu=large.cpu),
    ]
