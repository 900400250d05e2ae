"""Recipes of packages and containers say what pyproject.toml says; the licences and the citation are whole."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqmask.models.bundled import names

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
CONDA_NAMES = {"torch": "pytorch"}
# import name: distribution, where the two differ
DISTRIBUTIONS = {"Bio": "biopython"}
# for type checkers only; comes with xopen on most processors, with a stand-in for the others
OPTIONAL = ("_typeshed", "isal")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    """The conda recipe with its few Jinja expressions replaced."""
    text = (PACKAGING / "bioconda" / "meta.yaml").read_text()
    values = dict(re.findall(r'{% set (\w+) = "(.*?)" %}', text))
    text = re.sub(r"{%.*?%}\n", "", text)
    text = re.sub(r"{{ pin_subpackage\((\w+), .*? }}", lambda m: values[m[1]], text)
    return yaml.safe_load(re.sub(r"{{ (\w+) }}", lambda m: values.get(m[1], m[1]), text))


def split(requirement: str) -> tuple[str, str]:
    """Name and range of a requirement."""
    found = re.fullmatch(r"([\w.-]+)\s*(.*)", requirement)
    assert found, requirement
    return found[1], found[2]


def requirements(words: list[str]) -> dict[str, str]:
    return dict(map(split, words))


def test_xopen_brings_what_reads_zst(project: dict[str, Any]) -> None:
    """Before 2.1 it had zstd in an extra of its own."""
    assert requirements(project["dependencies"])["xopen"] == ">=2.1"
    assert any("zstd" in needed and "extra" not in needed for needed in metadata.requires("xopen") or [])


def test_conda_runs_with_what_pip_installs(project: dict[str, Any], recipe: dict[str, Any]) -> None:
    pip = {CONDA_NAMES.get(name, name): spec for name, spec in requirements(project["dependencies"]).items()}
    conda = requirements(recipe["requirements"]["run"])
    assert conda.pop("python") == project["requires-python"]
    assert conda == pip
    host = requirements(recipe["requirements"]["host"])
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert set(host) == {"python", "pip", *backend}
    assert host["python"] == project["requires-python"]


def test_conda_describes_the_same_package(project: dict[str, Any], recipe: dict[str, Any]) -> None:
    assert recipe["package"] == {"name": project["name"], "version": project["version"]}
    entry_points = [f"{name} = {target}" for name, target in project["scripts"].items()]
    assert recipe["build"]["entry_points"] == entry_points == ["seqmask = seqmask.cli.app:main"]
    assert recipe["build"]["noarch"] == "python"
    assert recipe["about"]["summary"] == project["description"]
    assert recipe["about"]["license"] == project["license"]
    assert recipe["about"]["license_file"] == project["license-files"]
    assert all((ROOT / name).is_file() for name in [*project["license-files"], *recipe["test"]["source_files"]])


def test_every_imported_package_is_asked_for(project: dict[str, Any]) -> None:
    """What seqmask imports is in `dependencies` or in an extra."""
    imported: dict[str, str] = {}
    for path in (ROOT / "seqmask").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {module.partition(".")[0]: str(path) for module in modules}
    outside = {DISTRIBUTIONS.get(n, n): p for n, p in imported.items() if n not in sys.stdlib_module_names}
    outside.pop("seqmask")
    for optional in OPTIONAL:
        outside.pop(optional, None)
    asked = requirements(project["dependencies"])
    extras = {name for words in project["optional-dependencies"].values() for name in requirements(words)}
    assert {name: path for name, path in outside.items() if name not in asked and name not in extras} == {}


# Containers


def copied(text: str) -> list[str]:
    """What a Dockerfile's COPY lines, or an Apptainer file's %files, take from the repository."""
    words = [line.split() for line in text.splitlines()]
    docker = [source for line in words if line[:1] == ["COPY"] for source in line[1:-1]]
    section = re.search(r"^%files\n((?:    .*\n)+)", text, re.MULTILINE)
    return docker + [line.split()[0] for line in (section[1].splitlines() if section else [])]


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_containers_hold_all_that_the_build_needs(name: str, project: dict[str, Any]) -> None:
    text = (PACKAGING / name).read_text()
    sources = copied(text)
    needed = {"pyproject.toml", project["readme"], *project["license-files"], "seqmask"}
    assert set(sources) == needed
    assert all((ROOT / source).exists() for source in sources)
    assert f'"torch{requirements(project["dependencies"])["torch"]}"' in text
    python = re.search(r"python:(3\.\d+)-slim", text)
    assert python
    assert int(python[1].split(".")[1]) >= int(project["requires-python"].rpartition(".")[2])


def test_docker_context_lets_the_copied_files_through() -> None:
    lines = (PACKAGING / "Dockerfile.dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert allowed == set(copied((PACKAGING / "Dockerfile").read_text()))


# Licences and citation


def test_licences_of_all_shipped_models() -> None:
    text = (ROOT / "docs" / "data-licences.md").read_text()
    assert [name for name in names() if f"`{name}`" not in text] == []
    holders = ("2012-2016 Duy Tin Truong", "2018 grandhawa", "2020 Institute of Evolutionary Biology")
    assert [holder for holder in holders if f"Copyright (c) {holder}" not in text] == []
    quoted = " ".join(line.lstrip("> ") for line in text.splitlines() if line.startswith(">"))
    licence = (ROOT / "LICENSE").read_text().split("\n\n", 2)[2]
    assert " ".join(licence.split()) in " ".join(quoted.split()), "the whole MIT text"


def test_citation(peer: Callable[[str], str], project: dict[str, Any]) -> None:
    """Valid by the official schema, and of this version."""
    data = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (str(data["version"]), data["license"]) == (project["version"], project["license"])
    done = subprocess.run([peer("cffconvert"), "--validate"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
