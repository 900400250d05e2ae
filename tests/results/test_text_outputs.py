"""FASTA, BED and TSV: cases worked out by hand, a slow oracle on random records, and bedtools."""

from __future__ import annotations

import io
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqmask.labels.ranks import Rank, Ranks
from seqmask.results import bed, fasta, table
from seqmask.results.annotated import Annotated, Track, annotate
from seqmask.results.predictions import confidences, verdicts
from seqmask.results.text import bed_name, decimals
from seqmask.sequences.explanations import Explanation, Status
from seqmask.sequences.spans import lay_out

Explain = Callable[..., Explanation]
AtRandom = Callable[..., list[Explanation]]
# sigmoid(2) and e**3 / (e**3 + 2)
HEADER = "seqmask=kept:{} superkingdom=Bacteria(0.88) genus=Pseudo_monas(0.91)"


def text(write: Callable[..., None], items: list[Explanation], ranks: Ranks, tau: float = 0.5, **options: Any) -> str:
    sink = io.BytesIO()
    rank = options.pop("rank", -1)
    write(sink, annotate(items, ranks, tau, rank), **options)
    return sink.getvalue().decode()


def test_half_kept(explain: Explain, ranks: Ranks) -> None:
    item = explain("ACGTACGTACGU", [(0, 6), (6, 12)], [0.9, 0.1], description="r1 sample=7")
    header = ">r1 sample=7 " + HEADER.format("0.500")
    assert text(fasta.write, [item], ranks, hard_mask=False) == f"{header}\nACGTACgtacgu\n"
    assert text(fasta.write, [item], ranks, hard_mask=True) == f"{header}\nACGTACNNNNNN\n"
    assert text(bed.write, [item], ranks) == "r1\t0\t6\tgenus:Pseudo_monas\t900\t.\t0\t6\t68,1,84\n"
    assert text(bed.write, [item], ranks, rank=0) == "r1\t0\t6\tsuperkingdom:Bacteria\t900\t.\t0\t6\t68,1,84\n"
    row = "r1\t12\t2\tok\t0.5000\t0.5000\tBacteria\t0.8808\tPseudo monas\t0.9094\n"
    assert text(table.write, [item], ranks, check=False) == row


def test_overlapping_tokens_are_averaged(explain: Explain, ranks: Ranks) -> None:
    # importance 1 in 0-3, 0.5 in 3-6, 0 in 6-9, nothing covers 9-11
    item = explain("acgtacgtaNN", [(0, 6), (3, 9)], [1, 0])
    assert text(bed.write, [item], ranks) == "r1\t0\t6\tgenus:Pseudo_monas\t750\t.\t0\t6\t54,92,141\n"
    assert text(fasta.write, [item], ranks, hard_mask=False).splitlines()[1] == "ACGTACgtann"
    assert text(table.write, [item], ranks, check=False).split("\t")[4:6] == ["0.6667", "0.5000"]


def test_the_threshold_is_kept(explain: Explain, ranks: Ranks) -> None:
    item = explain("ACGTACGTACGT", [(0, 6), (6, 12)], [0.25, np.nextafter(np.float32(0.25), 0)])
    assert text(bed.write, [item], ranks, 0.25).split("\t")[1:3] == ["0", "6"]


def test_runs_do_not_cross_records(explain: Explain, ranks: Ranks) -> None:
    items = [explain("ACGTAC", [(0, 6)], [1], name=f"r{i}", index=i) for i in range(3)]
    lines = text(bed.write, items, ranks).splitlines()
    assert [line.split("\t")[:5] for line in lines] == [
        [f"r{i}", "0", "6", "genus:Pseudo_monas", "1000"] for i in range(3)
    ]


