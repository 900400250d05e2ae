"""Flags and options objects: every option can be reached from the command line, and defaults have one home."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from seqmask.cli.app import app
from seqmask.cli.common import build
from seqmask.cli.evaluate import evaluate
from seqmask.cli.mask import mask
from seqmask.cli.simulate import simulate
from seqmask.cli.train_classifier import train_classifier
from seqmask.cli.train_explainer import train_explainer
from seqmask.config import ClassifierOptions, Compute, EvaluateOptions, ExplainerOptions, MaskOptions

COMMANDS: list[tuple[Callable[..., None], Any]] = [
    (train_classifier, ClassifierOptions),
    (train_explainer, ExplainerOptions),
    (mask, MaskOptions),
    (evaluate, EvaluateOptions),
]
NOT_OFFERED = {(ClassifierOptions, "batch_size"), (ExplainerOptions, "batch_size")}  # training counts tokens
TRANSLATED = {(ClassifierOptions, "ranks"), (MaskOptions, "reads")}  # text to a tuple; nothing to stdin


def test_every_command_is_here() -> None:
    assert {command.callback for command in app.registered_commands} == {function for function, _ in COMMANDS} | {simulate}


def flat(options: Any) -> dict[str, Any]:
    """All fields, those of its `Compute` among them."""
    of_run = {field.name: getattr(options, field.name) for field in fields(options) if field.name != "compute"}
    return of_run | {field.name: getattr(options.compute, field.name) for field in fields(Compute)}


@pytest.mark.parametrize(("function", "kind"), COMMANDS)
def test_every_option_is_reached_by_the_parameter_of_its_name(function: Callable[..., None], kind: Any) -> None:
    given = {name: object() for name in inspect.signature(function).parameters}
    for name, value in flat(build(kind, given)).items():
        assert (kind, name) in NOT_OFFERED or value is given.get(name), f"{kind.__name__}.{name} has no parameter"


@pytest.mark.parametrize(("function", "kind"), COMMANDS)
def test_defaults_are_those_of_config(function: Callable[..., None], kind: Any) -> None:
    defaults = flat(kind())
    for name, parameter in inspect.signature(function).parameters.items():
        if name in defaults and parameter.default is not inspect.Parameter.empty and (kind, name) not in TRANSLATED:
            assert parameter.default == defaults[name], f"{kind.__name__}.{name}"


def test_what_is_computed_replaces_what_is_given() -> None:
    options = build(MaskOptions, {"reads": None, "tsv": "x", "threads": 3, "quiet": True}, reads=["a"])
    assert (options.reads, options.tsv, options.compute.threads) == (["a"], "x", 3)
