"""Options from a file: a TOML table for each command, keys as on the command line; and the file that repeats a run."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from seqmask.errors import InputError, UsageError
from seqmask.version import version

# Not part of what a run does: whether it may overwrite or goes on, and what it says of itself.
LEFT_OUT = frozenset({"config", "force", "resume", "quiet", "verbose", "log_file"})


def load(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the command's table of the file its defaults: the command line and the environment win over it.

    Raises InputError (no such file, not TOML) and UsageError (a table or key that is no command or option).
    """
    if path is None or ctx.resilient_parsing:
        return path
    tables = _read(path)
    _known(path, "command", tables, list(_commands(ctx)))
    table = tables.get(str(ctx.info_name), {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {ctx.info_name} is no table; write [{ctx.info_name}] on a line of its own")
    names = {spelling(param): str(param.name) for param in ctx.command.params if param.name not in ("config", "help")}
    _known(path, f"option of {ctx.info_name}", table, list(names))
    switches = {str(param.name) for param in ctx.command.params if getattr(param, "is_flag", False)}
    for key, value in table.items():
        if isinstance(value, bool) != (names[key] in switches):
            expected = "true or false" if names[key] in switches else "a value"
            raise UsageError(f"{path}: {key} is {_toml(value)}, expected {expected}")
    lists = {str(param.name) for param in ctx.command.params if param.nargs == -1 or getattr(param, "multiple", False)}
    ctx.default_map = {
        names[key]: _listed(value) if names[key] in lists else _scalar(path, key, value) for key, value in table.items()
    }
    return path


def effective(ctx: typer.Context) -> str:
    """TOML text with all options of this run, those left at their defaults too: `--config` repeats it."""
    lines = [
        f"# Every option of one run of seqmask {version()}, defaults included.",
        f"# seqmask {ctx.info_name} --config THIS_FILE repeats it; what the command line says wins.",
        f"[{ctx.info_name}]",
    ]
    for param in ctx.command.params:
        value = ctx.params.get(str(param.name))
        if param.name not in LEFT_OUT and value is not None and value != [] and value != ():
            lines.append(f"{spelling(param)} = {_toml(value)}")
    return "\n".join([*lines, ""])


def keep(ctx: typer.Context, directory: Path) -> None:
    """Write `effective` into an output directory, as COMMAND.config.toml."""
    (directory / f"{ctx.info_name}.config.toml").write_text(effective(ctx), encoding="utf-8")


def spelling(param: Any) -> str:
    """Key of a parameter: the long name of an option without its dashes, the name of an argument."""
    long = [name for name in param.opts if name.startswith("--")]
    return str(long[0][2:] if long else param.name)


def _commands(ctx: typer.Context) -> Iterable[str]:
    group = ctx.parent.command if ctx.parent is not None else None
    return getattr(group, "commands", {str(ctx.info_name): None})


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}", expected="a TOML file") from error
    except ValueError as error:
        raise InputError(path, f"not TOML: {error}") from error


def _known(path: Path, what: str, found: Iterable[str], known: list[str]) -> None:
    import difflib

    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise UsageError(f"{path}: {key!r} is no {what}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _listed(value: Any) -> Any:
    """One text where several may stand is a list of one."""
    return [value] if isinstance(value, str) else value


def _scalar(path: Path, key: str, value: Any) -> Any:
    """A list where the option takes words with commas between them; nothing else that is nested."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        raise UsageError(f"{path}: {key} is a table, expected one value")
    return value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(str(value), ensure_ascii=False)  # strings of JSON are strings of TOML
