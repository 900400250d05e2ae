"""`benchmarks/bench.py`: its rows run, say what they measured, and judge it by their bars. No figure is tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def test_rows_run_and_are_judged_by_their_bars(tmp_path: Path) -> None:
    done = bench(
        "--quick", "--rounds", 2, "--rows", "kmer,reading,hdf5,host,gpu", "--json", tmp_path / "x.json", "--threads", 1
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "x.json").read_text())
    if not torch.cuda.is_available():
        assert "gpu       skipped: no CUDA device here" in done.stdout
        assert report["rows"]["gpu"]["skipped"] == "no CUDA device here"
    assert list(report["rows"]) == ["kmer", "reading", "hdf5", "host", "gpu"]
    assert report["machine"]["threads"] == 1
    judged = 0
    for row in report["rows"].values():
        for figure in row["figures"]:
            assert 0 < figure["low"] <= figure["value"] <= figure["high"]
            assert figure["name"] in done.stdout
            if figure["bar"] is not None:
                judged += 1
                above, equal = figure["value"] > figure["bar"], figure["value"] == figure["bar"]
                assert figure["met"] == (equal or above == figure["least"])
    assert judged >= 6
    assert done.stdout.count("met") + done.stdout.count("MISSED") >= judged


def test_the_row_of_other_methods_runs(tmp_path: Path) -> None:
    for package in ("lime", "shap", "captum"):
        pytest.importorskip(package)
    done = bench("--quick", "--rounds", 1, "--rows", "explain", "--json", tmp_path / "x.json", "--threads", 1)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "x.json").read_text())["rows"]["explain"]["figures"]
    assert [figure["name"].partition("-")[0] for figure in figures] == ["lime", "ig", "shap", "a mask"]


@pytest.mark.parametrize("rows", ["nonsense", "host,nonsense"])
def test_a_row_that_is_not_there(rows: str) -> None:
    done = bench("--rows", rows)
    assert done.returncode == 2
    assert "no nonsense; expected some of explain, mask, peak" in done.stderr


def test_the_document_explains_each_row() -> None:
    listed = [line.split()[0] for line in bench("--list").stdout.splitlines()]
    document = (ROOT / "benchmarks" / "README.md").read_text()
    assert len(listed) == 12
    assert [name for name in listed if f"| `{name}` |" not in document] == []


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no system call for it here")
def test_one_core_is_one_core() -> None:
    """Threads that are started within are on it, too; afterwards all cores are there again."""
    script = """
import os, threading
from speed.measure import one_core
def cores():
    found.append(len(os.sched_getaffinity(0)))
found = []
cores()
with one_core():
    cores()
    thread = threading.Thread(target=cores)
    thread.start()
    thread.join()
cores()
print(*found)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    before, *within, after = map(int, done.stdout.split())
    assert (within, before) == ([1, 1], after), done.stderr
