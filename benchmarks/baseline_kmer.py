"""What a linear model on k-mer counts reaches: the number that a network has to beat.

    python benchmarks/baseline_kmer.py SEQS --labels TSV --k 5 --ranks superkingdom,phylum,genus --json out.json

One multinomial logistic regression a rank, on standardised square roots of k-mer counts, fitted on split `train` only.
The solver is Adam on minibatches: scikit-learn's `MLPClassifier` without a hidden layer *is* softmax regression, and
takes about 15 s an epoch on one core at 101,217 x 1,024 features x 1,592 classes; every step of a full-batch solver
costs as much as an epoch.
The number of epochs is chosen on split `val`; the test splits are read once, at the end.

Two accuracies are given. `accuracy` is over all sequences with a label at the rank: a taxon that training did not offer
(fewer than --min-per-class sequences) counts as an error. `accuracy_known` leaves such sequences out. `balanced` and
`balanced_known` are the mean recall over the true taxa of the same two sets; `majority` is the share of the split's
most frequent taxon.

With --test FASTA the model is also scored on other sequences of the table's ids, as they are, such as amplicons; they
stand in the column `split` under the name of their file.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier
from xopen import xopen

from seqmask.sequences import records

Floats = NDArray[np.float32]
CHUNK = 1000  # sequences counted at once
PART = 16384  # sequences whose one-hot classes are in memory at once
CODES = np.full(256, 4, dtype=np.int64)
for _i, _pair in enumerate((b"Aa", b"Cc", b"Gg", b"TtUu")):
    CODES[list(_pair)] = _i


@dataclass(frozen=True)
class Score:
    """One row of the table."""

    crop: int | None
    rank: str
    split: str
    labelled: int
    known: int
    classes: int
    accuracy: float
    accuracy_known: float
    balanced: float
    balanced_known: float
    majority: float
    epochs: int


def count_kmers(sequences: list[str], k: int) -> Floats:
    """Counts of all 4^k words of each sequence, read as it stands (N, 4^k); words with another letter are skipped."""
    out = np.zeros((len(sequences), 4**k), dtype=np.float32)
    for start in range(0, len(sequences), CHUNK):
        chunk = sequences[start : start + CHUNK]
        # k non-letters after each sequence keep words from crossing into the next one
        text = np.frombuffer(("-" * k).join([*chunk, ""]).encode(), dtype=np.uint8)
        row = np.repeat(np.arange(len(chunk)), [len(s) + k for s in chunk])
        letters = CODES[text]
        n = len(letters) - k + 1
        word, valid = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        for i in range(k):
            word = word * 4 + letters[i : i + n]
            valid &= letters[i : i + n] < 4
        flat = np.bincount((row[:n] * 4**k + word)[valid], minlength=len(chunk) * 4**k)
        out[start : start + len(chunk)] = flat.reshape(len(chunk), 4**k)
    return out


def collapse_strands(counts: Floats, k: int) -> Floats:
    """Adds to each word the count of its reverse complement; of the two only the smaller word is kept."""
    words = np.arange(4**k)
    reverse, rest = np.zeros_like(words), words.copy()
    for _ in range(k):
        reverse, rest = reverse * 4 + (3 - rest % 4), rest // 4
    both = counts + counts[:, reverse]
    both[:, words == reverse] /= 2
    return both[:, words <= reverse]


def crop(name: str, sequence: str, length: int | None, seed: int) -> str:
    """A stretch of `length` nt at a place set by name, length and seed; a shorter sequence stays whole."""
    if length is None or len(sequence) <= length:
        return sequence
    start = zlib.crc32(f"{name} {length} {seed}".encode()) % (len(sequence) - length + 1)
    return sequence[start : start + length]


def fit(
    x: Floats, y: NDArray[np.int64], x_val: Floats, y_val: NDArray[np.int64], args: argparse.Namespace
) -> tuple[MLPClassifier, int]:
    """Softmax regression of classes y (N,) on x (N, W); the epoch with the best accuracy on `val` is kept."""
    model = MLPClassifier(
        (), alpha=args.l2, batch_size=min(256, len(x)), learning_rate_init=args.rate, random_state=args.seed
    )
    classes = np.unique(y)
    best, chosen = -1.0, 0
    weights: tuple[list[Floats], list[Floats]] = ([], [])
    for epoch in range(1, args.epochs + 1):
        order = np.random.default_rng(args.seed + epoch).permutation(len(x))
        for part in np.array_split(order, -(-len(x) // PART)):
            model.partial_fit(x[part], y[part], classes=classes)
        accuracy = float((model.predict(x_val) == y_val).mean())
        print(f"  epoch {epoch}: loss {model.loss_:.3f}, val {accuracy:.4f}", file=sys.stderr, flush=True)
        if accuracy > best:
            best, chosen = accuracy, epoch
            weights = [w.copy() for w in model.coefs_], [b.copy() for b in model.intercepts_]
        elif epoch - chosen >= args.patience:
            break
    model.coefs_, model.intercepts_ = weights
    return model, chosen


def score(truth: NDArray[np.str_], predicted: NDArray[np.str_], known: NDArray[np.bool_]) -> dict[str, float]:
    """The numbers of one split, from true and predicted taxa (N,) and whether training offered the true one (N,)."""
    right = truth == predicted
    _, row = np.unique(truth, return_inverse=True)
    recall = np.bincount(row, right) / np.bincount(row)
    offered = np.bincount(row, known) > 0
    return {
        "accuracy": float(right.mean()),
        "accuracy_known": float(right[known].mean()) if known.any() else float("nan"),
        "balanced": float(recall.mean()),
        "balanced_known": float(recall[offered].mean()) if known.any() else float("nan"),
        "majority": max(Counter(truth.tolist()).values()) / len(truth),
    }


def evaluate(
    rank: str, x: Floats, rows: list[dict[str, str]], length: int | None, args: argparse.Namespace
) -> Iterator[Score]:
    """Fits one rank on split `train` and scores every other split."""
    taxon, split = np.array([row[rank] for row in rows]), np.array([row["split"] for row in rows])
    names, sizes = np.unique(taxon[(split == "train") & (taxon != "")], return_counts=True)
    classes = names[sizes >= args.min_per_class]
    if len(classes) < 2:
        raise SystemExit(f"{rank}: fewer than two taxa with {args.min_per_class} training sequences")
    known = np.isin(taxon, classes)
    y = np.where(known, np.searchsorted(classes, taxon).clip(max=len(classes) - 1), -1)
    train, val = known & (split == "train"), (taxon != "") & (split == "val")
    if not val.any():
        raise SystemExit(f"{rank}: no sequence of split val has a label")
    print(f"{rank}: {len(classes)} classes, {train.sum()} training sequences", file=sys.stderr)
    model, epoch = fit(x[train], y[train], x[val], y[val], args)
    for name in sorted(set(split[taxon != ""]) - {"train"}, key=lambda s: (s != "val", s)):
        at = (taxon != "") & (split == name)
        numbers = score(taxon[at], classes[model.predict(x[at])], known[at])
        yield Score(length, rank, name, int(at.sum()), int(known[at].sum()), len(classes), **numbers, epochs=epoch)


def read(args: argparse.Namespace) -> tuple[list[str], list[dict[str, str]]]:
    """Sequences that have a row in the label table, and their rows."""
    with xopen(args.labels) as file:
        table = {row["id"]: row for row in csv.DictReader(file, delimiter="\t")}
    columns = set(next(iter(table.values()), ()))
    if missing := {*args.ranks, "split"} - columns:
        raise SystemExit(f"{args.labels}: no column {', '.join(sorted(missing))}; it has {', '.join(sorted(columns))}")
    pairs = [(table[r.name], r.sequence) for r in records.read([args.sequences]) if r.name in table]
    for path in args.test:
        others = [record for record in records.read([path]) if record.name in table]
        pairs += [(table[r.name] | {"split": path.name.partition(".")[0], "whole": "yes"}, r.sequence) for r in others]
    return [sequence for _, sequence in pairs], [row for row, _ in pairs]


def features(sequences: list[str], rows: list[dict[str, str]], length: int | None, args: argparse.Namespace) -> Floats:
    """Standardised square roots of k-mer counts (N, W); mean and deviation come from split `train`."""
    pairs = zip(rows, sequences, strict=True)
    cropped = [seq if "whole" in row else crop(row["id"], seq, length, args.seed) for row, seq in pairs]
    x = count_kmers(cropped, args.k)
    if args.both_strands:
        x = collapse_strands(x, args.k)
    np.sqrt(x, out=x)
    train = np.array([row["split"] == "train" for row in rows])
    deviation = x[train].std(axis=0)
    x -= x[train].mean(axis=0)
    x /= np.where(deviation > 0, deviation, 1)
    return x


def table(scores: list[Score]) -> str:
    """The scores as aligned columns."""
    shown = ["accuracy", "accuracy_known", "balanced", "balanced_known", "majority"]
    lines = [["crop", "rank", "split", "n", "known", "classes", *shown]]
    for s in scores:
        counts = (str(s.labelled), str(s.known), str(s.classes))
        lines.append([str(s.crop or "whole"), s.rank, s.split, *counts, *(f"{getattr(s, v):.3f}" for v in shown)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def options(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("sequences", type=Path, metavar="SEQS", help="FASTA or FASTQ, plain or compressed")
    add("--labels", type=Path, required=True, help="TSV with columns id, split and the ranks")
    add("--k", type=int, default=5, help="word length (default 5)")
    add("--ranks", type=lambda s: s.split(","), default=["superkingdom", "phylum", "genus"], help="comma-separated")
    add("--min-per-class", type=int, default=20, help="training sequences a taxon needs to be a class (default 20)")
    add("--crop", type=int, nargs="+", default=[None], metavar="N", help="fit and test on random crops of N nt instead")
    add("--test", type=Path, nargs="+", default=[], metavar="FASTA", help="score these sequences, too")
    add("--both-strands", action="store_true", help="count a word and its reverse complement as one")
    add("--epochs", type=int, default=20, help="at most so many (default 20)")
    add("--patience", type=int, default=3, help="stop after so many epochs without a better val (default 3)")
    add("--rate", type=float, default=1e-3, help="learning rate of Adam (default 0.001)")
    add("--l2", type=float, default=1e-4, help="L2 penalty (default 0.0001)")
    add("--seed", type=int, default=0)
    add("--json", type=Path, help="write the numbers here too")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Prints the table; progress goes to stderr."""
    args, begin = options(argv), time.perf_counter()
    sequences, rows = read(args)
    scores: list[Score] = []
    for length in args.crop:
        x = features(sequences, rows, length, args)
        print(f"{x.shape[0]} x {x.shape[1]} features after {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        for rank in args.ranks:
            scores += evaluate(rank, x, rows, length, args)
    print(table(scores))
    print(f"{time.perf_counter() - begin:.0f} s", file=sys.stderr)
    if args.json:
        settings = json.loads(json.dumps(vars(args), default=str))
        args.json.write_text(
            json.dumps({"report": "baseline", "settings": settings, "scores": [asdict(s) for s in scores]}, indent=1)
            + "\n"
        )


if __name__ == "__main__":
    main()
