"""What one explanation costs, ours and others', on the same classifier and the same sequences."""

from __future__ import annotations

from dataclasses import replace

import torch

from seqmask.evaluation.resampling import Resampling
from seqmask.evaluation.rivals.compare import OWN, Comparison
from seqmask.evaluation.rivals.names import Rival, parse
from seqmask.evaluation.scoring import Scorer
from seqmask.inference.engine import Engine
from seqmask.sequences.records import Record
from speed.inputs import loaded, sequences
from speed.measure import Figure, Settings, figure, timed

# name, sequences, bar
RIVALS = (("lime-5000", 1, 4000.0), ("lime-1000", 2, 800.0), ("ig-50", 4, 90.0), ("shap-500", 2, 400.0))
QUICK = (("lime-50", 1, 40.0), ("ig-5", 1, 5.0), ("shap-20", 1, 10.0))


def explain(settings: Settings) -> list[Figure]:
    """Seconds a sequence of 512 tokens for one class that is given, each method with the engine's own batches.

    Our masks are timed before and after each rival; the cost of the prediction that is explained is in none of them.
    """
    torch.set_num_threads(settings.threads)
    tokens = settings.of(512, 64)
    model = loaded(settings.folder, "tiny" if settings.quick else "small", tokens, sizes=(1500,))
    texts = sequences([6 * tokens] * settings.of(64, 8))
    given = [Record(f"r{i}", f"r{i}", text) for i, text in enumerate(texts)]
    scorer = Scorer.of(given, model.classifier, Engine())
    comparison = Comparison(scorer, model.explainer, scorer.classes(scorer.logits()), Resampling(1))

    def seconds(rival: Rival, count: int) -> float:
        return timed(lambda: comparison.scores(rival, range(count))).by(settings.clock) / count

    def both() -> float:
        """A mask and the prediction that it explains."""
        return timed(scorer.logits).by(settings.clock) / len(given) + seconds(OWN, len(given))

    seconds(OWN, len(given))
    figures, masks = [], []
    for name, count, bar in QUICK if settings.quick else RIVALS:
        (rival,) = parse(name)
        comparison.scores(replace(rival, count=10) if rival.count > 10 else rival, range(1))  # loads what it needs
        before, cost, after = seconds(OWN, len(given)), seconds(rival, count), seconds(OWN, len(given))
        masks += [before, after]
        figures.append(
            figure(
                f"{name}, {count} of them",
                [cost / ((before + after) / 2), cost / before, cost / after],
                bar,
                seconds=cost,
                mask_seconds=(before + after) / 2,
                with_prediction=cost / both(),
            )
        )
    return [*figures, figure("a mask", [1000 * second for second in masks], unit="ms")]