def test_a_mask_for_each_rank(explain: Explain, ranks: Ranks) -> None:
    item = explain("ACGTACGTACGTACGTAC", [(0, 6), (6, 12), (12, 18)], [[1, 0], [1, 1], [0.2, 1]])
    found = [line.split("\t")[1:5] for line in text(bed.write, [item], ranks).splitlines()]
    assert found == [["0", "12", "superkingdom:Bacteria", "1000"], ["6", "18", "genus:Pseudo_monas", "1000"]]
    both = explain("ACGTAC", [(0, 6)], [[1, 0.6]])
    found = [line.split("\t")[3:5] for line in text(bed.write, [both], ranks).splitlines()]
    assert found == [["superkingdom:Bacteria", "1000"], ["genus:Pseudo_monas", "600"]]
    # the sequence and the summaries are of the chosen rank, the finest by default
    assert text(fasta.write, [item], ranks, hard_mask=False).endswith("\nacgtacGTACGTACGTAC\n")
    assert text(fasta.write, [item], ranks, rank=0, hard_mask=False).endswith("\nACGTACGTACGTacgtac\n")
    assert text(table.write, [item], ranks, check=False).split("\t")[5] == "0.6667"
    assert text(table.write, [item], ranks, rank=0, check=False).split("\t")[5] == "0.7333"


def test_records_without_mask_have_their_place(explain: Explain, ranks: Ranks) -> None:
    items = [
        explain("", name="none", index=0, status=Status.empty),
        explain("ACG", name="short", index=1, status=Status.too_short),
        explain("ACGTAC", [(0, 6)], [1], name="good", index=2),
        explain("NNNNNNNN", name="enns", index=3, status=Status.no_bases, tracks=2),
    ]
    good = HEADER.format("1.000")
    assert text(fasta.write, items, ranks, hard_mask=False) == (
        f">none seqmask=status:empty\n>short seqmask=status:too_short\nacg\n>good {good}\nACGTAC\n"
        ">enns seqmask=status:no_bases\nnnnnnnnn\n"
    )
    assert ">short seqmask=status:too_short\nNNN\n" in text(fasta.write, items, ranks, hard_mask=True)
    assert [line.split("\t")[0] for line in text(bed.write, items, ranks).splitlines()] == ["good"]
    rows = text(table.write, items, ranks, check=True).splitlines()
    assert rows[0] == "none\t0\t0\tempty" + "\t" * 12
    assert rows[1] == "short\t3\t0\ttoo_short" + "\t" * 12
    assert rows[3] == "enns\t8\t0\tno_bases" + "\t" * 12
    assert len(table.header(ranks, check=True)) == 16
    # all of them without tokens
    assert text(bed.write, items[:2], ranks) == ""


