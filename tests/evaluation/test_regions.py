"""Regions of a reference: E. coli's, those of a BED file, and carried over to real genes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqmask.errors import InputError
from seqmask.evaluation.intervals import BedInterval, read_bed
from seqmask.evaluation.regions import ECOLI, carried_over, ecoli_shift, regions_of
from seqmask.sequences.alignment import Reference
from seqmask.sequences.records import Record, read

GENES = Path(__file__).resolve().parents[2] / "examples" / "16s"


@pytest.fixture(scope="module")
def ecoli() -> Record:
    (record,) = read([GENES / "ecoli.fasta"])
    return record


def test_variable_regions_of_ecoli(ecoli: Record) -> None:
    found = {item.name: (item.start, item.end) for item in regions_of(ECOLI, ecoli)}
    assert list(found) == [f"V{i}" for i in range(1, 10)]
    assert found["V4"] == (575, 682)  # 576 to 682, 1-based and closed
    assert found["V9"] == (1434, 1465)


def test_a_gene_that_begins_late_or_is_written_as_rna(ecoli: Record) -> None:
    late = Record("late", "late", ecoli.sequence[5:].replace("T", "U").lower())
    assert ecoli_shift(late) == -5
    assert [(i.start, i.end) for i in regions_of(ECOLI, late)][3] == (570, 677)


@pytest.mark.parametrize("change", ["early", "much too late", "ends early", "no primer"])
def test_no_gene_in_that_numbering(ecoli: Record, change: str) -> None:
    text = {
        "early": "A" + ecoli.sequence,
        "much too late": ecoli.sequence[100:],
        "ends early": ecoli.sequence[:1400],
        "no primer": ecoli.sequence[:510] + "A" * 30 + ecoli.sequence[540:],
    }[change]
    with pytest.raises(InputError, match="no whole 16S gene"):
        regions_of(ECOLI, Record("r", "r", text))


def test_regions_of_a_file(tmp_path: Path, ecoli: Record) -> None:
    path = tmp_path / "r.bed"
    path.write_text("AP009048\t10\t20\tloop\nelse\t0\t5\tx\n")
    assert [(i.name, i.start, i.end) for i in regions_of(str(path), ecoli)] == [("loop", 10, 20)]
    with pytest.raises(InputError, match=r"no interval on 'other'; expected the reference's name .*AP009048"):
        regions_of(str(path), Record("other", "other", "ACGT" * 10))


def test_a_region_called_any_would_be_the_total(tmp_path: Path, ecoli: Record) -> None:
    path = tmp_path / "regions.bed"
    path.write_text(f"{ecoli.name}\t10\t20\tany\n")
    with pytest.raises(InputError, match="a region called 'any'"):
        regions_of(str(path), ecoli)


def test_carried_over_by_hand() -> None:
    positions = np.array([-1, 4, 5, -1, 6, 8, 9, -1], dtype=np.int32)
    items = [BedInterval("r", 5, 9, "a", 1), BedInterval("r", 9, 12, "b", 2), BedInterval("r", 12, 20, "gone", 3)]
    found = [(i.name, i.start, i.end) for i in carried_over(items, positions)]
    assert found == [("a", 2, 6), ("b", 6, 7)]
    other_strand = [(i.name, i.start, i.end) for i in carried_over(items[:1], positions[::-1].copy())]
    assert other_strand == [("a", 2, 6)]


def test_carried_over_to_real_genes(ecoli: Record) -> None:
    """Against regions that were made by another alignment: most ends are the same, nearly all within 5 nt."""
    reference, regions = Reference(ecoli), regions_of(ECOLI, ecoli)
    known = read_bed(str(GENES / "variable-regions.bed"))
    away = []
    for record in read([GENES / "genes.fasta.gz"]):
        found = reference.place(record.sequence)
        assert found is not None
        ours = {item.name: item for item in carried_over(regions, found.positions)}
        for item in known.of(record):
            if item.name in ours:
                away += [ours[item.name].start - item.start, ours[item.name].end - item.end]
            else:  # a gene that ends within a region; too little of it is left to be placed
                assert item.name == "V9"
    assert len(away) > 240  # of 262
    assert np.mean(np.abs(away) == 0) > 0.8
    assert np.mean(np.abs(away) <= 5) > 0.95
