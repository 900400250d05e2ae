"""`seqmask mask` among the usual tools, in real shells."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seqmask.results.writer import Outputs

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


@pytest.mark.parametrize("went", [1, 3])
def test_a_reader_that_goes_ends_the_run_amid_a_pool(
    went: int, run: Callable[..., Any], reads: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the batch that is under way: nobody waits for thousands of windows that nobody reads."""
    looked = 0

    def look(outputs: Outputs) -> None:
        nonlocal looked
        looked += 1
        if looked == went:
            raise BrokenPipeError

    monkeypatch.setattr(Outputs, "check_readers", look)
    done = run("mask", "-q", reads, "-m", tiny_model, "-x", "cpu", "-b", 512, "--tsv", "-")
    assert (done.code, done.err, looked) == (1, "", went)


ONE_LINE = """
unset PYTHONUNBUFFERED
ended() {  # the exit code, lines on stderr, and the first of them
    code=0; "$@" > "$STDOUT" 2> stderr || code=$?
    echo "$code $(wc -l < stderr) $(head -1 stderr)"
}
"""


@pytest.fixture(scope="session")
def short(fasta: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So few of the reads that stdout's buffer, of 4 KiB or more, holds what becomes of them until it is flushed."""
    path = tmp_path_factory.mktemp("short") / "short.fasta"
    path.write_bytes(fasta[: fasta.index(b">", 1400)])
    return path


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ('mask -q "$SHORT" -m "$TINY"', "-"),
        ('mask -q "$FEW" -m "$TINY" --tsv x.tsv --json-report -', "-"),
        ('convert -q "$H5" --tokens -', "-"),
        ('info "$H5"', "input or output"),
        ('info "$TINY" --json', "input or output"),
        ("--version", "input or output"),
        ("--help", "standard output"),
        ("mask --help", "standard output"),
    ],
)
def test_a_full_stdout_is_one_line(
    shell: Shell, short: Path, masked: Path, tmp_path: Path, command: str, named: str
) -> None:
    """Not a second one by Python, which flushes stdout at exit and then ends with 120."""
    done = shell(ONE_LINE + f"ended seqmask {command}", SHORT=short, H5=f"{masked}.h5", STDOUT="/dev/full")
    assert done.stdout == f"1 1 seqmask: error: {named}: No space left on device\n"
    assert [path.name for path in tmp_path.iterdir()] == ["stderr"]


def test_what_is_printed_to_nobody_is_no_message(shell: Shell, masked: Path) -> None:
    done = shell(
        """
        unset PYTHONUNBUFFERED; set +o pipefail
        for command in --version "info $H5 --json" models; do
            seqmask $command 2>stderr | true
            echo "${PIPESTATUS[0]} $(wc -l < stderr)"
        done
        seqmask info "$H5" >&-
        """,
        H5=f"{masked}.h5",
    )
    assert done.stdout == 3 * "1 0\n"


