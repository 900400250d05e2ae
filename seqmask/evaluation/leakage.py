"""Does another classifier find under the masks what their own one does? A mask may tell a class to its own alone.

An Explainer could write the class into the pattern of its mask, for a classifier that has learned to read it (Jethani
et al. 2021, "Have We Learned to Explain?"). A judge that never saw this Explainer, trained with random masks, can not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.errors import InputError, UsageError
from seqmask.evaluation import metrics
from seqmask.evaluation.resampling import Resampling, estimate
from seqmask.evaluation.scoring import Scorer, on_tokens
from seqmask.labels.ranks import UNKNOWN, Ranks
from seqmask.models.checkpoint import ClassifierModel
from seqmask.sequences.spans import Spans, average, top

VIEWS = ("full", "masked", "inverse")


def check_judge(judge: ClassifierModel, model: ClassifierModel, path: Path) -> None:
    """Raise unless the judge knows the same ranks (any order, aliases count) and is another classifier."""
    theirs, ours = judge.ranks, model.ranks
    try:
        same = sorted(theirs.index(name) for name in ours.names) == list(range(len(theirs.ranks)))
    except UsageError:
        same = False
    if not same:
        raise InputError(
            path,
            f"a judge of the ranks {', '.join(theirs.names)}",
            expected=", ".join(ours.names),
            remedy="train a judge of the same ranks",
        )
    if judge.sha256 == model.sha256:
        raise InputError(
            path,
            "the judge is the classifier itself, which can not judge its own masks",
            remedy="train one with another seed",
        )


@dataclass(slots=True)
class Judge:
    """A judge and the n sequences, which it may cut into other tokens or (too short for it) not read at all.

    scorer: of the judge, made from the records that the classifier's Scorer holds, in its order.
    """

    scorer: Scorer

    def report(
        self,
        ours: dict[str, NDArray[np.float32]],
        hard: Sequence[NDArray[np.bool_]],
        spans: Sequence[Spans],
        ranks: Ranks,
    ) -> Verdicts:
        """Let the judge read whole, hard-masked and inverse hard-masked sequences.

        ours: the classifier's logits (n, C) in each of VIEWS. hard: its hard masks (L,) of nucleotides; spans (N, 2)
        of its tokens.
        """
        rows = self.scorer.rows.tolist()
        pairs = list(zip(rows, self.scorer.spans(), strict=True))
        kept = [hard[row] if np.array_equal(spans[row], of) else carried(hard[row], of) for row, of in pairs]
        shown, left = on_tokens(kept, [of for _, of in pairs])
        masks = {"full": None, "masked": shown, "inverse": left}
        judged = {view: self.scorer.classes(self.scorer.logits(masks[view])) for view in VIEWS}
        own = {view: np.stack([ours[view][rows][:, c].argmax(axis=1) for c in ranks.slices], axis=1) for view in VIEWS}
        return Verdicts(np.array(rows, dtype=np.int64), own, judged, self.scorer.model.ranks, ranks)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Classes (k, R) by view, of the classifier and of the judge, each in its own numbering, for k of the n sequences.

    rows (k,): which of the n sequences.
    """

    rows: NDArray[np.int64]
    own: dict[str, NDArray[np.int64]]
    judged: dict[str, NDArray[np.int64]]
    theirs: Ranks
    ours: Ranks

    def rank(self, r: int, reference: NDArray[np.int64], by: Resampling) -> dict[str, Any]:
        """Accuracies side by side, on sequences whose reference class (n,) of rank r both classifiers know.

        gap: the classifier's masked accuracy less the judge's, paired. excess: that gap less the one on whole
        sequences: what is left of it once a judge that is simply weaker is allowed for.
        """
        column = self.theirs.index(self.ours.ranks[r].name)
        known = common(self.theirs.ranks[column].classes, self.ours.ranks[r].classes)
        wanted = reference[self.rows]
        wanted = np.where(np.isin(wanted, known[known != UNKNOWN]), wanted, UNKNOWN)
        own = {view: metrics.correct(self.own[view][:, r], wanted) for view in VIEWS}
        judged = {view: metrics.correct(known[self.judged[view][:, column]], wanted) for view in VIEWS}
        by = by.of(self.rows[wanted != UNKNOWN])
        gap = own["masked"] - judged["masked"]
        return {
            "scored": int((wanted != UNKNOWN).sum()),
            "shared_classes": int((known != UNKNOWN).sum()),
            "judge": {view: estimate(judged[view], by) for view in VIEWS},
            "classifier": {view: estimate(own[view], by) for view in VIEWS},
            "gap": estimate(gap, by),
            "excess": estimate(gap - (own["full"] - judged["full"]), by),
        }


def common(theirs: tuple[str, ...], ours: tuple[str, ...]) -> NDArray[np.int64]:
    """For each of the judge's classes the classifier's number of the same name, or -1: (their classes,) int64."""
    number = {name: i for i, name in enumerate(ours)}
    return np.array([number.get(name, UNKNOWN) for name in theirs], dtype=np.int64)


def carried(track: NDArray[np.bool_], theirs: Spans) -> NDArray[np.bool_]:
    """A hard mask for other tokens: the nucleotides under those that hold most of what is kept, so many tokens that as
    much of the sequence is kept.

    track (L,), theirs (M, 2). Long tokens may lie in no run of kept nucleotides, and would show nothing. Nucleotides
    that no token covers count as hidden; of tokens that hold as much the first are kept. Returns (K,), K the end of the
    last token.
    """
    length = int(theirs[:, 1].max())
    whole = np.zeros(max(length, track.size), dtype=np.float32)
    whole[: track.size] = track
    return top(np.argsort(-average(whole, theirs), kind="stable"), theirs, int(track.sum()), length)
