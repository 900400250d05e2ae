"""What does reading a sequence in several k-mer frames give, and what does it cost?

    python benchmarks/frames.py MODEL SEQS... --labels TSV [--split NAME] [--limit 0] [--frames 1,2,3] [--seed 1]

Prints the classifier's accuracy at each rank, over the sequences whose class it knows, for every number of frames: on
the sequences as they are, and on the same ones without their first 1 to 5 nucleotides (a number drawn for each). Where
the sequences are whole genes the first ones are all read in the codon's frame, as reads of a sequencer are not: what
one frame gains there it loses on the second. The last column is the time beside that of the first row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from seqmask.commands.inputs import of_split, read_labelled, sampled
from seqmask.config import MaskOptions
from seqmask.evaluation.metrics import accuracy
from seqmask.evaluation.scoring import Scorer
from seqmask.inference.engine import Engine
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import ClassifierModel, load_model
from seqmask.sequences.records import Record

MOST_CUT = 5  # nucleotides


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    args = options(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    model = load_model(resolve(args.model)).classifier
    labelled = read_labelled(args.sequences, args.labels, model.ranks.names)
    records = sampled(of_split(labelled, args.split, args.sequences), args.limit, args.seed)
    truth = labelled.encode(records, model.ranks)
    readings = {"as it is": records, f"less 1 to {MOST_CUT} nt": shortened(records, args.seed)}
    print(f"accuracy of {args.model}, {len(records)} sequences: {' / '.join(model.ranks.names)}")
    print("frames", *(f"{name:>24}" for name in readings), "   time", sep="  ")
    unit = None
    for frames in args.frames:
        began = time.perf_counter()
        found = [" / ".join(f"{share:.3f}" for share in scored(of, model, truth, frames)) for of in readings.values()]
        took = time.perf_counter() - began
        unit = unit or took
        print(f"{frames:>6}", *(f"{text:>24}" for text in found), f"{took / unit:>5.1f} x", sep="  ", flush=True)


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sequences", type=Path, nargs="+", metavar="SEQS")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--split", help="of the label table; all sequences without it")
    parser.add_argument("--limit", type=int, default=0, help="a random sample of so many sequences; 0 = all")
    parser.add_argument("--frames", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def shortened(records: Sequence[Record], seed: int) -> list[Record]:
    """Each record without its first 1 to MOST_CUT nucleotides."""
    cuts = np.random.default_rng(seed).integers(1, MOST_CUT + 1, len(records)).tolist()
    return [
        Record(record.name, record.description, record.sequence[cut:])
        for record, cut in zip(records, cuts, strict=True)
    ]


def scored(records: Sequence[Record], model: ClassifierModel, truth: NDArray[np.int64], frames: int) -> list[float]:
    """Accuracy at each rank (R,); truth (n, R), -1 unknown. A record without a token counts as wrong."""
    scorer = Scorer.of(records, model, Engine(), overlap=MaskOptions().overlap, frames=frames)
    guessed = np.full(truth.shape, -2, dtype=np.int64)
    guessed[scorer.rows] = scorer.classes(scorer.logits())
    return [accuracy(guessed[:, rank], truth[:, rank]) for rank in range(truth.shape[1])]


if __name__ == "__main__":
    main()
