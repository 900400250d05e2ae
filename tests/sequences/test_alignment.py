"""Sequences onto a reference: made ones whose place is known, real 16S genes against Biopython's whole alignment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from Bio.Align import PairwiseAligner
from Bio.Seq import reverse_complement
from numpy.typing import NDArray

from seqmask.errors import InputError
from seqmask.sequences.alignment import SCORES, WORD, Reference, _rising
from seqmask.sequences.records import Record, read

GENES = Path(__file__).resolve().parents[2] / "examples" / "16s"


def bases(rng: np.random.Generator, n: int) -> str:
    return "".join(rng.choice(list("ACGT"), n))


@pytest.fixture(scope="module")
def made() -> Reference:
    return Reference(Record("ref", "ref", bases(np.random.default_rng(0), 800)))


@pytest.fixture(scope="module")
def ecoli() -> Reference:
    (record,) = read([GENES / "ecoli.fasta"])
    return Reference(record)


def place(reference: Reference, sequence: str) -> NDArray[np.int32]:
    found = reference.place(sequence)
    assert found is not None
    return found.positions


def test_the_reference_stands_on_itself(ecoli: Reference) -> None:
    found = ecoli.place(ecoli.sequence)
    assert found is not None
    assert found.positions.tolist() == list(range(1542))
    assert (found.reverse, found.identity, found.placed) == (False, 1.0, 1.0)


def test_a_piece_a_gap_and_an_insert(made: Reference) -> None:
    text = made.sequence
    assert place(made, text[200:500]).tolist() == list(range(200, 500))
    assert place(made, text[200:300] + text[340:500]).tolist() == [*range(200, 300), *range(340, 500)]
    inserted = place(made, text[200:300] + "ACGT" * 10 + text[300:500])
    assert inserted[:95].tolist() == list(range(200, 295))
    assert inserted[-195:].tolist() == list(range(305, 500))
    assert (inserted[100:140] < 0).sum() >= 35  # a letter or two at the ends may fit by chance


def test_loose_ends_stay_without_a_place(made: Reference) -> None:
    positions = place(made, bases(np.random.default_rng(1), 60) + made.sequence[:200])
    assert positions[60:].tolist() == list(range(200))
    assert (positions[:60] == -1).all()  # there is no reference before its first nucleotide


def test_the_other_strand(made: Reference) -> None:
    piece = made.sequence[100:400]
    found = made.place(reverse_complement(piece))
    assert found is not None
    assert found.reverse
    assert found.positions.tolist() == list(range(399, 99, -1))


def test_letters_that_are_no_matter(made: Reference) -> None:
    piece = made.sequence[100:400]
    assert place(made, piece.lower()).tolist() == place(made, piece.replace("T", "U")).tolist()
    found = made.place(piece[:50] + "NNNNNRYKM-" + piece[60:])
    assert found is not None
    assert found.positions.tolist() == list(range(100, 400))
    assert found.identity == pytest.approx(290 / 300)


def test_changed_sequences_come_near_their_place(made: Reference) -> None:
    """One change in twelve letters, a third of them a gap: nearly all letters stand where they came from."""
    rng = np.random.default_rng(2)
    right = []
    for _ in range(20):
        letters, origin = [], []
        for at in range(100, 600):
            kind = rng.choice(["same", "other", "gap", "more"], p=[11 / 12, 1 / 18, 1 / 72, 1 / 72])
            if kind == "gap":
                continue
            letters.append(made.sequence[at] if kind == "same" else str(rng.choice(list("ACGT"))))
            origin.append(at)
            if kind == "more":
                letters.append(str(rng.choice(list("ACGT"))))
                origin.append(-1)
        right.append(float((place(made, "".join(letters)) == np.array(origin)).mean()))
    assert min(right) > 0.9
    assert np.mean(right) > 0.95


def test_what_has_nothing_to_do_with_it(made: Reference) -> None:
    other = bases(np.random.default_rng(3), 500)
    assert made.place(other) is None
    assert made.place("") is None
    assert made.place(made.sequence[: WORD - 1]) is None
    # One word shared by chance: hardly anything can be placed
    found = made.place(other[:250] + made.sequence[400 : 400 + WORD] + other[250:])
    assert found is not None
    assert found.placed < 0.5


def test_a_repeated_word_is_no_anchor() -> None:
    unit = bases(np.random.default_rng(4), 60)
    rest = bases(np.random.default_rng(5), 100)
    reference = Reference(Record("r", "r", unit + rest + unit))
    assert place(reference, rest + unit).tolist() == list(range(60, 220))
    assert reference.place(unit) is None


def test_a_reference_that_is_too_short() -> None:
    with pytest.raises(InputError, match="a reference of 5 nt; expected 13 nt or more"):
        Reference(Record("r", "r", "ACGTA"))


def test_longest_rising_by_hand() -> None:
    values = [5, 1, 2, 9, 3, 4, 4, 0]
    assert [values[i] for i in _rising(values)] == [1, 2, 3, 4]
    assert _rising([]) == []


def test_real_genes_stand_as_in_a_whole_alignment(ecoli: Reference) -> None:
    """Bacteria and Archaea letter by letter; for 18S genes the whole alignment is no better judge than the anchors."""
    whole = PairwiseAligner(mode="global", **SCORES)
    whole.end_gap_score = 0.0
    records = list(read([GENES / "genes.fasta.gz"]))
    same, identities = [], {}
    for record in records:
        found = ecoli.place(record.sequence)
        assert found is not None, record.name
        identities[record.name] = found.identity
        assert not found.reverse
        assert found.placed > 0.5
        if len(same) < 6 and found.identity > 0.7:
            expected = np.full(len(record.sequence), -1)
            aligned = whole.align(ecoli.sequence, record.sequence.upper().replace("U", "T"))[0].aligned
            for (start, _), (at, end) in zip(*aligned, strict=True):
                expected[at:end] = np.arange(start, start + end - at)
            same.append(float((found.positions == expected).mean()))
    assert len(same) == 6
    assert np.mean(same) > 0.98
    assert min(identities.values()) > 0.6
