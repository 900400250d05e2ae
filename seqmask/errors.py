"""The error kinds that a user may see; each is one line on stderr and an exit code."""

from __future__ import annotations

from pathlib import Path


class SeqmaskError(Exception):
    """An expected failure: data or I/O. Shown as one line; exit code 1."""

    exit_code = 1


class StoppedError(SeqmaskError):
    """A signal ended a run that can go on with --resume. Exit code 75 (EX_TEMPFAIL: try again later); Ctrl-C: 130."""

    def __init__(self, message: str, interrupted: bool = False) -> None:
        super().__init__(f"{message}; go on with --resume")
        self.exit_code = 130 if interrupted else 75


class UsageError(SeqmaskError):
    """The command line asks for something that cannot be. Exit code 2."""

    exit_code = 2


def install(extra: str) -> str:
    """What to do where an optional package is missing; extra: its name in pyproject.toml."""
    return f"not released on PyPI yet: in a clone of seqmask, pip install '.[{extra}]'"


def brief(name: str, most: int = 60) -> str:
    """A name as messages show it: quoted, of a long one the begin."""
    return repr(name) if len(name) <= most else f"{name[:most]!r}... ({len(name):,} letters)"


class InputError(SeqmaskError):
    """A file does not hold what it should: says where, what was found and expected, and what to do."""

    def __init__(
        self,
        path: str | Path,
        found: str,
        *,
        expected: str = "",
        remedy: str = "",
        line: int | None = None,
    ) -> None:
        self.path, self.line, self.found, self.expected, self.remedy = str(path), line, found, expected, remedy
        where = self.path if line is None else f"{self.path}, line {line}"
        message = f"{where}: {found}"
        if expected:
            message += f"; expected {expected}"
        if remedy:
            message += f"; {remedy}"
        super().__init__(message)
