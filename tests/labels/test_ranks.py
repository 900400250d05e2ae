import json

import numpy as np
import pytest

from seqmask.errors import InputError, SeqmaskError, UsageError
from seqmask.labels.ranks import UNKNOWN, Rank, Ranks, fit_ranks, lineages_of, nested_share

RANKS = Ranks((Rank("superkingdom", ("Archaea", "Bacteria"), (2157, 2)), Rank("genus", ("A", "B", "C"))))


def test_ranks_stand_side_by_side():
    assert RANKS.names == ("superkingdom", "genus")
    assert RANKS.sizes == (2, 3)
    assert RANKS.slices == (slice(0, 2), slice(2, 5))
    assert RANKS.encode({"superkingdom": "Bacteria", "genus": "C", "other": "x"}).tolist() == [1, 2]
    assert RANKS.encode({"superkingdom": "", "genus": "Z"}).tolist() == [UNKNOWN, UNKNOWN]
    assert RANKS.encode({}).dtype == np.int64


def test_rank_by_name_or_alias():
    assert [RANKS.index(name) for name in ("superkingdom", "domain", "genus")] == [0, 0, 1]
    assert Ranks((Rank("domain", ("A",)),)).index("superkingdom") == 0
    with pytest.raises(UsageError, match="no rank 'phylum'; there are superkingdom, genus"):
        RANKS.index("phylum")


def test_ranks_through_json():
    assert Ranks.from_json(json.loads(json.dumps(RANKS.to_json()))) == RANKS
    assert RANKS.to_json()["ranks"][0] == {
        "name": "superkingdom",
        "classes": ["Archaea", "Bacteria"],
        "taxids": [2157, 2],
    }


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (None, "cannot be understood"),
        ([], "cannot be understood"),
        ({}, "cannot be understood"),
        ({"ranks": [{"name": "genus"}]}, "cannot be understood"),
        ({"ranks": [{"name": "genus", "classes": ["A"], "taxids": ["x"]}]}, "cannot be understood"),
        ({"ranks": []}, "at least one rank"),
        ({"ranks": [{"name": "genus", "classes": ["A"]}] * 2}, "named once"),
        ({"ranks": [{"name": "genus", "classes": []}]}, "no class"),
        ({"ranks": [{"name": "genus", "classes": ["A", "A"]}]}, "a class twice"),
        ({"ranks": [{"name": "genus", "classes": ["A", "B"], "taxids": [1]}]}, "1 taxids for 2 classes"),
    ],
)
def test_broken_ranks_in_json(data, found):
    with pytest.raises(InputError, match=found) as caught:
        Ranks.from_json(data, "model/ranks.json")
    assert caught.value.path == "model/ranks.json"


def test_fit_ranks():
    rows = [{"domain": "B", "genus": "b"}, {"domain": "B", "genus": "a"}, {"domain": "A", "genus": ""}, {"domain": "B"}]
    ranks = fit_ranks(iter(rows), ["domain", "genus"], 1)
    assert [(rank.name, rank.classes, rank.taxids) for rank in ranks.ranks] == [
        ("domain", ("A", "B"), (-1, -1)),
        ("genus", ("a", "b"), (-1, -1)),
    ]


def test_lineages_among_targets():
    targets = np.array([[1, 3], [0, -1], [1, 3], [-1, -1], [0, 2], [-1, 2]])
    lineages, counts = lineages_of(targets)
    assert lineages.tolist() == [[-1, 2], [0, -1], [0, 2], [1, 3]]
    assert counts.tolist() == [1, 1, 1, 2]


def test_how_nested_labels_are():
    """Nine of ten of class 0 stand under 0; the unknown do not count; of several pairs of ranks the worst."""
    targets = np.array([[0, 0]] * 9 + [[1, 0], [-1, 0], [1, -1]] + [[1, 1]] * 10)
    assert nested_share(targets) == pytest.approx(19 / 20)
    assert nested_share(np.column_stack([targets, targets[:, 1]])) == pytest.approx(19 / 20)
    assert nested_share(targets[:9]) == 1
    assert nested_share(targets[:, :1]) == 1
    rng = np.random.default_rng(0)
    assert nested_share(rng.integers(2, size=(1000, 2))) < 0.6


def test_rare_classes_are_unknown():
    rows = [{"domain": d, "genus": g} for d, g in [("A", "a"), ("A", "a"), ("A", "b"), ("B", "c"), ("B", "c")]]
    ranks = fit_ranks(rows, ["domain", "genus"], 2)
    assert ranks.ranks[1].classes == ("a", "c")
    assert ranks.encode(rows[2]).tolist() == [0, UNKNOWN]
    with pytest.raises(SeqmaskError, match="rank 'genus': no taxon has 3"):
        fit_ranks([*rows, rows[0]][1:], ["genus"], 3)
