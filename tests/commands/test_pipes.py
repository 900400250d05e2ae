"""`seqmask mask` among the usual tools, in real shells."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Peer = Callable[[str], str]
Shell = Callable[..., subprocess.CompletedProcess[str]]
Sequences = Callable[[bytes], dict[str, str]]

PRELUDE = """
set -euo pipefail
seqmask() { "$PYTHON" -m seqmask "$@"; }
"""


@pytest.fixture
def shell(tiny_model: Path, reads: Path, few: Path, tmp_path: Path) -> Shell:
    """Runs a bash script in an empty directory; it must end well. $READS, $FEW, $TINY; `seqmask` is this one."""

    def run(script: str, **variables: object) -> subprocess.CompletedProcess[str]:
        paths = {"PYTHON": sys.executable, "PYTHONPATH": ROOT, "READS": reads, "FEW": few, "TINY": tiny_model}
        done = subprocess.run(
            ["bash", "-c", PRELUDE + script],
            env=os.environ | {name: str(value) for name, value in (paths | variables).items()},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def plain(fasta: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "plain.fasta"
    path.write_bytes(fasta)
    return path


def test_fasta_from_pipe_to_pipe(shell: Shell, peer: Peer) -> None:
    peer("seqkit")
    done = shell('zcat "$READS" | seqmask mask -q - -m "$TINY" | seqkit stats -T')
    (row,) = csv.DictReader(done.stdout.splitlines(), delimiter="\t")
    assert (row["format"], row["type"], row["num_seqs"]) == ("FASTA", "DNA", "500")
    assert (row["sum_len"], row["min_len"], row["max_len"]) == ("195412", "150", "1492")
    assert done.stderr == ""


def test_bed_to_bedtools(shell: Shell, peer: Peer, masked: Path) -> None:
    """Our runs are maximal, so merging them changes nothing; and they come sorted."""
    peer("bedtools")
    done = shell('seqmask mask "$READS" -q -m "$TINY" --bed - | bedtools merge -i -')
    ours = [line.split("\t")[:3] for line in Path(f"{masked}.bed").read_text().splitlines()]
    assert [line.split("\t") for line in done.stdout.splitlines()] == ours
    assert len(ours) > 2000
    assert done.stderr == ""


def test_a_reader_that_has_gone_is_no_error_message(shell: Shell, masked: Path) -> None:
    """`| head`: no traceback, no message, neither from us nor from Python's own flush at exit."""
    done = shell(
        """
        set +o pipefail
        PYTHONUNBUFFERED=1 seqmask mask -q --check "$READS" -m "$TINY" 2>stderr | head -1
        echo "${PIPESTATUS[*]}" $(wc -c < stderr)
        unset PYTHONUNBUFFERED
        seqmask mask -q "$FEW" -m "$TINY" --tsv - 2>stderr | true
        echo "${PIPESTATUS[*]}" $(wc -c < stderr)
        seqmask evaluate -q "$FEW" -m "$TINY" 2>stderr | true
        wc -c < stderr
        """
    )
    first, *ended, size = done.stdout.splitlines()
    assert first == Path(f"{masked}.fasta").read_text().splitlines()[0]
    assert ended == ["1 0 0", "1 0 0"], "the exit codes of seqmask and of its reader, and nothing on stderr"
    assert size == "0"
    assert done.stderr == ""


def test_maskfasta_with_the_complement_of_our_bed_is_our_fasta(
    shell: Shell, peer: Peer, plain: Path, masked: Path, fasta: bytes, sequences: Sequences
) -> None:
    peer("bedtools")
    given = sequences(fasta)
    lengths = "".join(f"{name}\t{len(text)}\n" for name, text in given.items())
    (plain.parent / "genome").write_text(lengths)
    shell(
        """
        bedtools complement -i "$BED" -g genome > hidden.bed
        bedtools maskfasta -soft -fi plain.fasta -bed hidden.bed -fo soft.fasta
        bedtools maskfasta -fi plain.fasta -bed hidden.bed -fo hard.fasta
        """,
        BED=f"{masked}.bed",
    )
    ours = sequences(Path(f"{masked}.fasta").read_bytes())
    assert sequences((plain.parent / "soft.fasta").read_bytes()) == ours
    assert ours != given
    hard = sequences((plain.parent / "hard.fasta").read_bytes())
    hidden = str.maketrans("acgtn", "NNNNN")
    assert hard == {name: text.translate(hidden) for name, text in ours.items()}


