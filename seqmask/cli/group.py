"""The list of commands in plain text: rich's boxes take longer to load than all that `seqmask --help` needs beside."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class Group(TyperGroup):
    """Commands under the titles of their panels. The help of a single command is left to rich."""

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
