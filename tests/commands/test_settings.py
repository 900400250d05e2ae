"""Options from files and the environment, and what a run says of itself beside its outputs."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqmask.cli import settings
from seqmask.cli.app import app

Run = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path, few: Path, tiny_model: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(f"""
[mask]
reads = ["{few}"]
model = "{tiny_model}"
tsv = "-"
threads = 1
quiet = true
seed = 3
min-confidence = 0.4

[simulate]
ranks = ["a", "b"]
""")
    return path


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    run: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("mask", "-c", config)
    assert (done.code, done.err) == (0, "")
    assert done.text.startswith("id\tlength\t")
    monkeypatch.setenv("SEQMASK_SEED", "5")
    monkeypatch.setenv("SEQMASK_CONFIG", str(config))
    monkeypatch.setenv("SEQMASK_LOG_FILE", str(tmp_path / "log"))
    report = tmp_path / "report.json"
    assert run("mask", "--json-report", report).code == 0
    found = json.loads(report.read_text())["parameters"]
    assert (found["seed"], found["min_confidence"], found["compute"]["threads"]) == (5, 0.4, 1)
    assert run("mask", "--json-report", report, "--seed", 7, "--min-confidence", 0, "-f").code == 0
    found = json.loads(report.read_text())["parameters"]
    assert (found["seed"], found["min_confidence"]) == (7, 0.0)
    log = (tmp_path / "log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|DEBUG) ", line) for line in log)
    assert len([line for line in log if "12 records (ok 12)" in line]) == 2, "both runs, though they are quiet"


def test_a_prefix_gets_a_file_that_repeats_the_run(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = run("mask", "-q", few, "-m", tiny_model, "-o", tmp_path / "x", "--check", "--threshold", 0.25, "-t", 1)
    assert done.code == 0
    written = tmp_path / "x.config.toml"
    table = tomllib.loads(written.read_text())["mask"]
    assert table | {"reads": [str(few)], "check": True, "threshold": 0.25, "output": str(tmp_path / "x")} == table
    assert not {"force", "resume", "quiet", "verbose", "config", "log-file"} & table.keys()
    again = run("mask", "-q", "--config", written, "-o", tmp_path / "y")
    assert (again.code, again.err) == (0, "")
    for kind in ("fasta", "bed", "tsv"):
        assert (tmp_path / f"x.{kind}").read_bytes() == (tmp_path / f"y.{kind}").read_bytes()
    refused = run("mask", "-q", "--config", written)
    assert (refused.code, "exists already" in refused.err) == (2, True)
    alone = run("mask", "-q", few, "-m", tiny_model, "--tsv", tmp_path / "z.tsv")
    assert (alone.code, (tmp_path / "z.config.toml").exists()) == (0, False)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (None, 1, r"run\.toml: cannot be read: No such file"),
        ("a = ", 1, r"run\.toml: not TOML: "),
        ("[msk]\n", 2, r"run\.toml: 'msk' is no command; did you mean 'mask'\?"),
        ("[mask]\ntreads = 1\n", 2, r"run\.toml: 'treads' is no option of mask; did you mean 'threads'\?"),
        ("[mask]\nmin_confidence = 1\n", 2, r"'min_confidence' is no option of mask; did you mean 'min-confidence'\?"),
        ("mask = 1\n", 2, r"run\.toml: mask is no table; write \[mask\]"),
        ("[mask]\nseed = { a = 1 }\n", 2, r"run\.toml: seed is a table, expected one value"),
    ],
)
def test_files_that_are_wrong(run: Run, tmp_path: Path, text: str | None, code: int, message: str) -> None:
    if text is not None:
        (tmp_path / "run.toml").write_text(text)
    done = run("mask", "--config", tmp_path / "run.toml")
    assert (done.code, done.out) == (code, b"")
    assert re.fullmatch(f"seqmask: error: [^\n]*{message}[^\n]*\n", done.err), done.err


def test_every_option_has_a_key_of_its_own() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
    from typer.main import get_command

    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        keys = [settings.spelling(param) for param in command.params]
        assert len(set(keys)) == len(keys), name


def test_values_as_toml() -> None:
    values = {"a": True, "b": 1e-05, "c": 3, "d": 'q"\\\té', "e": [Path("x"), 1], "f": float("inf")}
    text = "\n".join(f"{key} = {settings._toml(value)}" for key, value in values.items())
    assert tomllib.loads(text) == values | {"e": ["x", 1]}


def test_a_list_of_files(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    records = few.read_bytes().split(b">")[1:]
    for i in range(3):
        (tmp_path / f"{i}.fasta").write_bytes(b"".join(b">" + record for record in records[i::3]))
    names = f"# in this order\n\n{tmp_path}/1.fasta\n  {tmp_path}/2.fasta\n"
    (tmp_path / "list").write_text(names)
    common = ("mask", "-q", "-m", tiny_model, "--tsv", "-")
    ids = [record.split()[0].decode() for i in (1, 2) for record in records[i::3]]
    done = run(*common, "--infile-list", tmp_path / "list")
    assert [line.split("\t")[0] for line in done.text.splitlines()[1:]] == ids
    done = run(*common, tmp_path / "0.fasta", "--infile-list", "-", stdin=names.encode())
    ids = [record.split()[0].decode() for record in records[::3]] + ids
    assert [line.split("\t")[0] for line in done.text.splitlines()[1:]] == ids
    (tmp_path / "list").write_text("# nothing\n")
    done = run(*common, "--infile-list", tmp_path / "list")
    assert (done.code, done.err) == (
        1,
        f"seqmask: error: {tmp_path}/list: no file name; expected file names, one a line\n",
    )


def test_json_report(run: Run, masked: Path, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Counts are those of the table."""
    path = tmp_path / "sample1.json"
    done = run("mask", "-q", few, "-m", tiny_model, "--tsv", tmp_path / "x.tsv", "--check", "--json-report", path)
    assert done.code == 0, done.err
    text = path.read_text()
    assert text.startswith('{\n "tool": "seqmask",\n')
    report = json.loads(text)
    header, *rows = (line.split("\t") for line in (tmp_path / "x.tsv").read_text().splitlines())
    column = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    assert report["records"] == report["statuses"]["ok"] == len(rows) == 12
    assert report["nucleotides"] == sum(map(int, column["length"]))
    for rank in ("superkingdom", "phylum", "genus"):
        assert report["classes"][rank] == {name: column[rank].count(name) for name in report["classes"][rank]}
        assert sum(report["classes"][rank].values()) == 12
        verdicts = column[f"{rank}_verdict"]
        assert report["verdicts"][rank] == {
            name: verdicts.count(name) for name in sorted(set(verdicts), key=lambda v: (-verdicts.count(v), v))
        }
    kept = sum(
        float(share) * int(length) for share, length in zip(column["kept_fraction"], column["length"], strict=True)
    )
    assert report["kept"] == pytest.approx(kept, rel=0.02)
    rate = report["records_per_second"]
    # seconds are rounded to a thousandth
    assert rate * report["seconds"] == pytest.approx(12, abs=0.001 * rate)
    assert report["versions"].keys() >= {"python", "torch"}
    assert report["model"]["name"] == "tiny"