def test_samtools_reads_our_fasta(shell: Shell, peer: Peer, masked: Path, fasta: bytes, sequences: Sequences) -> None:
    peer("samtools")
    ours = sequences(Path(f"{masked}.fasta").read_bytes())
    name = list(ours)[250]
    done = shell(
        """
        cp "$FASTA" ours.fasta
        samtools faidx ours.fasta
        cut -f 1,2 ours.fasta.fai
        samtools faidx ours.fasta "$REGION"
        """,
        FASTA=f"{masked}.fasta",
        REGION=f"{name}:55-130",
    )
    lines = done.stdout.splitlines()
    assert [tuple(line.split("\t")) for line in lines[:500]] == [(n, str(len(t))) for n, t in sequences(fasta).items()]
    assert lines[500] == f">{name}:55-130"
    assert "".join(lines[501:]) == ours[name][54:130]
    assert done.stderr == ""


H5PY_ALONE = """
import json, sys
import h5py
with h5py.File(sys.argv[1]) as file:
    attributes = {key: getattr(value, "item", lambda: value)() for key, value in file.attrs.items()}
    columns = {
        "id": file["records/id"].asstr()[:].tolist(),
        "length": file["records/length"][:].tolist(),
        "n_tokens": (file["records/token_offset"][1:] - file["records/token_offset"][:-1]).tolist(),
        "status": [["ok", "empty", "too_short", "no_bases"][i] for i in file["records/status"][:]],
        "kept_fraction": file["records/kept_fraction"][:].tolist(),
        "mean_importance": file["records/mean_importance"][:].tolist(),
    }
    for rank in json.loads(file.attrs["ranks"]):
        group = file["predictions"][rank]
        classes = group["classes"].asstr()[:]
        columns[rank] = classes[group["class"][:]].tolist()
        columns[rank + "_confidence"] = group["confidence"][:].tolist()
        for which in ("masked", "inverse"):
            columns[rank + "_" + which] = classes[group[which + "_class"][:]].tolist()
assert not [name for name in sys.modules if name.split(".")[0] in ("seqmask", "torch", "hdf5plugin")]
print(json.dumps([attributes, columns]))
"""


def test_hdf5_is_read_by_h5py_alone(masked: Path) -> None:
    """No filter plugin, no code of ours: what it reads is the TSV."""
    command = [sys.executable, "-I", "-c", H5PY_ALONE, f"{masked}.h5"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    attributes, columns = json.loads(done.stdout)
    assert (attributes["format"], attributes["complete"], attributes["n_records"]) == ("seqmask-hdf5", True, 500)
    with open(f"{masked}.tsv", newline="") as handle:
        table = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    for name, values in columns.items():
        ours = [row[name] for row in table]
        if isinstance(values[0], float):
            assert [float(text) for text in ours] == pytest.approx(values, abs=5.1e-5)
        else:
            assert ours == [str(value) for value in values]


def test_the_example_pipeline(shell: Shell, peer: Peer, tiny_model: Path, reads: Path, tmp_path: Path) -> None:
    """examples/pipeline.sh as it stands, with another model."""
    peer("seqkit")
    peer("bedtools")
    script = (ROOT / "examples" / "pipeline.sh").read_text()
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    fake = bin_directory / "seqmask"
    fake.write_text('#!/bin/bash\n[ "$1" = mask ] || exit 9\nshift\nexec "$PYTHON" -m seqmask mask -m "$TINY" "$@"\n')
    fake.chmod(0o755)
    (tmp_path / "pipeline.sh").write_text(script)
    done = shell('bash pipeline.sh "$READS"', PATH=f"{bin_directory}:{os.environ['PATH']}")
    assert "seqmask" not in done.stderr
    assert "Traceback" not in done.stderr
    sections = done.stdout.split("== ")
    assert len(sections) == script.count('echo "== ') + 1
    assert all(section.count("\n") >= 2 for section in sections[2:]), "every step but the first prints something"


def test_named_pipes_are_read_and_not_sharded(shell: Shell) -> None:
    """A pipe can be read once: a shard, which counts its input first, would find nothing behind it."""
    script = """
        seqmask mask -q <(cat "$FEW") -m "$TINY" --tsv - > substituted.tsv
        mkfifo fifo; cat "$FEW" > fifo &
        seqmask mask -q fifo -m "$TINY" --tsv - > fifo.tsv
        seqmask mask -q /dev/stdin -m "$TINY" --tsv - < <(cat "$FEW") > stdin.tsv
        seqmask mask -q "$FEW" -m "$TINY" --tsv - > plain.tsv
        for name in substituted fifo stdin; do cmp plain.tsv "$name.tsv"; done
        if seqmask mask -q <(cat "$FEW") -m "$TINY" --shard 1/2 -o s; then exit 9; else echo "code $?"; fi
    """
    done = shell(script)
    assert done.stdout == "code 2\n"
    assert "--shard reads its input twice" in done.stderr


def test_closed_stderr_stops_nothing(shell: Shell) -> None:
    done = shell('seqmask mask "$FEW" -m "$TINY" --tsv o.tsv 2>&-; wc -l < o.tsv')
    assert done.stdout.strip() == "13"
