import io
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from Bio import SeqIO
from Bio.Seq import Seq

from seqmask.config import SHARED, TASK_NAMES, SimulateOptions
from seqmask.errors import InputError, UsageError
from seqmask.evaluation import simulate as sim
from seqmask.evaluation import tasks
from seqmask.evaluation.simulate import Interval, simulate
from seqmask.evaluation.tasks import TASKS

SIZE = 400


@pytest.fixture(scope="module", params=TASK_NAMES)
def made(request):
    options = SimulateOptions(task=request.param, sequences=SIZE, seed=5)
    return options, simulate(options)


def found_motifs(sequence, motifs):
    """(start, name, strand) of every motif in a sequence, by an own search with Biopython."""
    found = []
    for name, motif in motifs.items():
        for strand, word in (("+", motif), ("-", str(Seq(motif).reverse_complement()))):
            found += [(i, name, strand) for i in range(len(sequence)) if sequence.startswith(word, i)]
    return sorted(found)


def class_of(task, found, options):
    """The labels that follow from what stands in a sequence; written without a look at the simulator's plans."""
    coarse, fine = options.ranks
    names = {name for _, name, _ in found if not name.startswith("decoy")}
    if not names:
        return ("negative",) * len(options.used_ranks)
    if task in ("one", "decoys"):
        (name,) = names
        return (name.replace(".", "_"),)
    if task == "several":
        assert len(names) == 2
        (owner,) = {name.rsplit(".", 1)[0] for name in names}
        return (owner.replace(".", "_"),)
    if task == "and":
        (pair,) = {name.rsplit(".", 1)[0] for name in names}
        return (pair.replace(".", "_") if len(names) == 2 else "negative",)
    if task == "order":
        (strand,) = {strand for _, name, strand in found if name in names}
        halves = [name[-1] for _, name, _ in found if name in names][:: 1 if strand == "+" else -1]
        text = "".join(halves)
        assert {"ab"} == {"".join(sorted(set(text)))}
        assert text in ("".join(sorted(text)), "".join(sorted(text))[::-1])
        pair = int(next(iter(names)).split(".")[1])
        return (f"{fine}_{2 * pair + (text[0] == 'b')}",)
    (group,) = (int(name.split(".")[1]) for name in names if name.startswith(coarse))
    (child,) = (int(name.split(".")[1]) for name in names if name.startswith(fine))
    return (f"{coarse}_{group}", f"{fine}_{group * (options.classes // options.groups) + child}")


def by_record(truth):
    groups = defaultdict(list)
    for interval in truth:
        groups[interval.record].append(interval)
    return groups


def test_truth_is_exactly_what_stands_in_the_sequences(made):
    _, result = made
    groups = by_record(result.truth)
    for record in result.records:
        intervals = groups[record.name]
        expected = [(i.start, i.motif, i.strand) for i in intervals]
        assert found_motifs(record.sequence, result.motifs) == sorted(expected)
        for i in intervals:
            planted = Seq(record.sequence[i.start : i.end])
            assert str(planted if i.strand == "+" else planted.reverse_complement()) == result.motifs[i.motif]


def test_intervals_are_sorted_and_do_not_touch(made):
    _, result = made
    for intervals in by_record(result.truth).values():
        assert all(a.end < b.start for a, b in pairwise(intervals))


def test_labels_follow_from_the_content(made):
    options, result = made
    for record, row in zip(result.records, result.labels, strict=True):
        assert row["id"] == record.name
        found = found_motifs(record.sequence, result.motifs)
        assert tuple(row[rank] for rank in options.used_ranks) == class_of(options.task, found, options)


def test_reverse_complements_have_the_same_class(made):
    options, result = made
    for record, row in list(zip(result.records, result.labels, strict=True))[:60]:
        other = str(Seq(record.sequence).reverse_complement())
        assert tuple(row[r] for r in options.used_ranks) == class_of(
            options.task, found_motifs(other, result.motifs), options
        )


def test_every_sequence_has_the_same_number_of_decoys(made):
    options, result = made
    counts = Counter(i.record for i in result.truth if i.kind == "decoy")
    assert {counts[record.name] for record in result.records} == {4 if options.task == "decoys" else 1}
    assert all(i.motif.startswith("decoy") == (i.kind == "decoy") for i in result.truth)
    # Which decoy it is says nothing either: each about as often in every class.
    classes = {row["id"]: row[options.ranks[1]] for row in result.labels}
    table = Counter((classes[i.record] == "negative", i.motif) for i in result.truth if i.kind == "decoy")
    for none in (True, False):
        total = sum(count for (where, _), count in table.items() if where == none)
        assert all(abs(table[none, f"decoy.{j}"] / total - 0.25) < 0.2 for j in range(4))


