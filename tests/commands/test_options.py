"""Flags and options objects: every option can be reached from the command line, and defaults have one home."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from seqmask.cli.app import app
from seqmask.cli.common import build
from seqmask.config import Compute, MaskOptions


def kinds(function: Callable[..., None]) -> list[type]:
    """The options classes that the module of a command names."""
    named = vars(sys.modules[function.__module__]).values()
    return [
        kind for kind in named if isinstance(kind, type) and is_dataclass(kind) and kind.__name__.endswith("Options")
    ]


FUNCTIONS = [command.callback for command in app.registered_commands if command.callback is not None]
COMMANDS: list[tuple[Callable[..., None], Any]] = [(f, kind) for f in FUNCTIONS for kind in kinds(f)]
NAMES = [kind.__name__ for _, kind in COMMANDS]
# Training counts tokens; what MaskOptions.besides holds is made of the other options
NOT_OFFERED = {("ClassifierOptions", "batch_size"), ("ExplainerOptions", "batch_size"), ("MaskOptions", "besides")}
# Text to a tuple; several options to one; nothing to stdin
TRANSLATED = {
    ("ClassifierOptions", "ranks"),
    ("ClassifierOptions", "balanced_ranks"),
    ("MaskOptions", "reads"),
    ("SimulateOptions", "ranks"),
    ("SimulateOptions", "background"),
    ("SimulateOptions", "sources"),
}


def test_every_command_takes_its_options_from_config() -> None:
    without = {function.__name__ for function in FUNCTIONS if not kinds(function)}
    assert without == {"info", "models", "doctor"}
    assert len(COMMANDS) == len(set(NAMES)) == len(FUNCTIONS) - len(without)


def flat(kind: Any, options: Any) -> dict[str, Any]:
    """All fields, those of its `Compute` among them."""
    found = {field.name: getattr(options, field.name) for field in fields(kind)}
    compute = found.pop("compute", None)
    return found | ({field.name: getattr(compute, field.name) for field in fields(Compute)} if compute else {})


@pytest.mark.parametrize(("function", "kind"), COMMANDS, ids=NAMES)
def test_every_option_is_reached_by_the_parameter_of_its_name(
    function: Callable[..., None], kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "__post_init__", lambda self: None, raising=False)  # the values are no values
    given = {name: object() for name in inspect.signature(function).parameters} | {"config": None}
    for name, value in flat(kind, build(kind, given)).items():
        if (kind.__name__, name) not in NOT_OFFERED | TRANSLATED:
            assert value is given.get(name), f"{kind.__name__}.{name} has no parameter"


@pytest.mark.parametrize(("function", "kind"), COMMANDS, ids=NAMES)
def test_defaults_are_those_of_config(function: Callable[..., None], kind: Any) -> None:
    defaults = flat(kind, kind())
    for name, parameter in inspect.signature(function).parameters.items():
        given = parameter.default is not inspect.Parameter.empty
        if name in defaults and given and (kind.__name__, name) not in TRANSLATED:
            assert parameter.default == defaults[name], f"{kind.__name__}.{name}"


def test_what_is_computed_replaces_what_is_given() -> None:
    options = build(MaskOptions, {"reads": None, "tsv": "x", "threads": 3, "quiet": True}, reads=["a"])
    assert (options.reads, options.tsv, options.compute.threads) == (["a"], "x", 3)
