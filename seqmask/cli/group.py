"""What is seen before any command runs, in plain text: the list of commands, and what is wrong with a command line.

rich's boxes take longer to load than all that `seqmask --help` needs beside, and an error is one line.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from seqmask.cli.common import failed

# typer says by what class a command line is wrong only as the base of this one
WrongUsage: type[Exception] = typer.BadParameter.__mro__[1]


class Group(TyperGroup):
    """Commands under the titles of their panels. The help of a single command is left to rich."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """The context of a command line; one that is wrong ends with 2."""
        with _in_one_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; one whose options are wrong ends with 2."""
        with _in_one_line():
            return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Without arguments the help goes to stderr: typer trusts rich to have shown it by then."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:  # that is a shell asking for completions
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(2)
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the group into the formatter, without rich."""
        super(TyperGroup, self).format_help(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, a section a panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        longest = max(map(len, self.commands))
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            first = " ".join((command.help or "").strip().partition("\n\n")[0].split())
            panels.setdefault(panel, []).append((name.ljust(longest), first))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except WrongUsage as error:
        found: Any = error
        path = found.ctx.command_path if found.ctx is not None else "seqmask"
        message = " ".join(found.format_message().split()).rstrip(".")
        print(f"seqmask: error: {message}; see '{path} --help'", file=sys.stderr)
        raise typer.Exit(found.exit_code) from error
    except BrokenPipeError:
        raise  # typer's own
    except OSError as error:  # of the help: commands tell theirs themselves
        raise failed(f"standard output: {error.strerror or error}", 1) from error
