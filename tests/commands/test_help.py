"""The list of commands: light, whole, in panels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from seqmask.cli.app import PANELS

Run = Callable[..., Any]


def test_every_command_stands_under_its_panel_with_its_first_sentence(run: Run) -> None:
    text = run("--help").text
    for title, functions in PANELS.items():
        section = re.search(rf"^{title}:\n((?:  .*\n)+)", text, re.M)
        assert section, text
        listed = re.split(r"^  (?=\S)", section[1], flags=re.M)[1:]
        assert [entry.split()[0] for entry in listed] == [each.__name__.replace("_", "-") for each in functions]
        for entry, function in zip(listed, functions, strict=True):
            first = str(function.__doc__).partition("\n\n")[0].split()
            assert entry.split()[1:] == first, "not cut off"
    assert "--version" in text


def test_no_arguments_are_a_call_for_help(run: Run) -> None:
    done = run(stdin=b"")
    assert done.code == 2
    assert done.text == ""
    assert done.err.startswith("Usage:")
