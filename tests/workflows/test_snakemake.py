"""The Snakemake workflow and wrapper, run end to end: shards put together are what one run writes, byte by byte."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SNAKEMAKE = ROOT / "workflows" / "snakemake"
# What says how a file was made, not what is in it
HISTORY = {"command", "shard_commands"}

Bash = Callable[..., subprocess.CompletedProcess[str]]
Peer = Callable[[str], str]


@pytest.fixture
def reads(tmp_path: Path) -> Path:
    """The first 42 example reads: no multiple of four."""
    records = gzip.decompress((ROOT / "examples" / "reads.fasta.gz").read_bytes()).split(b">")[1:43]
    path = tmp_path / "reads.fasta"
    path.write_bytes(b"".join(b">" + record for record in records))
    return path


def content(path: Path) -> dict[str, Any]:
    """Every dataset and attribute of an HDF5 file as bytes or plain values, but those of its history."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype, item.shape, item.chunks, item[()].tobytes())

    with h5py.File(path) as file:
        file.visititems(visit)
        return found | {key: value for key, value in file.attrs.items() if key not in HISTORY}


def test_four_shards_are_one_run(bash: Bash, peer: Peer, tiny_model: Path, reads: Path) -> None:
    peer("snakemake")
    config = yaml.safe_load((SNAKEMAKE / "config.yaml").read_text())
    assert config["shards"] == 4
    spaced = reads.with_name("some reads.fasta")
    shutil.copy(reads, spaced)
    config |= {"samples": {"some.reads": str(spaced), 7: str(reads)}, "model": str(tiny_model), "threads": 1}
    (reads.parent / "config.yaml").write_text(yaml.safe_dump(config))
    bash(
        """
        snakemake -s "$SNAKEFILE" --configfile config.yaml --cores 2 --quiet all
        seqmask mask reads.fasta -q -m "$TINY" --check -o whole
        """,
        SNAKEFILE=SNAKEMAKE / "Snakefile",
        TINY=tiny_model,
        POOL_WINDOWS=8,
        SOURCE_DATE_EPOCH=0,
        XDG_CACHE_HOME=reads.parent / "cache",
    )
    masks = reads.parent / config["outdir"]
    for kind in ("fasta", "bed", "tsv"):
        assert (masks / f"some.reads.{kind}").read_bytes() == (reads.parent / f"whole.{kind}").read_bytes()
    whole = content(reads.parent / "whole.h5")
    assert len(whole["records/index"][3]) == 42 * 8
    assert content(masks / "some.reads.h5") == whole
    assert not list(masks.glob("shards/*")), "shards are temporary"
    logs = [path.read_text() for path in masks.glob("logs/some.reads.*-of-4.log")]
    parts = sorted((int(a), int(b)) for log in logs for a, b in re.findall(r"records (\d+) to (\d+) of 42", log))
    assert all(a < b for a, b in parts), "no shard is empty"
    assert [a for a, _ in parts] + [42] == [0] + [b for _, b in parts]


def test_jobs_ask_for_a_gpu_where_the_configuration_says_so(bash: Bash, peer: Peer, reads: Path) -> None:
    peer("snakemake")
    config = yaml.safe_load((SNAKEMAKE / "config.yaml").read_text()) | {"samples": {"a": str(reads)}, "gpu": 1}
    config["extra"] = None  # the key without a value
    (reads.parent / "config.yaml").write_text(yaml.safe_dump(config))
    done = bash(
        'snakemake -s "$SNAKEFILE" --configfile config.yaml --cores 2 --dry-run --printshellcmds',
        SNAKEFILE=SNAKEMAKE / "Snakefile",
        XDG_CACHE_HOME=reads.parent / "cache",
    )
    assert done.stdout.count("gpu=1") == done.stdout.count("--device cuda") == 4
    assert [f"--shard {i}/4" in done.stdout for i in range(1, 5)] == [True] * 4
    assert "None --device" not in done.stdout


def test_wrapper(bash: Bash, peer: Peer, reads: Path) -> None:
    """As the repository of wrappers would run it, with the wrapper's own test."""
    peer("snakemake")
    place = reads.parent / "wrappers" / "master" / "bio" / "seqmask"
    place.mkdir(parents=True)
    (place / "mask").symlink_to(SNAKEMAKE / "wrapper")
    bash(
        """
        snakemake -s "$TEST" --cores 1 --quiet all --wrapper-prefix "file://$PWD/wrappers/" masks/reads.fasta.gz
        zcat masks/reads.fasta.gz | grep -c '^>' > count
        """,
        TEST=SNAKEMAKE / "wrapper" / "test" / "Snakefile",
        XDG_CACHE_HOME=reads.parent / "cache",
    )
    assert (reads.parent / "count").read_text() == "42\n"
    assert json.loads((reads.parent / "masks" / "reads_mqc.json").read_text())["tool"] == "seqmask"
    assert "42 records" in (reads.parent / "logs" / "seqmask.log").read_text()


def test_wrapper_is_described() -> None:
    meta = yaml.safe_load((SNAKEMAKE / "wrapper" / "meta.yaml").read_text())
    described = {name for item in meta["output"] for name in item}
    code = (SNAKEMAKE / "wrapper" / "wrapper.py").read_text()
    kinds = next(line for line in code.splitlines() if line.startswith("KINDS"))
    assert {name for name in described if f'"{name}"' in kinds} == described
    assert kinds.count('"') == 2 * len(described)


KILLED = """#!/bin/bash
# seqmask, killed once after its first checkpoint
[[ -e killed || " $* " != *" --shard 2/4 "* ]] && exec real "$@"
real "$@" & pid=$!
until cat seqmask-output/shards/.*journal* 2>/dev/null | grep -q '"records"'; do
    kill -0 $pid || break
    sleep 0.02
done
touch killed
kill -9 $pid
exit 137
"""


def test_a_job_that_was_killed_goes_on(bash: Bash, peer: Peer, tiny_model: Path, tmp_path: Path) -> None:
    """What it left would have every further try refused, but for --resume."""
    peer("snakemake")
    records = gzip.decompress((ROOT / "examples" / "reads.fasta.gz").read_bytes()).split(b">")[1:201]
    (tmp_path / "reads.fasta").write_bytes(b"".join(b">" + record for record in records))
    config = yaml.safe_load((SNAKEMAKE / "config.yaml").read_text()) | {"samples": {"x": str(tmp_path / "reads.fasta")}}
    config |= {"model": str(tiny_model), "threads": 1, "extra": "--checkpoint-minutes 0"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "seqmask").write_text(KILLED)
    (tmp_path / "bin" / "seqmask").chmod(0o755)
    bash(
        """
        ln -s "$(which seqmask)" bin/real
        export PATH="$PWD/bin:$PATH"
        snakemake -s "$SNAKEFILE" --configfile config.yaml --cores 1 --quiet all
        seqmask mask reads.fasta -q -m "$TINY" -o whole
        for kind in fasta bed tsv; do cmp whole.$kind seqmask-output/x.$kind; done
        """,
        SNAKEFILE=SNAKEMAKE / "Snakefile",
        TINY=tiny_model,
        POOL_WINDOWS=8,
        SOURCE_DATE_EPOCH=0,
        XDG_CACHE_HOME=tmp_path / "cache",
    )
    assert (tmp_path / "killed").exists()
    assert "going on after" in (tmp_path / "seqmask-output" / "logs" / "x.2-of-4.log").read_text()