@contextlib.contextmanager
def on_a_terminal(
    *arguments: object, stdout: int | None = subprocess.DEVNULL
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`seqmask ARGUMENTS` with stderr on a terminal of its own, whose other end comes with it."""
    here, there = pty.openpty()
    own = {"PYTHONPATH": str(ROOT), "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | own
    command = [sys.executable, "-m", "seqmask", *map(str, arguments)]
    with subprocess.Popen(command, stdout=stdout, stderr=there, env=env) as process:
        os.close(there)
        yield process, here
    os.close(here)


def test_a_training_whose_terminal_is_closed_can_go_on(tmp_path: Path) -> None:
    """SIGHUP, and a stderr that takes nothing any more: a checkpoint all the same."""
    small = ROOT / "examples" / "small"
    arguments = ["train-classifier", small / "small.fasta.gz", "-l", small / "small.tsv", "-o", tmp_path / "out"]
    arguments += ["--size", "tiny", "--bag-epochs", 0, "--steps", 100_000, "--min-per-class", 4, "-t", 1]
    here, there = pty.openpty()
    own = {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"}
    # A session whose terminal this is: closing it is SIGHUP, also where the tests themselves run under nohup
    script = (
        "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "fcntl.ioctl(2, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, sys.executable, "-m", "seqmask", *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=there, stdout=there, stderr=there, env=os.environ | own, start_new_session=True
    ) as process:
        os.close(there)
        shown = b""
        while b"sequences/s" not in shown:
            shown += os.read(here, 1 << 16)
        os.close(here)
        try:
            assert process.wait(timeout=60) == 75, shown[-2000:]
        finally:
            process.kill()  # or the tests would wait for it
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()


def shown_by(terminal: int) -> str:
    """All that is shown until its other end is closed, which Linux tells by an error."""
    shown = b""
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 1 << 16):
            shown += more
    return shown.decode()


def test_a_full_stdout_below_a_progress_bar(short: Path, tiny_model: Path, tmp_path: Path) -> None:
    """It is met before the other outputs get their names, though rich would hide the flush that fails."""
    full = os.open("/dev/full", os.O_WRONLY)
    arguments = ("mask", short, "-m", tiny_model, "--json-report", tmp_path / "report.json")
    with on_a_terminal(*arguments, stdout=full) as (process, terminal):
        shown = shown_by(terminal)
    os.close(full)
    assert (process.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "seqmask: error: -: No space left on device" in shown
    assert "Exception ignored" not in shown


def test_the_bar_is_there_before_a_record_is_written(reads: Path, tiny_model: Path) -> None:
    """All of them are one pool; the windows that are read show that the run goes on."""
    with on_a_terminal("mask", reads, "-m", tiny_model, "-b", 8, "--check") as (_, terminal):
        shown = shown_by(terminal)
    assert re.search(r"[1-9]\d* windows read, no record finished yet", shown), shown


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_run_whose_reader_waits_can_be_stopped(short: Path, tiny_model: Path, stop: signal.Signals) -> None:
    """Tidying up does not try once more what the run was stopped in."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    command = [sys.executable, "-m", "seqmask", "mask", str(short), "-m", str(tiny_model)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, env=env, text=True) as process:
        os.close(write)
        assert process.stderr is not None
        assert "tokens a batch" in process.stderr.readline()
        used = -1
        while used != (used := seconds_used(process.pid)):
            time.sleep(1)
        process.send_signal(stop)
        try:
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    os.close(read)
    ends = {signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted")}
    assert (process.returncode, said) == (ends[stop][0], f"seqmask: error: {ends[stop][1]}\n")


def seconds_used(pid: int) -> int:
    """Of the processor, in hundredths."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


def test_a_stderr_that_takes_nothing_stops_nothing(shell: Shell) -> None:
    done = shell(
        """
        unset PYTHONUNBUFFERED; set +o pipefail
        seqmask mask "$FEW" -m "$TINY" --tsv a.tsv 2>/dev/full
        seqmask mask "$FEW" -m "$TINY" --tsv b.tsv 2> >(true)
        seqmask mask none -m "$TINY" 2>/dev/full || echo "code $?"
        wc -l < a.tsv; wc -l < b.tsv
        """
    )
    assert done.stdout.split() == ["code", "1", "13", "13"]


def test_a_log_on_a_full_disk_is_said_once(shell: Shell) -> None:
    done = shell('seqmask mask "$FEW" -m "$TINY" --tsv a.tsv --log-file /dev/full; wc -l < a.tsv')
    assert done.stderr.count("/dev/full: No space left on device; nothing more is logged\n") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() == "13"


def test_a_closed_stdout_is_no_output(shell: Shell, tmp_path: Path) -> None:
    """Though its number is that of the log file, which is opened later."""
    script = 'ended() { seqmask mask "$FEW" -m "$TINY" --log-file log >&-; }; ended || echo "code $?"'
    done = shell(script)
    assert done.stdout == "code 1\n"
    assert done.stderr.splitlines()[-1] == "seqmask: error: -: no such open file descriptor"


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