@pytest.mark.parametrize("length", [1, 59, 60, 61, 120, 121])
def test_wrapped_at_60(length: int, explain: Explain, ranks: Ranks) -> None:
    item = explain("A" * length, [(0, length)], [1])
    lines = text(fasta.write, [item, item], ranks, hard_mask=False).splitlines()
    body = lines[1 : len(lines) // 2]
    assert "".join(body) == "A" * length
    assert [len(line) for line in body[:-1]] == [60] * (len(body) - 1)
    assert 0 < len(body[-1]) <= 60


def test_the_table_has_a_verdict(explain: Explain, ranks: Ranks) -> None:
    kept, lost = [2.0, 0, 0, 3, 0], [0.0, 2, 3, 0, 0]
    cases = {"holds": (kept, lost), "not_sufficient": (lost, lost), "not_necessary": (kept, kept)}
    items = [
        explain("ACGTAC", [(0, 6)], [1], name=name, masked=masked, inverse=inverse)
        for name, (masked, inverse) in cases.items()
    ]
    header = list(table.header(ranks, check=True))
    assert header[:6] == ["id", "length", "n_tokens", "status", "kept_fraction", "mean_importance"]
    assert header[6:11] == [f"superkingdom{end}" for end in ("", "_confidence", "_masked", "_inverse", "_verdict")]
    rows = [
        dict(zip(header, line.split("\t"), strict=True))
        for line in text(table.write, items, ranks, check=True).splitlines()
    ]
    assert [row["genus_verdict"] for row in rows] == list(cases)
    assert [row["superkingdom_verdict"] for row in rows] == list(cases)
    assert [row["superkingdom_masked"] for row in rows] == ["Bacteria", "Viruses", "Bacteria"]
    headers = text(fasta.write, items, ranks, hard_mask=False).splitlines()[::2]
    assert headers == [
        f">{name} seqmask=kept:1.000 superkingdom=Bacteria(0.88) superkingdom_verdict={name} "
        f"genus=Pseudo_monas(0.91) genus_verdict={name}"
        for name in cases
    ]
    assert [row["genus_inverse"] for row in rows] == ["Vibrio", "Vibrio", "Pseudo monas"]


def test_a_check_that_was_not_made_leaves_cells_empty(explain: Explain, ranks: Ranks) -> None:
    item = explain("ACGTAC", [(0, 6)], [1])
    assert text(table.write, [item], ranks, check=True).split("\t")[8:11] == ["", "", ""]
    checked = explain("ACGTAC", [(0, 6)], [1], masked=[1, 0, 1, 0, 0], inverse=[0, 1, 1, 0, 0])
    rows = [line.split("\t")[8:11] for line in text(table.write, [item, checked], ranks, check=True).splitlines()]
    assert rows == [["", "", ""], ["Bacteria", "Viruses", "holds"]]


def test_verdicts_by_hand() -> None:
    explained, masked, inverse = np.array([[0, 0, 0, -1, 0], [0, 1, 0, 0, -1], [1, 1, 0, 1, 1]])
    assert verdicts(explained, masked, inverse).tolist() == [0, 1, 2, -1, -1]


def test_the_bed_names_the_class_that_was_explained(explain: Explain, ranks: Ranks) -> None:
    item = explain("ACGTAC", [(0, 6)], [1], targets=(1, 0))
    assert "\tgenus:Vibrio\t" in text(bed.write, [item], ranks)
    assert "genus=Pseudo_monas(0.91)" in text(fasta.write, [item], ranks, hard_mask=False)
    unset = explain("ACGTAC", [(0, 6)], [1], targets=(-1, -1))
    assert "\tgenus:Pseudo_monas\t" in text(bed.write, [unset], ranks)


def test_names_that_do_not_fit(explain: Explain) -> None:
    assert bed_name("genus:Éb\tola x") == "genus:_b_ola_x"
    assert bed_name("g" * 300) == "g" * 255
    odd = Ranks((Rank("my rank", ("a\tb c", "ok")),))
    item = explain("ACGTAC", [(0, 6)], [1], logits=(9, 0), targets=(0,))
    assert text(table.write, [item], odd, check=False).split("\t")[6] == "a b c"
    assert "my_rank=a_b_c(1.00)" in text(fasta.write, [item], odd, hard_mask=False)
    assert "\tmy_rank:a_b_c\t" in text(bed.write, [item], odd)


def test_decimals() -> None:
    values = np.array([0, 0.0049, 0.125, 0.9999, 1, np.nan], dtype=np.float32)
    assert decimals(values, 2) == ["0.00", "0.00", "0.12", "1.00", "1.00", ""]


def test_confidences_by_hand(ranks: Ranks) -> None:
    classes, confidence = confidences(np.array([0, 0, 1000, -1000, 999], dtype=np.float32), ranks)
    assert classes.tolist() == [0, 0]
    assert confidence == pytest.approx([0.5, 1 / (1 + np.exp(-1))])
    many = np.random.default_rng(0).normal(size=(7, 3, 5)).astype(np.float32)
    classes, confidence = confidences(many, ranks)
    for at in np.ndindex(7, 3):
        for rank, columns in enumerate(ranks.slices):
            share = np.exp(many[at][columns].astype(float))
            assert classes[at][rank] == share.argmax()
            assert confidence[at][rank] == pytest.approx(share.max() / share.sum())


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("tracks", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_against_a_slow_oracle(seed: int, tracks: int, overlap: bool, at_random: AtRandom, ranks: Ranks) -> None:
    """Nucleotide by nucleotide, in plain Python; of tokens that overlap, and of those that never do."""
    tau = [0.5, 0.1, 0.0, 0.9, 1.0][seed]
    items = at_random(seed, 60 if overlap else 300, tracks)
    if not overlap:
        items = [item for item in items if (item.spans[1:, 0] >= item.spans[:-1, 1]).all()]
    batch = annotate(items, ranks, tau)
    as_they_are = len(batch.tracks[0].values) == sum(len(item.spans) for item in items)
    assert as_they_are != overlap
    assert sum(len(item.spans) > 1 for item in items) > 5
    sequences, lines = [], []
    for row, item in enumerate(items):
        track = [slow_track(item, column) for column in range(tracks)]
        shown, tokens_kept = track[-1], [slow_kept(item, column, tau) for column in range(tracks)]
        kept = tokens_kept[-1]
        covered = [value for value in shown if value == value]
        if not covered:
            assert np.isnan(batch.kept_fraction[row])
            assert np.isnan(batch.mean_importance[row])
        else:
            assert batch.kept_fraction[row] == pytest.approx(sum(kept) / len(covered))
            assert batch.mean_importance[row] == pytest.approx(np.mean(covered), abs=1e-6)
        letters = [c if value else c.lower() for c, value in zip(item.record.sequence, kept, strict=True)]
        sequences.append("".join(letters))
        for rank in range(tracks):
            lines += slow_runs(item, track[rank], tokens_kept[rank], ranks, rank if tracks == 2 else 1)
    written = text(fasta.write, items, ranks, tau, hard_mask=False).split(">")[1:]
    assert ["".join(entry.splitlines()[1:]) for entry in written] == sequences
    found = [line.split("\t")[:5] for line in text(bed.write, items, ranks, tau).splitlines()]
    assert [line[:4] for line in found] == [line[:4] for line in sorted(lines, key=lambda line: line[-2:])]
    scores = [line[4] for line in sorted(lines, key=lambda line: line[-2:])]
    assert [int(line[4]) for line in found] == pytest.approx(scores, abs=1)


def slow_track(item: Explanation, column: int) -> list[float]:
    """Exact mean over covering tokens, rounded once."""
    tokens = list(zip(item.spans.tolist(), item.mask[:, column].tolist(), strict=True))
    found = []
    for i in range(len(item.record.sequence)):
        covering = [value for (start, end), value in tokens if start <= i < end]
        found.append(float(np.float32(math.fsum(covering) / len(covering))) if covering else math.nan)
    return found


def slow_kept(item: Explanation, column: int, tau: float) -> list[bool]:
    """Whether any covering token reaches the threshold."""
    tokens = list(zip(item.spans.tolist(), item.mask[:, column], strict=True))
    places = range(len(item.record.sequence))
    return [any(start <= i < end and value >= np.float32(tau) for (start, end), value in tokens) for i in places]


def slow_runs(item: Explanation, track: list[float], kept: list[bool], ranks: Ranks, rank: int) -> list[list[Any]]:
    """BED columns of each run, then what they are sorted by."""
    taxon = bed_name(ranks.ranks[rank].classes[item.targets[rank]])
    found, start = [], None
    for i, value in enumerate([*kept, False]):
        if value and start is None:
            start = i
        elif not value and start is not None:
            score = 1000 * np.mean(track[start:i])
            name = f"{ranks.names[rank]}:{taxon}"
            found.append([item.record.name, str(start), str(i), name, score, item.index, (start, rank)])
            start = None
    return found


@pytest.mark.parametrize("tracks", [1, 2])
def test_a_record_does_not_depend_on_its_batch(tracks: int, at_random: AtRandom, ranks: Ranks) -> None:
    items = at_random(7, 80, tracks, check=True, long=20_000)
    whole = annotate(items, ranks, 0.3)
    for row, item in enumerate(items):
        alone = annotate([item], ranks, 0.3)
        at = slice(whole.starts[row], whole.stops[row])
        for mine, theirs in zip(alone.tracks, whole.tracks, strict=True):
            assert along(mine, alone)[:-1].tobytes() == along(theirs, whole)[at].tobytes()
        for name in ("kept_fraction", "mean_importance", "explained"):
            assert getattr(alone, name)[0].tobytes() == getattr(whole, name)[row].tobytes(), name
        for name in ("predicted", "masked", "inverse"):
            one, all_ = getattr(alone, name), getattr(whole, name)
            if one is not None:
                assert one.confidence[0].tobytes() == all_.confidence[row].tobytes()
    for write, options in ((fasta.write, {"hard_mask": False}), (bed.write, {}), (table.write, {"check": True})):
        parts = "".join(text(write, [item], ranks, 0.3, **options) for item in items)
        assert parts == text(write, items, ranks, 0.3, **options)


def test_tracks_are_those_of_the_explanations(at_random: AtRandom, ranks: Ranks) -> None:
    items = at_random(3, 40, 2)
    batch = annotate(items, ranks, 0.5)
    for row, item in enumerate(items):
        for rank in range(2):
            got = along(batch.tracks[rank], batch)[batch.starts[row] : batch.stops[row]]
            assert np.array_equal(got, item.track(rank), equal_nan=True)


def along(track: Track, batch: Annotated) -> NDArray[np.float32]:
    """The importance of every flat position, NaN where no token covers it."""
    return lay_out(track.values, track.spans, int(batch.stops[-1]) + 1)


def test_bedtools_makes_our_fasta_from_our_bed(
    tmp_path: Path, peer: Callable[[str], str], at_random: AtRandom, ranks: Ranks
) -> None:
    bedtools, seqkit = peer("bedtools"), peer("seqkit")
    # bedtools knows no sequence of length 0
    items = [item for item in at_random(11, 200) if item.record.sequence]
    (tmp_path / "in.fa").write_text("".join(f">{i.record.name}\n{i.record.sequence}\n" for i in items))
    (tmp_path / "genome").write_text("".join(f"{i.record.name}\t{len(i.record.sequence)}\n" for i in items))
    (tmp_path / "kept.bed").write_text(text(bed.write, items, ranks))
    (tmp_path / "ours.fa").write_text(text(fasta.write, items, ranks, hard_mask=False))
    (tmp_path / "hard.fa").write_text(text(fasta.write, items, ranks, hard_mask=True))

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    rest = run(bedtools, "complement", "-i", "kept.bed", "-g", "genome")
    (tmp_path / "rest.bed").write_text(rest)
    run(bedtools, "maskfasta", "-soft", "-fi", "in.fa", "-bed", "rest.bed", "-fo", "soft_by_bedtools.fa")
    run(bedtools, "maskfasta", "-fi", "in.fa", "-bed", "rest.bed", "-fo", "hard_by_bedtools.fa")
    for ours, theirs in (("ours.fa", "soft_by_bedtools.fa"), ("hard.fa", "hard_by_bedtools.fa")):
        one_line = [run(seqkit, "seq", "--only-id", "-w", "0", name) for name in (ours, theirs)]
        assert one_line[0] == one_line[1]
    assert run(bedtools, "merge", "-i", "kept.bed") == "".join(
        "\t".join(line.split("\t")[:3]) + "\n" for line in (tmp_path / "kept.bed").read_text().splitlines()
    )


def test_samtools_reads_our_fasta(
    tmp_path: Path, peer: Callable[[str], str], at_random: AtRandom, ranks: Ranks
) -> None:
    items = at_random(12, 50)
    path = tmp_path / "ours.fa"
    path.write_text(text(fasta.write, items, ranks, hard_mask=False))
    subprocess.run([peer("samtools"), "faidx", str(path)], check=True, capture_output=True)
    index = [line.split("\t")[:2] for line in path.with_suffix(".fa.fai").read_text().splitlines()]
    assert index == [[item.record.name, str(len(item.record.sequence))] for item in items]
