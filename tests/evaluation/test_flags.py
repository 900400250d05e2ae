"""Red flags: silent on masks that can be believed, and each fires on its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from seqmask.evaluation.flags import red_flags


def score(accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy}


def gap(mean: float, half: float = 0.02) -> dict[str, Any]:
    return {"gap": mean, "mean": mean, "interval": [mean - half, mean + half]}


def example() -> dict[str, Any]:
    """A rank whose masks can be believed."""
    return {
        "scored": 100,
        "full": score(0.93),
        "rows": {
            "seqmask": {"masked": score(0.9), "inverse": score(0.3)},
            "seqmask (soft)": {"masked": score(0.92), "inverse": score(0.5)},
            "constant (soft)": {"masked": score(0.7), "inverse": score(0.9)},
            "random": {"masked": score(0.6), "inverse": score(0.8)},
        },
        "best_control": {"name": "gc", "accuracy": 0.65, **gap(0.25)},
        "gaps": {"gc": gap(0.25), "other_sequence": gap(0.3)},
        "above_full": gap(-0.03),
        "smallest": {"seqmask": {"area": {"mean": 0.2}}, "random": {"area": {"mean": 0.9}}},
        "probe": {"accuracy": 0.5, "majority_rate": 0.48, "length_accuracy": 0.49, "excess": gap(0.02)},
        "judge": {"gap": gap(0.03), "excess": gap(0.01)},
    }


def result(rank: dict[str, Any], position: float = 0.1) -> dict[str, Any]:
    return {"ranks": {"domain": example(), "genus": rank}, "mask": {"position": position}}


FLAGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "the control `gc` of the same area keeps as much": lambda rank: rank["best_control"].update(gap=0.0),
    "a constant mask keeps as much as the soft mask": lambda rank: rank["rows"]["constant (soft)"].update(
        masked=score(0.92)
    ),
    "masked accuracy is above full accuracy": lambda rank: rank.update(above_full=gap(0.03)),
    ".* not necessary": lambda rank: rank["rows"]["seqmask"].update(inverse=score(0.8)),
    "in a random order no more of the sequence is needed": lambda rank: rank["smallest"]["seqmask"].update(
        area={"mean": 0.9}
    ),
    r"the class can be told from the mask alone, .*\(probe 0.700, without the mask 0.490\)": lambda rank: rank[
        "probe"
    ].update(accuracy=0.7, excess=gap(0.22)),
    r"an independent judge finds less .*lower by 0.100": lambda rank: rank.update(
        judge={"gap": gap(0.1), "excess": gap(0.06)}
    ),
}
FINE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a gap that may be nothing": lambda rank: rank.update(above_full=gap(0.01)),
    "a probe within five points": lambda rank: rank["probe"].update(accuracy=0.53, excess=gap(0.05)),
    "a probe that knows lengths": lambda rank: rank["probe"].update(
        accuracy=0.7, length_accuracy=0.66, excess=gap(0.2)
    ),
    "a probe on few sequences": lambda rank: rank["probe"].update(accuracy=0.6, excess=gap(0.12, 0.2)),
    "no probe": lambda rank: rank.update(
        probe={
            "accuracy": float("nan"),
            "majority_rate": 1.0,
            "length_accuracy": float("nan"),
            "excess": {"mean": float("nan"), "interval": [float("nan")] * 2},
        }
    ),
    "a judge within five points": lambda rank: rank.update(judge={"gap": gap(0.06), "excess": gap(0.06)}),
    "a weaker judge": lambda rank: rank.update(judge={"gap": gap(0.2), "excess": gap(0.0)}),
    "no judge": lambda rank: rank.update(judge=None),
    "one sequence": lambda rank: rank["gaps"].pop("other_sequence"),
    "nothing scored": lambda rank: (rank.clear(), rank.update(scored=0)),
}


def test_a_good_mask_raises_no_flag() -> None:
    assert red_flags(result(example())) == []


@pytest.mark.parametrize("pattern", FLAGS)
def test_each_flag_fires_on_its_own(pattern: str) -> None:
    rank = example()
    FLAGS[pattern](rank)
    (flag,) = red_flags(result(rank))
    assert re.match(f"genus: {pattern}", flag)


@pytest.mark.parametrize("name", FINE)
def test_what_is_no_flag(name: str) -> None:
    rank = example()
    FINE[name](rank)
    assert red_flags(result(rank)) == []


def test_position_needs_both_signs() -> None:
    rank = example()
    assert red_flags(result(rank, position=0.9)) == [], "positions matter, but another sequence's do not do"
    rank["gaps"]["other_sequence"] = gap(0.01)
    assert red_flags(result(rank)) == []
    (flag,) = red_flags(result(rank, position=0.9))
    assert flag.startswith("genus: relative position alone explains 90% of the mask")


def test_without_an_interval_there_is_no_flag_of_position() -> None:
    rank = example()
    rank["gaps"]["other_sequence"] = {**gap(0.5), "interval": [float("nan")] * 2}
    assert red_flags(result(rank, position=0.9)) == []


def test_a_mask_of_its_own_is_judged_by_its_own_shape() -> None:
    rank = example()
    rank["gaps"]["other_sequence"] = gap(0.0)
    rank["mask"] = {"position": 0.8}
    other = {**example(), "mask": {"position": 0.0}}
    assert len(red_flags({"ranks": {"domain": other, "genus": rank}})) == 1
