"""Predictions of one rank against a reference, with intervals: ready for JSON. Numpy only.

Letters: n sequences, C classes of the rank. reference (n,): the class that counts as right, -1 left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.evaluation import metrics
from seqmask.evaluation.resampling import (
    Resampling,
    balanced_interval,
    bootstrap_interval,
    calibration_interval,
    estimate,
)
from seqmask.labels.ranks import UNKNOWN

CONFIDENCES = (0.3, 0.5, 0.7, 0.9)  # at which `by_confidence` looks

Logits = NDArray[np.float32]
Classes = NDArray[np.int64]


def score(logits: Logits, full: Logits, reference: Classes, by: Resampling) -> dict[str, Any]:
    """Accuracy, balanced accuracy, agreement with the full prediction, KL and entropy, each with its interval.

    logits, full (n, C): of the sequences as they are scored, and whole.
    """
    classes, known = logits.argmax(axis=1), reference != UNKNOWN
    right = metrics.correct(classes, reference)
    same = metrics.correct(classes, full.argmax(axis=1))
    kl, entropy = metrics.kl_divergence(full, logits), metrics.normalised_entropy(logits)
    of_known = by.of(known)
    return {
        "accuracy": metrics.accuracy(classes, reference),
        "interval": list(bootstrap_interval(right, of_known)),
        "balanced_accuracy": metrics.balanced_accuracy(classes, reference),
        "agreement": float(same.mean()),
        "kl": float(kl.mean()),
        "entropy": float(entropy.mean()),
        "intervals": {
            "balanced_accuracy": list(balanced_interval(right, reference[known], of_known)),
            "agreement": list(bootstrap_interval(same, by)),
            "kl": list(bootstrap_interval(kl, by)),
            "entropy": list(bootstrap_interval(entropy, by)),
        },
    }


def gap(logits: Logits, other: Logits, reference: Classes, by: Resampling) -> dict[str, Any]:
    """Accuracy less that of other logits (n, C) on the same sequences: paired, so that the interval is that of the gap.

    `balanced` is the same for the mean recall over classes.
    """
    known = reference != UNKNOWN
    ours, theirs = logits.argmax(axis=1), other.argmax(axis=1)
    difference = metrics.correct(ours, reference) - metrics.correct(theirs, reference)
    by = by.of(known)
    return {
        "gap": float(difference.mean()) if difference.size else np.nan,
        "interval": list(bootstrap_interval(difference, by)),
        "balanced": metrics.balanced_accuracy(ours, reference) - metrics.balanced_accuracy(theirs, reference),
        "balanced_interval": list(balanced_interval(difference, reference[known], by)),
    }


def groups(
    views: Mapping[str, Classes], reference: Classes, group: Classes, names: Sequence[str], by: Resampling
) -> list[dict[str, Any]]:
    """Accuracy among the sequences of each class of a coarser rank: an overall figure hides the group that it fails.

    views: predicted classes (n,) by what was shown of the sequences. group (n,): their classes at the coarser rank, -1
    left out; names: of those classes. One object a class that occurs: `class`, `scored` and each view's accuracy with
    interval.
    """
    found = []
    for number in np.unique(group[(group != UNKNOWN) & (reference != UNKNOWN)]).tolist():
        rows = (group == number) & (reference != UNKNOWN)
        right = {view: metrics.correct(of[rows], reference[rows]) for view, of in views.items()}
        of_views = {view: estimate(values, by.of(rows)) for view, values in right.items()}
        found.append({"class": names[number], "scored": int(rows.sum()), **of_views})
    return found


def confidence(full: Logits, reference: Classes, by: Resampling) -> dict[str, Any]:
    """Mean confidence on whole sequences of known class, and its expected calibration error (Guo et al. 2017),
    beside that of confidences which are exactly right.
    """
    known = reference != UNKNOWN
    sure = metrics.softmax(full[known]).max(axis=1)
    right = full[known].argmax(axis=1) == reference[known]
    return {
        "mean": float(sure.mean()) if sure.size else np.nan,
        "ece": metrics.expected_calibration_error(sure, right),
        "ece_by_chance": metrics.calibration_by_chance(sure),
        "interval": list(calibration_interval(sure, right, by.of(known))),
        "at_least": by_confidence(sure, right, by.of(known)),
    }


def by_confidence(sure: NDArray[np.floating], right: NDArray[np.bool_], by: Resampling) -> list[dict[str, Any]]:
    """What a least confidence would leave, and how much of that is right: risk and coverage (El-Yaniv & Wiener 2010).

    sure (n,) confidences, right (n,) bool; for each of CONFIDENCES `confidence`, `share` of the n that are at least so
    sure, and the accuracy among them, an estimate (NaN where there are none).
    """
    found = []
    for least in CONFIDENCES:
        kept = sure >= least
        share = float(kept.mean()) if kept.size else np.nan
        accuracy = estimate(right[kept].astype(np.float64), by.of(kept))
        found.append({"confidence": least, "share": share, "accuracy": accuracy})
    return found
