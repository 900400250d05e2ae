"""Write docs/command-line.md from the command line itself: `python docs/make_reference.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.main import get_command

from seqmask.cli.app import PANELS, app

PAGE = Path(__file__).with_name("command-line.md")
HEAD = """# The command line

<!-- Written by docs/make_reference.py from the program; do not edit. -->

`seqmask COMMAND --help` shows the same on a terminal, `seqmask --install-completion` completes commands and options in
your shell.

stdout carries data only: a table, FASTA, BED or JSON that was asked for. All else goes to stderr: text, warnings, and
the progress of masks, training and each part of an evaluation with rate and time left, as a bar on a terminal and as a
line every few seconds elsewhere.

Exit codes: 0, also for `mask` of an input without records; 1 for data or input and output; 2 for a command line that
cannot be; 75 for training that a signal stopped and `--resume` takes up; 129 after SIGHUP (a
terminal that is closed), 130 after Ctrl-C, 143 after SIGTERM.

## Options from elsewhere

Options can come from four places. The first one that names an option wins:

1. the command line;
2. the environment, where a table below names a variable;
3. a TOML file, `--config run.toml`;
4. the defaults.

The file has a table for each command; its keys are the long names of the options, and of the arguments in the tables
below. Flags are true or false; one that is true in the file is taken back on the command line by its `--no-` form, if
it has one. A key that is no option is an error.

```toml
[mask]
reads = ["sample1.fastq.gz", "sample2.fastq.gz"]
model = "my-model"
check = true

[evaluate]
labels = "labels.tsv"
```

`seqmask mask -o PREFIX` writes `PREFIX.config.toml` with every option of the run, and `train-classifier` and
`train-explainer` write `train-classifier.config.toml` and `train-explainer.config.toml` into their directory when they
are done: such a file repeats the run (with `--force` where its outputs are still there). Without `-o`, `mask`
writes the files that were named and nothing else.

## Long runs

**A stopped run goes on with `--resume`**, whatever stopped it: Ctrl-C, a full disk, the end of a job's time,
`SIGKILL`. (Of training: [cluster.md](cluster.md#stopped-and-queued-again).) Until it ends, `mask` writes to hidden
files beside its outputs (`.NAME.partial...`), and every `--checkpoint-minutes` it notes how far all of them are
whole. The same command with `--resume` reads that many records again without masking them, checks that they are the
same, cuts what came after them, and goes on; the outputs are the same as without the stop. (Of a compressed output
what the compressor still held is lost after `SIGKILL`; where nothing can be taken up, the run says so and starts
over.) It needs the same options. `--force` without `--resume` starts over; with neither, a run that has kept records is
refused. Where an output is a pipe nothing can be resumed.

**`--shard I/N` masks one of N parts**, on as many machines as there are, and `seqmask merge` joins the outputs of
each kind to the file that one run would have written, byte by byte for texts and dataset by dataset for HDF5. The
parts are contiguous and end where a pool of about 4,096 windows (the first one 256) does, which is what is computed
together; an input of fewer pools than N leaves some parts empty. Every part reads the input once more, to count it,
so it must be files. Beside each text output a small `FILE.shard.json` says what it is: `merge` needs it, and refuses
shards that are missing, doubled, cut off, or of another input, model or threshold. A shard that is asked for again
with `--resume` when all its outputs are there, whole, of the same input, model and options, says so and ends with 0;
a whole run is refused, for nothing says what its outputs are of.

    seqmask mask reads.fastq.gz -o part1 --shard 1/2
    seqmask mask reads.fastq.gz -o part2 --shard 2/2
    seqmask merge part1.h5 part2.h5 -o reads.h5
    seqmask merge part1.bed part2.bed -o reads.bed

What is computed together also decides the last bits of a number: the same results from other batch sizes, numbers of
threads or devices agree to about 1e-5, and with the same ones they agree in every bit on a CPU.

## Reports

`mask --json-report FILE` writes one JSON object: `tool`, versions, command, model with digests, parameters, device,
`shard` (I/N, null for the whole input), counts of records by status and by class of each rank and, with `--check`, of
verdicts, `inconsistent` (records whose classes never stand together in the training labels), nucleotides (`nucleotides`
in all, `covered` by tokens, `kept` by the mask), `resumed_after` (records that a stopped run had done), and seconds and
records per second, those of the last run alone. If the name ends in `_mqc.json` it is one row of a table for
[MultiQC](https://docs.seqera.io/multiqc/custom_content), named after the file: `sample1_mqc.json` is sample1.
"""


def page() -> str:
    """The whole page."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    parts = [HEAD]
    for panel, functions in PANELS.items():
        parts.append(f"## {panel}\n")
        for function in functions:
            name = function.__name__.replace("_", "-")
            parts += ["\n".join(section(name, function, commands[name])), ""]
    return "\n".join(parts).rstrip() + "\n"


def section(name: str, function: Callable[..., None], command: Any) -> Iterator[str]:
    """One command: what it does, an example, a table of its arguments and options for each panel of --help."""
    yield f"### seqmask {name}\n"
    text, _, example = inspect.cleandoc(function.__doc__ or "").partition("\n\nExample: ")
    yield f"{text}\n"
    if example:
        yield f"    {example}\n"
    hints = get_type_hints(function)
    panels: dict[str, list[str]] = {}
    from_file = any(param.name == "config" for param in command.params)
    for param in command.params:
        if param.name != "help":
            panel = getattr(param, "rich_help_panel", None) or ""
            panels.setdefault(panel, []).append(row(param, hints[param.name], from_file))
    for panel, rows in panels.items():
        yield f"| {panel or 'argument or option'} | default | |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"


def row(param: Any, hint: Any, from_file: bool) -> str:
    """One line of a table. from_file: whether the command reads options from a file."""
    is_option = param.param_type_name == "option"
    names = [*param.opts, *param.secondary_opts] if is_option else []
    spelling = ", ".join(f"`{name}`" for name in sorted(names, key=len)) if is_option else f"`{param.metavar}`"
    if is_option and not (param.is_flag or param.count):
        spelling += f" {param.metavar or kind(hint)}"
    what = [param.help or ""]
    if param.envvar:
        what.append(f"Environment: `{param.envvar}`.")
    if not is_option and from_file:
        what.append(f"Key in a file: `{param.name}`.")
    off = param.default is None or param.default is False or param.default in ("", [], ())
    default = "required" if param.required else "" if off else f"`{param.default}`"
    cells = [spelling, default, " ".join(filter(None, what))]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def kind(hint: Any) -> str:
    """INTEGER, NUMBER, PATH or TEXT."""
    types = {int: "INTEGER", float: "NUMBER", Path: "PATH"}
    return next((types[part] for part in (hint, *get_args(hint)) if part in types), "TEXT")


if __name__ == "__main__":
    PAGE.write_text(page())
