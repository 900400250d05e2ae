"""Classes that are not confident enough, and classes that do not stand under each other."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqmask.errors import InputError
from seqmask.labels.ranks import Rank, Ranks, fit_ranks
from seqmask.results import bed, fasta, table
from seqmask.results.annotated import annotate
from seqmask.results.predictions import inconsistent
from seqmask.results.reader import read
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.explanations import Explanation, Status

Explain = Callable[..., Explanation]
AtRandom = Callable[..., list[Explanation]]
# Vibrio only under Bacteria (0), Pseudo monas only under Viruses (1), nothing is known of the third
PARENTS = ((0,), (1,), ())


@pytest.fixture
def related(ranks: Ranks) -> Ranks:
    return Ranks((ranks.ranks[0], replace(ranks.ranks[1], parents=PARENTS)))


def lines(
    write: Callable[..., None], items: list[Explanation], ranks: Ranks, least: float = 0.0, **options: Any
) -> list[str]:
    sink = io.BytesIO()
    write(sink, annotate(items, ranks, 0.5, min_confidence=least), **options)
    return sink.getvalue().decode().splitlines()


def test_a_class_below_the_least_confidence_is_unclassified(explain: Explain, ranks: Ranks) -> None:
    # Confidences 0.88 and 0.91 by the logits of `explain`
    item = explain("ACGTAC", [(0, 6)], [1], targets=(0, 1))
    assert lines(table.write, [item], ranks, 0.9, check=False)[0].split("\t")[6:] == [
        *("unclassified", "0.8808"),
        *("Pseudo monas", "0.9094"),
    ]
    assert (
        "superkingdom=unclassified(0.88) genus=Pseudo_monas(0.91)"
        in lines(fasta.write, [item], ranks, 0.9, hard_mask=False)[0]
    )
    assert lines(bed.write, [item], ranks, 0.9)[0].split("\t")[3] == "genus:Pseudo_monas"
    assert lines(bed.write, [item], ranks, 0.95)[0].split("\t")[3] == "genus:unclassified"


def test_the_least_confidence_itself_is_enough(explain: Explain) -> None:
    item = explain("ACGTAC", [(0, 6)], [1], logits=(0, 0), targets=(0,))
    half = Ranks((Rank("domain", ("A", "B")),))
    for least, name in ((0.5, "A"), (0.5001, "unclassified")):
        assert lines(table.write, [item], half, least, check=False)[0].split("\t")[6:] == [name, "0.5000"]


def test_a_class_that_was_asked_for_keeps_its_name(explain: Explain, ranks: Ranks) -> None:
    item = explain("ACGTAC", [(0, 6)], [1], targets=(0, 0))
    assert lines(bed.write, [item], ranks, 0.95)[0].split("\t")[3] == "genus:Vibrio"


def test_the_verdict_is_about_the_class_all_the_same(explain: Explain, ranks: Ranks) -> None:
    item = explain("ACGTAC", [(0, 6)], [1], masked=[2, 0, 0, 3, 0], inverse=[0, 2, 3, 0, 0])
    assert lines(table.write, [item], ranks, 0.95, check=True)[0].split("\t")[11:16] == [
        *("unclassified", "0.9094", "Pseudo monas", "Vibrio", "holds")
    ]


def test_records_without_prediction_are_not_unclassified(explain: Explain, ranks: Ranks) -> None:
    item = explain("ACG", status=Status.too_short)
    assert lines(table.write, [item], ranks, 0.9, check=False)[0].split("\t")[6:] == [""] * 4
    assert lines(fasta.write, [item], ranks, 0.9, hard_mask=False)[0].endswith("seqmask=status:too_short")


@pytest.mark.parametrize("related_too", [False, True])
def test_with_nothing_to_say_outputs_are_as_without(
    at_random: AtRandom, ranks: Ranks, related: Ranks, related_too: bool
) -> None:
    """No least confidence, and a model that knows no relation or meets nothing against it."""
    items = at_random(3, 40, check=True)
    anything = replace(related.ranks[1], parents=((0, 1),) * 3)
    model = Ranks((ranks.ranks[0], anything)) if related_too else ranks
    batch, before = annotate(items, model, 0.5), annotate(items, ranks, 0.5)
    assert (batch.named == before.predicted.classes).all()
    assert batch.inconsistent is None or not batch.inconsistent.any()
    for write in (bed.write, lambda sink, batch: fasta.write(sink, batch, hard_mask=False)):
        texts = [io.BytesIO(), io.BytesIO()]
        write(texts[0], batch)
        write(texts[1], before)
        assert texts[0].getvalue() == texts[1].getvalue()
    header = table.header(model, check=True)
    assert header[: len(table.header(ranks, check=True))] == table.header(ranks, check=True)
    assert (header[-1] == "inconsistent") is related_too


def test_inconsistent_by_hand() -> None:
    ranks = Ranks(
        (
            Rank("domain", ("A", "B")),
            Rank("phylum", ("p", "q", "r"), parents=((0,), (0, 1), ())),
            Rank("genus", ("x", "y"), parents=((2,), (0,))),
        )
    )
    classes = np.array(
        [[0, 0, 1], [1, 0, 1], [1, 1, 0], [1, 2, 0], [-1, 0, 0], [1, -2, 0], [-1, -1, -1]], dtype=np.int64
    )
    found = inconsistent(classes, ranks)
    assert not found[:, 0].any()
    assert found[:, 1].tolist() == [False, True, False, False, False, False, False]
    assert found[:, 2].tolist() == [False, False, True, False, True, False, False]


def test_one_class_a_rank() -> None:
    ranks = Ranks((Rank("domain", ("A",)), Rank("genus", ("x",), parents=((0,),))))
    assert not inconsistent(np.array([[0, 0], [0, -2], [-1, -1]]), ranks).any()


def test_inconsistent_classes_are_flagged_and_counted(
    tmp_path: Path, explain: Explain, related: Ranks, metadata: dict[str, Any]
) -> None:
    items = [
        explain("ACGTAC", [(0, 6)], [1], name="wrong"),  # Bacteria, Pseudo monas
        explain("ACGTAC", [(0, 6)], [1], name="right", logits=(0, 2, 0, 3, 0), targets=(1, 1)),
        explain("ACGTAC", [(0, 6)], [1], name="unknown", logits=(2, 0, 0, 0, 3), targets=(0, 2)),
        explain("", name="empty", status=Status.empty),
    ]
    for least, expected in ((0.0, ["genus", "", "", ""]), (0.9, [""] * 4)):  # below .9 the domain says nothing
        paths = Paths.from_prefix(tmp_path / f"x{least}")
        with Outputs(paths, related, Style(tau=0.5, min_confidence=least), metadata=metadata) as outputs:
            for item in items:
                outputs.write(item)
        header, *rows = (tmp_path / f"x{least}.tsv").read_text().splitlines()
        assert header.split("\t")[-1] == "inconsistent"
        assert [row.split("\t")[-1] for row in rows] == expected
        assert outputs.inconsistent == expected.count("genus")
        assert outputs.unclassified.tolist() == ([0, 0] if least == 0 else [3, 0])
        with read(tmp_path / f"x{least}.h5") as file:
            assert file.related
            assert file.column("predictions/genus/inconsistent").tolist() == [name == "genus" for name in expected]
            assert not file.column("predictions/superkingdom/inconsistent").any()
            assert file.classes("genus").tolist() == [1, 1, 2, -1]  # whatever the least confidence


# Where the relation comes from


ROWS = [
    {"domain": "A", "phylum": "p", "genus": "x"},
    {"domain": "A", "phylum": "p", "genus": "y"},
    {"domain": "B", "phylum": "p", "genus": "y"},
    {"domain": "B", "phylum": "", "genus": "z"},
    {"domain": "B", "phylum": "rare", "genus": "z"},
    {"domain": "", "phylum": "q", "genus": ""},
]


def test_parents_are_what_stands_together_in_the_labels() -> None:
    rows = [row for row in ROWS for _ in range(2) if row["phylum"] != "rare"] + ROWS[4:5]
    found = fit_ranks(rows, ["domain", "phylum", "genus"], 2)
    assert [rank.classes for rank in found.ranks] == [("A", "B"), ("p", "q"), ("x", "y", "z")]
    assert [rank.parents for rank in found.ranks] == [(), ((0, 1), ()), ((0,), (0,), ())]
    assert found.related
    again = Ranks.from_json(found.to_json())
    assert again == found


def test_old_label_files_still_load(ranks: Ranks) -> None:
    stored = ranks.to_json()
    assert all("parents" not in rank for rank in stored["ranks"])
    assert not Ranks.from_json(stored).related


@pytest.mark.parametrize("parents", [[[0], [1]], [[0], [1], [2]], [[0], [1], [-1]]])
def test_a_relation_that_cannot_be_is_an_error(related: Ranks, parents: list[list[int]]) -> None:
    stored = related.to_json()
    stored["ranks"][1]["parents"] = parents
    with pytest.raises(InputError, match=r"labels\.json: parents of 'genus'"):
        Ranks.from_json(stored, "labels.json")
