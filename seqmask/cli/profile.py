"""`seqmask profile`: flags to options to one call."""

from pathlib import Path
from typing import Annotated

import typer

from seqmask.cli.common import (
    BatchSize,
    Config,
    Device,
    Force,
    LogFile,
    ModelName,
    Overlap,
    Precision,
    Quiet,
    Seed,
    Threads,
    Verbose,
    apart,
    build,
    call,
)
from seqmask.config import ProfileOptions

# The defaults that --help shows are those of `config`, their only home.
DEFAULTS = ProfileOptions()


def profile(
    sequences: Annotated[list[str], typer.Argument(metavar="SEQS...", help="FASTA or FASTQ; - is stdin.")],
    reference: Annotated[
        Path, typer.Option("-r", "--reference", help="FASTA with the sequence to align the others to.", metavar="FASTA")
    ],
    model: ModelName = DEFAULTS.model,
    regions: Annotated[
        str | None,
        typer.Option(help="Regions of the reference, or ecoli-16s for V1 to V9 of E. coli's 16S.", metavar="BED"),
    ] = None,
    labels: Annotated[Path | None, typer.Option("-l", "--labels", help="Label table, for --split.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the label table.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="A random sample of this many; 0 = all.")] = DEFAULTS.limit,
    min_identity: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out sequences less like the reference.")
    ] = DEFAULTS.min_identity,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Default: the model's own.")] = None,
    tsv: Annotated[
        Path, typer.Option(help="Table, a line a position and rank; - is stdout.", metavar="F")
    ] = DEFAULTS.tsv,
    plot: Annotated[Path | None, typer.Option(help="Figure: F.png, F.svg or F.pdf.", metavar="F")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the figures of the regions, and of the run, as JSON.", metavar="F")
    ] = None,
    overlap: Overlap = DEFAULTS.overlap,
    frames: Annotated[
        int, typer.Option(min=0, help="k-mer frames to read and average; 0 = the model's own number.")
    ] = DEFAULTS.frames,
    device: Device = DEFAULTS.compute.device,
    precision: Precision = DEFAULTS.compute.precision,
    batch_size: BatchSize = DEFAULTS.compute.batch_size,
    threads: Threads = DEFAULTS.compute.threads,
    seed: Seed = DEFAULTS.seed,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
    config: Config = None,
) -> None:
    """Where along a reference do the masks lie? Mean importance at each position over aligned sequences.

    Example: seqmask profile 16s.fasta.gz -m ssu -r ecoli.fasta --regions ecoli-16s --tsv profile.tsv --plot profile.png
    """
    options = build(ProfileOptions, locals())

    def run() -> None:
        from seqmask.commands.profile import profile as command
        from seqmask.terminal import Reporter, Terminal

        terminal = Terminal(quiet, verbose, apart(log_file, options))
        with Reporter(terminal) as reporter:
            report = command(options, terminal.say, reporter.records)
        for rank, kinds in (report["regions"] or {}).items():
            for kind, found in kinds.items():
                terminal.say(f"{rank} in {kind}: {enriched(found)}")

    call(run)


def enriched(found: dict[str, object]) -> str:
    """Importance inside a region over that outside, in words."""
    ratio, kept = found.get("ratio"), found.get("kept_ratio")
    if not isinstance(ratio, dict) or not isinstance(kept, dict):
        return "no sequence has a rest to compare with"
    ends = "{0[mean]:.2f} ({0[interval][0]:.2f}-{0[interval][1]:.2f})"
    return f"importance {ends.format(ratio)} of that outside, kept {ends.format(kept)}; {found['sequences']} sequences"
