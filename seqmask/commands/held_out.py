"""What an Explainer is trained on, and what is held out to choose by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seqmask.commands.inputs import of_no_class, read_labelled, training_records
from seqmask.config import ExplainerOptions
from seqmask.errors import InputError
from seqmask.models.checkpoint import ClassifierModel
from seqmask.sequences.records import Record
from seqmask.training.dataset import Corpus


def corpora(
    options: ExplainerOptions, model: ClassifierModel, say: Callable[[str], None]
) -> tuple[Corpus, list[Record], NDArray[np.int64] | None]:
    """Training corpus, validation records, and their true classes (n, R) or None without labels.

    Without a `val` split the last tenth of each class is held out, without labels every tenth sequence; all are
    validated on where none is trained on. At most the limit.
    """
    shortest = model.tokenizer.shortest
    labelled = read_labelled(
        options.sequences, options.labels, model.ranks.names, shortest, any_rank=True, taxonomy=options.taxonomy
    )
    rng = np.random.default_rng(options.seed)
    val, known = list(labelled.splits.get("val", [])), labelled.table is not None
    source = str(options.labels or options.sequences[0])
    if not options.steps and not val and "train" not in labelled.splits:
        there = ", ".join(sorted(labelled.splits)) or "no record"
        raise InputError(source, f"no sequences to choose by, only of {there}", expected="rows whose `split` is `val`")
    train = [] if val and not options.steps else training_records(labelled, source)
    for remark in labelled.remarks:
        say(remark)
    if not val and not options.steps:
        val = train
        say(f"no sequences of split `val`: the {len(val)} that may be trained on choose")
    elif not val:
        if len(train) < 2:
            raise InputError(options.sequences[0], "one sequence", expected="two or more, to train on and to hold out")
        if known:
            there = ", ".join(sorted(labelled.splits))
            held = last_tenth(labelled.encode(train, model.ranks)[:, -1])
            of = f"no sequences of split `val` (there are {there}): the last of each class of the training sequences"
        else:
            held = every_tenth(len(train))
            of = "no labels, so that sequences of any split are trained on: every tenth of them"
        val = [record for record, chosen in zip(train, held, strict=True) if chosen]
        train = [record for record, chosen in zip(train, held, strict=True) if not chosen]
        say(f"{of}, {len(val)} in all, are held out to choose by")
    if len(val) > options.validation_limit:
        val = [val[i] for i in sorted(rng.choice(len(val), options.validation_limit, replace=False))]
    targets = labelled.encode(train, model.ranks)
    truth = labelled.encode(val, model.ranks) if known else None
    for why in of_no_class(labelled, model.ranks, truth) if truth is not None else ():
        say(why)
    return Corpus.of([record.sequence for record in train], targets), val, truth


def every_tenth(count: int) -> NDArray[np.bool_]:
    """Every tenth of so many, (count,) bool, the last one where there are fewer than ten: files are often sorted."""
    held: NDArray[np.bool_] = np.arange(1, count + 1) % min(10, count) == 0
    return held


def last_tenth(classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The last tenth of each class, -1 being one, (n,) bool of classes (n,); of all where no class has ten.

    Of each class, for files are often sorted by taxon; the last ones, for neighbours in a file are often alike.
    """
    held = np.zeros(len(classes), dtype=np.bool_)
    for value in np.unique(classes):
        members = np.flatnonzero(classes == value)
        held[members[len(members) - len(members) // 10 :]] = True
    if not held.any():
        held[len(held) - max(len(held) // 10, 1) :] = True
    return held
