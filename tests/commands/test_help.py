"""The list of commands: light, whole, in panels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mask", "--bogus"), "No such option: --bogus"),
        (("mask", "x.fa", "--threads", "-5"), "Invalid value for '-t' / '--threads'"),
        (("mask", "x.fa", "-x"), "Option '-x' requires an argument"),
        (("bogus",), "No such command 'bogus'"),
        (("--bogus",), "No such option: --bogus"),
        (("evaluate",), "Missing argument 'SEQS...'"),
    ],
)
def test_a_wrong_command_line_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith(f"seqmask: error: {message}")
    assert line.endswith("--help'")
