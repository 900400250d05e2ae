"""What can be told of the Nextflow files without Nextflow: script blocks run as bash, and the descriptions agree."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "workflows" / "nf-core" / "seqmask" / "mask"
PIPELINE = ROOT / "workflows" / "nextflow"
FILES = [path for path in (ROOT / "workflows").rglob("*") if path.suffix in (".nf", ".config", ".test")]

Bash = Callable[..., subprocess.CompletedProcess[str]]


def block(path: Path, process: str, part: str, **values: object) -> str:
    """The bash of a process's `script:` or `stub:`, with Groovy's ${...} filled in; an unknown one is a KeyError."""
    text = path.read_text().split(f"process {process} {{")[1]
    found = re.search(rf'^    {part}:\n(?:(?!""").)*?"""\n(.*?)\n    """', text, re.MULTILINE | re.DOTALL)
    assert found, f"{process} has no {part}"
    filled = re.sub(r"\$\{([\w.]+)\}", lambda name: str(values[name[1]]), found[1])
    assert "${" not in filled
    return filled.replace("\\\\", "\\").replace("\\$", "$")


def outputs(prefix: str) -> dict[str, str]:
    """File of each output of the module by its name."""
    text = (MODULE / "main.nf").read_text()
    return {
        name: path.replace("${prefix}", prefix) for path, name in re.findall(r'path\("(.+?)"\)\s*, emit: (\w+)', text)
    }


def masking(reads: str, model: Path, prefix: str) -> str:
    values = {"reads": reads, "model_option": f"--model {model}", "device": "cpu", "task.cpus": 1}
    return block(MODULE / "main.nf", "SEQMASK_MASK", "script", prefix=prefix, args="--check", **values)


def chunks(text: bytes, by: int) -> list[bytes]:
    """What `splitFasta(by: by)` makes of it."""
    records = [b">" + record for record in text.split(b">")[1:]]
    return [b"".join(records[i : i + by]) for i in range(0, len(records), by)]


def test_chunks_gathered_are_the_single_run(bash: Bash, tiny_model: Path, tmp_path: Path) -> None:
    """The scripts of both processes, as Nextflow would run them on the chunks of `splitFasta`."""
    reads = b"".join(chunks(gzip.decompress((ROOT / "examples" / "reads.fasta.gz").read_bytes()), 25)[:1])
    (tmp_path / "reads.fasta").write_bytes(reads)
    parts = chunks(reads, 12)
    assert len(parts) == 3
    for i, part in enumerate(parts, start=1):
        (tmp_path / f"reads.{i}.fasta").write_bytes(part)
        bash(masking(f"reads.{i}.fasta", tiny_model, f"reads.{i}"), SOURCE_DATE_EPOCH=0)
        assert [name for name, path in outputs(f"reads.{i}").items() if not (tmp_path / path).is_file()] == []
    files = {kind: " ".join(outputs(f"reads.{i}")[kind] for i in (1, 2, 3)) for kind in ("fasta", "bed", "tsv")}
    bash(block(PIPELINE / "main.nf", "GATHER", "script", prefix="reads", **files))
    bash(masking("reads.fasta", tiny_model, "whole"))
    whole = outputs("whole")
    for kind in ("fasta", "bed"):
        gathered = (tmp_path / f"reads.{kind}.gz").read_bytes()
        assert gzip.decompress(gathered) == gzip.decompress((tmp_path / whole[kind]).read_bytes())
    assert (tmp_path / "reads.tsv").read_bytes() == (tmp_path / whole["tsv"]).read_bytes()
    assert json.loads((tmp_path / outputs("reads.1")["multiqc"]).read_text())["id"] == "seqmask"


def test_stub_makes_every_output(bash: Bash, tmp_path: Path) -> None:
    bash(block(MODULE / "main.nf", "SEQMASK_MASK", "stub", prefix="test"))
    assert {path.name for path in tmp_path.iterdir()} == set(outputs("test").values())


def test_module_uses_a_gpu_where_the_task_has_one() -> None:
    text = (MODULE / "main.nf").read_text()
    assert "def device = task.accelerator ? 'cuda' : 'cpu'" in text
    assert re.search(r'conda "\$\{ task\.accelerator \? .*environment\.gpu\.yml.* : .*environment\.yml', text)
    plain, gpu = (environment(name) for name in ("environment.yml", "environment.gpu.yml"))
    assert set(plain) < set(gpu)
    assert [name for name in gpu if "pytorch-gpu" in name]


def environment(name: str) -> list[str]:
    data: dict[str, Any] = yaml.safe_load((MODULE / name).read_text())
    assert data["channels"] == ["conda-forge", "bioconda"]
    dependencies: list[str] = data["dependencies"]
    return dependencies


def test_versions_agree(bash: Bash) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    text = (MODULE / "main.nf").read_text()
    expression = re.search(r'eval\("(.+?)"\), topic: versions, emit: versions_seqmask', text)
    assert expression
    assert bash(expression[1]).stdout.strip() == version
    assert re.findall(rf"{name}:([\d.]+)--", text) == [version, version]
    assert f"bioconda::{name}={version}" in environment("environment.yml")
    wrapper = yaml.safe_load((ROOT / "workflows" / "snakemake" / "wrapper" / "environment.yaml").read_text())
    assert f"{name} ={version}" in wrapper["dependencies"]


def test_meta_describes_the_module() -> None:
    meta = yaml.safe_load((MODULE / "meta.yml").read_text())
    text = (MODULE / "main.nf").read_text()
    assert list(meta["output"]) == re.findall(r"emit: (\w+)", text)
    for name, path in outputs("${prefix}").items():
        assert list(meta["output"][name][0][1]) == [path]
    assert meta["topics"]["versions"] == meta["output"]["versions_seqmask"]
    expression = re.search(r'eval\("(.+?)"\)', text)
    assert expression
    assert expression[1] in meta["topics"]["versions"][0][2]
    assert meta["name"] == "seqmask_mask"
    assert [list(item) for item in meta["input"][0]] == [["meta"], ["reads"]]
    assert list(meta["input"][1]) == ["model"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_brackets_close(path: Path) -> None:
    """Comments and strings hold none that are odd."""
    text = path.read_text()
    assert [text.count(a) - text.count(b) for a, b in ("{}", "()", "[]")] == [0, 0, 0]
    assert text.count('"""') % 2 == 0


def test_pipeline_includes_the_module() -> None:
    text = (PIPELINE / "main.nf").read_text()
    found = re.search(r"include \{ (\w+) \} from '(.+?)'", text)
    assert found
    assert (PIPELINE / f"{found[2]}.nf").resolve() == MODULE / "main.nf"
    assert f"process {found[1]} {{" in (MODULE / "main.nf").read_text()