def test_instances_strands_and_lengths(made):
    _, result = made
    counts = Counter((i.record, i.motif) for i in result.truth if i.kind != "decoy")
    assert set(counts.values()) == {1, 2, 3}
    strands = Counter(i.strand for i in result.truth)
    assert abs(strands["+"] / strands.total() - 0.5) < 0.08
    lengths = [len(record.sequence) for record in result.records]
    assert min(lengths) >= 240
    assert max(lengths) <= 360
    assert np.std(lengths) > 25
    assert all(set(record.sequence) <= set("ACGT") for record in result.records)


def test_classes_are_all_there_and_splits_have_their_shares(made):
    options, result = made
    fine = Counter(row[options.ranks[1]] for row in result.labels)
    assert set(fine) == {f"phylum_{c}" for c in range(8)} | {"negative"}
    splits = Counter(row["split"] for row in result.labels)
    for split, share in (("train", 0.7), ("val", 0.1), ("test_species", 0.2)):
        assert abs(splits[split] / SIZE - share) < 0.07


def test_motifs_are_fit_and_different(made):
    options, result = made
    assert len(result.motifs) == len(TASKS[options.task].names(options)) + 4
    words = []
    for motif in result.motifs.values():
        assert 12 <= len(motif) <= 18
        both = motif, str(Seq(motif).reverse_complement())
        words += [{m[i : i + SHARED] for i in range(len(m) - SHARED + 1)} for m in both]
    assert sum(len(w) for w in words) == len(set().union(*words))


@pytest.mark.parametrize("seed", range(5))
def test_motifs_do_not_resemble_their_own_reverse_complement(seed, monkeypatch):
    monkeypatch.setattr(tasks, "SHARED", 5)  # short words, so that chance alone would make some that do
    for motif in tasks.draw_motifs(np.random.default_rng(seed), SimulateOptions()).values():
        other = str(Seq(motif).reverse_complement())
        assert not any(motif[i : i + 5] in other for i in range(len(motif) - 4))


def test_decoys_are_shuffled_class_motifs(made):
    options, result = made
    names = TASKS[options.task].names(options)
    for i in range(4):
        assert sorted(result.motifs[f"decoy.{i}"]) == sorted(result.motifs[names[i % len(names)]])


@pytest.mark.parametrize("task", ["and", "order"])
def test_no_single_motif_tells_the_class(task):
    result = simulate(SimulateOptions(task=task, sequences=1500, classes=4, seed=2))
    classes = {row["id"]: row["phylum"] for row in result.labels}
    seen = defaultdict(Counter)
    for record, motif in {(i.record, i.motif) for i in result.truth if i.kind != "decoy"}:
        seen[motif][classes[record]] += 1
    for counts in seen.values():
        assert len(counts) == 2
        assert max(counts.values()) / counts.total() < 0.6


def test_and_halves_are_marked_as_lone():
    result = simulate(SimulateOptions(task="and", sequences=300))
    classes = {row["id"]: row["phylum"] for row in result.labels}
    for i in result.truth:
        assert i.kind == "decoy" or (i.kind == "lone") == (classes[i.record] == "negative")
    assert "lone" in {i.kind for i in result.truth}


def test_seeds():
    options = SimulateOptions(sequences=30)
    assert simulate(options) == simulate(options)
    assert simulate(options).motifs != simulate(SimulateOptions(sequences=30, seed=1)).motifs
    longer = simulate(SimulateOptions(sequences=60, length=500))
    assert longer.motifs == simulate(options).motifs


def test_blocks_do_not_matter_for_the_plan(monkeypatch):
    options = SimulateOptions(sequences=25)
    whole = simulate(options)
    monkeypatch.setattr(sim, "BLOCK", 10)
    parts = simulate(options)
    assert parts.truth == whole.truth
    assert parts.labels == whole.labels
    assert [r.name for r in parts.records] == [r.name for r in whole.records]


def test_accidental_motifs_are_drawn_again():
    # Motifs of 8 nt are found by chance in many a background of 700 nt; none may be left.
    options = SimulateOptions(sequences=60, length=700, motif_min=8, motif_max=8)
    result = simulate(options)
    total = sum(len(found_motifs(record.sequence, result.motifs)) for record in result.records)
    assert total == len(result.truth)


def test_a_background_full_of_motifs_is_refused():
    motif = simulate(SimulateOptions(sequences=1)).motifs["phylum.0"]
    options = SimulateOptions(sequences=2, background="fragments", val=0, test=0)
    with pytest.raises(UsageError, match="full of the motifs"):
        simulate(options, [motif * 60])