def test_a_report_for_multiqc(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """One row of one table, named after the file; https://docs.seqera.io/multiqc/custom_content."""
    path = tmp_path / "sample1_mqc.json"
    assert run("mask", "-q", few, "-m", tiny_model, "--tsv", "-", "--check", "--json-report", path).code == 0
    report = json.loads(path.read_text())
    assert next(iter(report.items())) == ("tool", "seqmask")
    assert (report["id"], report["plot_type"]) == ("seqmask", "table")
    row = report["data"]["sample1"]
    assert row.keys() == report["headers"].keys()
    assert (row["records"], row["read"]) == (12, 100.0)
    assert 0 <= row["genus_holds"] <= 100


def test_values_of_a_file(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    """A switch is true or false, and nothing else is; a byte order mark, which editors on Windows write, is nothing."""
    config = tmp_path / "c.toml"
    config.write_bytes(b"\xef\xbb\xbf[mask]\noverlap = 60\ncheck = true\n")
    assert run("mask", "-q", few, "-m", tiny_model, "-c", config, "--tsv", "-").code == 0
    for line, message in (
        ("overlap = true", "overlap is true, expected a value"),
        ("check = 1", "check is 1, expected"),
    ):
        config.write_text(f"[mask]\n{line}\n")
        done = run("mask", "-q", few, "-m", tiny_model, "-c", config, "--tsv", "-")
        assert (done.code, f"c.toml: {message}" in done.err) == (2, True), done.err


def test_outputs_that_would_be_overwritten(run: Run, few: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.config.toml").write_text("precious")
    done = run("mask", "-q", few, "-m", tiny_model, "-o", tmp_path / "x")
    assert (done.code, [path.name for path in tmp_path.iterdir()]) == (2, ["x.config.toml"])
    done = run("mask", "-q", few, "-m", tiny_model, "--tsv", tmp_path / "x", "--json-report", tmp_path / "x")
    assert (done.code, "share one target" in done.err) == (2, True)
