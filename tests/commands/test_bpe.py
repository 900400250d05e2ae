"""Every command on a model of BPE tokens, which are of unequal length."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from seqmask.models.checkpoint import load_model
from seqmask.sequences.bpe import BpeTokenizer
from seqmask.sequences.records import read

Run = Callable[..., Any]
SMALL = Path(__file__).resolve().parents[2] / "examples" / "small"
SEQUENCES, LABELS = SMALL / "small.fasta.gz", SMALL / "small.tsv"
QUICK = ("--batch-tokens", 1024, "--min-crop", 60, "-t", 1, "-x", "cpu")


@pytest.fixture(scope="module")
def model(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for seconds on real 16S and 18S pieces; masks for each rank."""
    directory = tmp_path_factory.mktemp("bpe")
    size = ("--tokenizer", "bpe", "--vocabulary", 500, "--max-tokens", 48, "--size", "tiny", "--min-per-class", 2)
    short = ("--bag-epochs", 4, "--steps", 3)
    done = run("train-classifier", SEQUENCES, "-l", LABELS, "-o", directory / "classifier", *size, *short, *QUICK)
    assert done.code == 0, done.err
    told = ("--classifier", directory / "classifier", "-o", directory / "model", "--mask-per-rank")
    done = run("train-explainer", SEQUENCES, "-l", LABELS, *told, "--steps", 4, "--validation-limit", 20, *QUICK)
    assert done.code == 0, done.err
    return directory / "model"


def test_the_tokenizer_is_learned_from_the_training_split(model: Path) -> None:
    loaded = load_model(model).classifier.tokenizer
    rows = [line.split("\t") for line in LABELS.read_text().splitlines()[1:]]
    train = {row[0] for row in rows if row[-1] == "train"}
    texts = [record.sequence for record in read([str(SEQUENCES)]) if record.name in train]
    assert loaded.sha256 == BpeTokenizer.learn(texts, 500).sha256
    assert loaded.vocabulary_size == 500


def test_info_names_the_tokens(run: Run, model: Path) -> None:
    done = run("info", model)
    assert done.code == 0, done.err
    assert "BPE, 500 ids, " in done.text


def test_masks_are_in_nucleotides(run: Run, model: Path, tmp_path: Path) -> None:
    """What stands in the files is about nucleotides, whatever the tokens' lengths; FASTA, BED and TSV say the same."""
    done = run("mask", SEQUENCES, "-m", model, "-o", tmp_path / "m", "--check", "-t", 1, "-x", "cpu")
    assert done.code == 0, done.err
    records = list(read([str(SEQUENCES)]))
    finest = load_model(model).classifier.ranks.names[-1]
    kept = {record.name: np.zeros(len(record.sequence), bool) for record in records}
    for line in (tmp_path / "m.bed").read_text().splitlines():
        name, begin, end, what = line.split("\t")[:4]
        if what.startswith(f"{finest}:"):
            kept[name][int(begin) : int(end)] = True
    texts = {r.name: r.sequence for r in read([str(tmp_path / "m.fasta")])}
    rows = [line.split("\t") for line in (tmp_path / "m.tsv").read_text().splitlines()]
    at = rows[0].index("kept_fraction")
    for record, row in zip(records, rows[1:], strict=True):
        assert [letter.isupper() for letter in texts[record.name]] == kept[record.name].tolist()
        assert float(row[at]) == pytest.approx(kept[record.name].mean(), abs=1e-4)
    assert 0 < np.concatenate(list(kept.values())).mean() < 1

    with h5py.File(tmp_path / "m.h5") as file:
        starts, ends = file["tokens/start"][:], file["tokens/end"][:]
        offsets = file["records/token_offset"][:]
    assert len(set((ends - starts).tolist())) > 3
    for record, begin, end in zip(records, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        assert (starts[begin], ends[begin:end].max()) == (0, len(record.sequence))


def test_evaluate(run: Run, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("lime")
    told = ("--limit", 15, "--sample", 4, "--rivals", "occlusion,lime-50", "--rivals-limit", 3)
    done = run(
        *("evaluate", SEQUENCES, "-m", model, "-l", LABELS, *told, "--json", tmp_path / "r.json", "-t", 1),
        *("-x", "cpu"),
    )
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "r.json").read_text())
    for rank in report["ranks"].values():
        assert 0 < rank["mask"]["area"]["mean"] < 1
        assert rank["mask"]["consistency"]["frame"]["mean"] is None
        assert -1 <= rank["mask"]["consistency"]["reverse_complement"]["mean"] <= 1


def test_refusals(run: Run, tmp_path: Path) -> None:
    common = ("train-classifier", SEQUENCES, "-l", LABELS, "-o", tmp_path / "c", "-x", "cpu")
    done = run(*common, "--tokenizer", "wordpiece")
    assert done.code == 2
    assert "kmer, bpe" in done.err
    done = run(*common, "--tokenizer", "bpe", "--canonical")
    assert done.code == 2
    assert "--canonical" in done.err