@pytest.mark.parametrize("background", ["markov", "fragments"])
def test_real_backgrounds(background):
    rng = np.random.default_rng(0)
    real = ["".join(rng.choice(list("ACGTN"), 3000, p=[0.3, 0.199, 0.2, 0.3, 0.001])) for _ in range(6)]
    options = SimulateOptions(sequences=50, background=background)
    result = simulate(options, real)
    assert len(result.records) == 50
    with pytest.raises(InputError, match="no sequences"):
        simulate(options)


def test_no_decoys_no_negatives_no_splits():
    result = simulate(SimulateOptions(sequences=40, decoys=0, negatives=0.0, val=0.0, test=0.0))
    assert {i.kind for i in result.truth} == {"truth"}
    assert {row["split"] for row in result.labels} == {"train"}
    assert "negative" not in {row["phylum"] for row in result.labels}
    assert not any(name.startswith("decoy") for name in result.motifs)


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"task": "two"}, "--task"),
        ({"background": "real"}, "--background"),
        ({"sequences": 0}, "--sequences"),
        ({"classes": 1}, "--classes"),
        ({"task": "order", "classes": 5}, "--classes"),
        ({"task": "nested", "groups": 3}, "--groups"),
        ({"task": "nested", "groups": 8}, "--groups"),
        ({"motif_min": 4}, "--motif-min"),
        ({"motif_min": 20}, "--motif-max"),
        ({"max_instances": 0}, "--max-instances"),
        ({"motifs_per_class": 1}, "--motifs-per-class"),
        ({"decoys": -1}, "--decoys"),
        ({"decoy_motifs": 0}, "--decoy-motifs"),
        ({"negatives": 1.0}, "--negatives"),
        ({"order": 4}, "--order"),
        ({"gc_bins": 0}, "--gc-bins"),
        ({"val": 0.5, "test": 0.5}, "--val"),
        ({"seed": -1}, "--seed"),
        ({"length_spread": -1}, "--length-spread"),
        ({"length": 100}, "--length"),
        ({"ranks": ("phylum", "phylum")}, "--ranks"),
        ({"ranks": ("phylum", "")}, "--ranks"),
        ({"ranks": ("phylum", "decoy")}, "--ranks"),
    ],
)
def test_impossible_options_name_the_flag(wrong, flag):
    with pytest.raises(UsageError, match=flag):
        SimulateOptions(**wrong)


def test_too_many_motifs_are_refused(monkeypatch):
    monkeypatch.setattr(tasks, "SHARED", 2)  # sixteen words of two letters do not last for twelve motifs
    with pytest.raises(UsageError, match="different motifs"):
        simulate(SimulateOptions(sequences=1))


def test_the_shortest_sequence_that_is_admitted_holds_everything():
    options = SimulateOptions(task="several", length=133, length_spread=0, motif_min=18, motif_max=18, sequences=100)
    assert options.greatest_load == 133
    assert len(simulate(options).records) == 100


def test_files(made):
    options, result = made
    fasta, table, bed = io.StringIO(), io.StringIO(), io.StringIO()
    sim.write_fasta(fasta, result.records)
    sim.write_labels(table, result.labels)
    sim.write_truth(bed, result.truth)
    read = list(SeqIO.parse(io.StringIO(fasta.getvalue()), "fasta"))
    assert [(r.id, str(r.seq)) for r in read] == [(r.name, r.sequence) for r in result.records]
    assert max(len(line) for line in fasta.getvalue().splitlines()) == 60
    header, *rows = [line.split("\t") for line in table.getvalue().splitlines()]
    assert header == ["id", *options.used_ranks, "split"]
    assert [dict(zip(header, row, strict=True)) for row in rows] == result.labels
    names = [line.split("\t")[3].split(":") for line in bed.getvalue().splitlines()]
    assert names == [[i.role, i.motif] for i in result.truth]


def test_roles_name_the_ranks_that_a_motif_decides(made):
    options, result = made
    for i in result.truth:
        expected = {
            "superkingdom": "superkingdom,phylum",
            "phylum": "phylum",
            "decoy": "decoy",
        }[i.motif.split(".")[0]]
        assert i.role == expected or (i.role == "lone" and options.task == "and")


def test_bed_line():
    bed = io.StringIO()
    sim.write_truth(bed, [Interval("s", 3, 15, "phylum", "phylum.0", "-"), Interval("s", 20, 32, "lone", "p.0.a", "+")])
    assert bed.getvalue() == "s\t3\t15\tphylum:phylum.0\t1000\t-\ns\t20\t32\tlone:p.0.a\t0\t+\n"
