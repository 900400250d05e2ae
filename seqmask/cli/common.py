"""What every command shares: one spelling of the common options, flags to an options object, errors to exit codes."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from seqmask.cli import settings
from seqmask.config import Compute
from seqmask.errors import SeqmaskError, UsageError
from seqmask.progress import leave_terminal

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# What is said on stderr, for the log file; `Terminal` opens that one.
said = logging.getLogger("seqmask.said")
said.addHandler(logging.NullHandler())
said.propagate = False

T = TypeVar("T")
Options = TypeVar("Options", bound="DataclassInstance")

# Panels of --help
COMPUTING, COMMON = "Computing", "Common"


def _config(ctx: typer.Context, path: Path | None) -> Path | None:
    return call(lambda: settings.load(ctx, path))


def _models(incomplete: str) -> list[str]:
    from seqmask.models.bundled import names

    return [name for name in names() if name.startswith(incomplete)]


# One spelling of the shared options everywhere.
Device = Annotated[
    str,
    typer.Option(
        "-x", "--device", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=COMPUTING, envvar="SEQMASK_DEVICE"
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="fp32, bf16 or fp16 (training also: auto). Half precision changes results with batch and GPU.",
        rich_help_panel=COMPUTING,
        envvar="SEQMASK_PRECISION",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "-b",
        "--batch-size",
        min=0,
        help="Sequences a batch at most; 0 = auto.",
        rich_help_panel=COMPUTING,
        envvar="SEQMASK_BATCH_SIZE",
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        "-t",
        "--threads",
        min=0,
        max=1024,
        help="CPU threads; 0 = all.",
        rich_help_panel=COMPUTING,
        envvar="SEQMASK_THREADS",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0, max=2**63 - 1, help="Seed of everything random.", rich_help_panel=COMPUTING, envvar="SEQMASK_SEED"
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Errors only on stderr.", rich_help_panel=COMMON)]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="More on stderr.", rich_help_panel=COMMON)]
LogFile = Annotated[
    Path | None,
    typer.Option(
        help="Append everything that is said, with times, to this file.",
        metavar="F",
        rich_help_panel=COMMON,
        envvar="SEQMASK_LOG_FILE",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        help="TOML file with a table for each command, keys as the long options; the command line wins.",
        metavar="F",
        rich_help_panel=COMMON,
        envvar="SEQMASK_CONFIG",
        callback=_config,
        is_eager=True,
    ),
]
Force = Annotated[bool, typer.Option("-f", "--force", help="Replace existing outputs.", rich_help_panel=COMMON)]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a stopped run ended.", rich_help_panel=COMMON)]
ModelName = Annotated[
    str,
    typer.Option(
        "-m",
        "--model",
        help="Model directory, or the name of a model that ships.",
        envvar="SEQMASK_MODEL",
        autocompletion=_models,
    ),
]
Overlap = Annotated[int, typer.Option(min=0, help="nt that windows of a long record share; about half of one at most.")]
Taxonomy = Annotated[
    Path | None,
    typer.Option(
        help="Folder of an NCBI taxdump (nodes.dmp, names.dmp): taxids of the label table name taxa.", metavar="DIR"
    ),
]
TrainSequences = Annotated[
    list[Path], typer.Argument(metavar="SEQS...", help="FASTA or FASTQ files, plain or compressed.")
]


def build(kind: type[Options], given: Mapping[str, Any], **computed: Any) -> Options:
    """The options object of a command from its parameters (`locals()`), by name.

    Each field of `kind`, and of its `Compute` if it has one, is taken from the parameter of the same name; `computed`
    replaces parameters whose value is not the field's. What is no field is left out. The --config itself is no file of
    the run: an output would replace it.
    """
    values = {**given, **computed}
    if "compute" in {field.name for field in fields(kind)}:
        values["compute"] = Compute(**_named(Compute, values))
    options = kind(**_named(kind, values))
    config = given.get("config")
    if config is not None and _names(options, config):
        raise typer.BadParameter(f"{config} is an input or output of this run, too", param_hint="--config")
    return options


def apart(log_file: Path | None, options: Any) -> Path | None:
    """The log file, which is appended to; UsageError where it is a file that the options name for something else."""
    if log_file is not None and _names(options, log_file, *getattr(options, "besides", ())):
        raise UsageError(f"--log-file {log_file} is an input or output of this run; give it a name of its own")
    return log_file


def _names(options: Any, file: Path, *more: str) -> bool:
    """Whether the options, or `more`, name this file, or it is one that a run writes or reads beside those."""
    from seqmask.commands.inputs import listed
    from seqmask.labels.taxonomy import FILES
    from seqmask.results.files import is_straight, same_file
    from seqmask.results.shard import SUFFIX

    if is_straight(file):
        return False
    named = [value for of in fields(options) for value in _paths(getattr(options, of.name))]
    named += [*more, *getattr(options, "derived", ())]
    if taxonomy := getattr(options, "taxonomy", None):
        named += [str(taxonomy / name) for name in FILES]
    if (listing := getattr(options, "infile_list", None)) and not is_straight(listing):  # a pipe is read once
        named += listed(listing)
    own = file.absolute()
    if any(own in (Path(path).absolute(), Path(path + SUFFIX).absolute()) for path in named):
        return True
    return file.exists() and any(same_file(file, path) for path in named)


def _paths(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [path for item in value for path in _paths(item)]
    return [str(value)] if isinstance(value, (str, Path)) else []


def prefix_of(text: str, option: str = "--output") -> str:
    """The PREFIX of outputs; a usage error for nothing, a folder (they would be hidden files) or a device."""
    from seqmask.results.files import is_straight

    if os.path.basename(text) in ("", ".", "..") or (is_straight(text) and not Path(text).is_dir()):
        raise typer.BadParameter(f"{text!r} is no prefix of file names; such as out/reads", param_hint=option)
    return text


def _named(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}


class Terminated(KeyboardInterrupt):
    """SIGTERM: as Ctrl-C, nothing half-written stays."""


class HungUp(KeyboardInterrupt):
    """SIGHUP: the terminal was closed."""


def terminated(*_: object) -> None:
    """Handler of SIGTERM."""
    raise Terminated


def hung_up(*_: object) -> None:
    """Handler of SIGHUP."""
    leave_terminal()
    raise HungUp


def call(run: Callable[[], T]) -> T:
    """Run a command; an expected error is one line on stderr and its exit code, a bug a traceback, logged too.

    Only in here SIGTERM and SIGHUP are exceptions: before, there is nothing to tidy up, and they may fall into an
    import.
    """
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminated)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hung_up)
    try:
        result = run()
        print(end="", flush=True)  # a full disk or a reader that has gone may show only now, and is told as any other
        return result
    except SeqmaskError as error:
        with contextlib.suppress(OSError):
            print(end="", flush=True)  # what was done before is told
        raise failed(str(error), error.exit_code) from error
    except BrokenPipeError as error:
        _leave_stdout()  # the reader has gone (`| head`): no message
        raise typer.Exit(1) from error
    except OSError as error:
        raise failed(f"{error.filename or 'input or output'}: {error.strerror or error}", 1) from error
    except Terminated as error:
        raise failed("terminated", 143) from error
    except HungUp as error:
        raise failed("the terminal was closed", 129) from error
    except KeyboardInterrupt as error:
        raise failed("interrupted", 130) from error
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        if _out_of_memory(error):
            found = (str(error).splitlines() or ["no more to be had"])[0]
            remedy = "try a smaller --batch-size, --device cpu, or shorter records"
            raise failed(f"out of memory: {found}; {remedy}", 1) from error
        said.exception("a bug in seqmask")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _out_of_memory(error: Exception) -> bool:
    """Python's and numpy's error, torch's of a GPU, and the one it has for the CPU, which has no class of its own."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: " in str(error)
    )


def _leave_stdout() -> None:
    """What stdout still holds goes nowhere: Python's own flush at exit would fail once more, or wait for ever."""
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())


def failed(message: str, code: int) -> typer.Exit:
    """What ends the run with this exit code, when its one line has been said."""
    _leave_stdout()
    print(f"seqmask: error: {message}", file=sys.stderr)
    said.error("error: %s", message)
    return typer.Exit(code)
