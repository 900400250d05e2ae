"""Descriptions on stdout: as lines for people, as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def show(data: Any, as_json: bool) -> None:
    """Print a description, or a list of them with a blank line between."""
    if as_json:
        print(json.dumps(data, indent=1, ensure_ascii=False))
        return
    for i, one in enumerate(data if isinstance(data, list) else [data]):
        if i:
            print()
        for line in lines(one):
            print(line)


def lines(data: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """`key  value`, values below each other; what has parts of its own is indented; what is empty is left out."""
    known = {key: value for key, value in data.items() if value not in (None, "", [], {})}
    width = max((len(key) for key in known), default=0)
    for key, value in known.items():
        begin = f"{' ' * indent}{key:<{width}}  "
        if not isinstance(value, Mapping):
            yield begin + _text(value)
        elif any(isinstance(part, Mapping) for part in value.values()):
            yield begin.rstrip()
            yield from lines(value, indent + 2)
        else:
            yield from _columns(begin, value)


def _columns(begin: str, value: Mapping[str, Any]) -> Iterator[str]:
    parts = [f"{key} {_text(part)}" for key, part in value.items()]
    if sum(map(len, parts)) <= 80:
        yield begin + ", ".join(parts)
        return
    for i, part in enumerate(parts):
        yield (begin if i == 0 else " " * len(begin)) + part


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return (" " if all(isinstance(part, str) for part in value) else ", ").join(map(_text, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
