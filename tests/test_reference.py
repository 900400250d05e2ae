"""docs/command-line.md is what the program says of itself."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from seqmask.cli.app import app

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_up_to_date(reference: ModuleType) -> None:
    assert (DOCS / "command-line.md").read_text() == reference.page(), "run python docs/make_reference.py"


def test_every_command_has_a_section_and_an_example(reference: ModuleType) -> None:
    page = reference.page()
    for command in app.registered_commands:
        section = page.partition(f"### seqmask {command.name}\n")[2].partition("\n### ")[0]
        assert re.search(rf"^    [^\n]*seqmask {command.name}\b", section, re.MULTILINE), command.name


def test_every_decision_is_listed() -> None:
    listed = (DOCS / "decisions" / "README.md").read_text().partition("\n## Records\n")[2]
    for path in sorted((DOCS / "decisions").glob("0*.md")):
        number, title = path.read_text().splitlines()[0].removeprefix("# ").split(": ", 1)
        assert f"- [{number}]({path.name}): {title}\n" in listed
