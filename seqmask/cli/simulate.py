"""`seqmask simulate`: flags to options to one call."""

from pathlib import Path
from typing import Annotated

import typer

from seqmask.cli.common import Config, Force, LogFile, Quiet, Seed, apart, build, call, prefix_of
from seqmask.config import TASK_NAMES, SimulateOptions

# The defaults that --help shows are those of `config`, their only home.
DEFAULTS = SimulateOptions()
MOTIFS, BACKGROUND, SPLITS = "Motifs", "Background", "Splits"


def simulate(
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="PREFIX", help="Write PREFIX.fasta, PREFIX.tsv and PREFIX.truth.bed."),
    ],
    task: Annotated[str, typer.Option(help=f"What decides the class: {', '.join(TASK_NAMES)}.")] = DEFAULTS.task,
    sequences: Annotated[int, typer.Option("-n", "--sequences", help="Over all splits.")] = DEFAULTS.sequences,
    classes: Annotated[
        int, typer.Option(help='Classes of the finest rank, beside "negative" (no class\'s motifs).')
    ] = DEFAULTS.classes,
    groups: Annotated[int, typer.Option(help="Classes of the coarse rank (task nested).")] = DEFAULTS.groups,
    ranks: Annotated[
        str, typer.Option(help="Names of the coarse and the fine rank; only task nested has the coarse one.")
    ] = ",".join(DEFAULTS.ranks),
    length: Annotated[int, typer.Option(help="Mean length, nt.")] = DEFAULTS.length,
    length_spread: Annotated[
        int, typer.Option(help="Lengths are uniform within this many nt of the mean.")
    ] = DEFAULTS.length_spread,
    motif_min: Annotated[int, typer.Option(help="Shortest motif, nt.", rich_help_panel=MOTIFS)] = DEFAULTS.motif_min,
    motif_max: Annotated[int, typer.Option(help="Longest motif, nt.", rich_help_panel=MOTIFS)] = DEFAULTS.motif_max,
    max_instances: Annotated[
        int, typer.Option(help="A planted motif occurs 1 to this many times.", rich_help_panel=MOTIFS)
    ] = DEFAULTS.max_instances,
    motifs_per_class: Annotated[
        int, typer.Option(help="Task several: motifs of a class, two of them in a sequence.", rich_help_panel=MOTIFS)
    ] = DEFAULTS.motifs_per_class,
    decoy_motifs: Annotated[
        int, typer.Option(help="Different decoys: shuffled class motifs.", rich_help_panel=MOTIFS)
    ] = DEFAULTS.decoy_motifs,
    decoys: Annotated[
        int, typer.Option(help="Decoys in every sequence (task decoys: four times as many).", rich_help_panel=MOTIFS)
    ] = DEFAULTS.decoys,
    negatives: Annotated[
        float, typer.Option(help="Share of sequences without any class motif.", rich_help_panel=MOTIFS)
    ] = DEFAULTS.negatives,
    background: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SEQS",
            help="Fragments of these real sequences; may be repeated.",
            rich_help_panel=BACKGROUND,
        ),
    ] = None,
    markov: Annotated[
        bool, typer.Option("--markov", help="Markov chains fitted to --background instead.", rich_help_panel=BACKGROUND)
    ] = False,
    order: Annotated[
        int, typer.Option(help="Order of the Markov chains: 2 or 3.", rich_help_panel=BACKGROUND)
    ] = DEFAULTS.order,
    gc_bins: Annotated[
        int, typer.Option(help="Markov chains of different GC content.", rich_help_panel=BACKGROUND)
    ] = DEFAULTS.gc_bins,
    val: Annotated[float, typer.Option(help="Share of split val.", rich_help_panel=SPLITS)] = DEFAULTS.val,
    test: Annotated[float, typer.Option(help="Share of split test_species.", rich_help_panel=SPLITS)] = DEFAULTS.test,
    gzip: Annotated[bool, typer.Option("--gzip", help="Write PREFIX.fasta.gz.")] = False,
    seed: Seed = DEFAULTS.seed,
    force: Force = False,
    quiet: Quiet = False,
    log_file: LogFile = None,
    config: Config = None,
) -> None:
    """Sequences with planted motifs: FASTA, label table, and the truth as BED.

    For `train-classifier`, `train-explainer` and `evaluate --truth`. The same options and seed give the same files.

    Example: seqmask simulate --task nested -n 8000 -o nested
    """
    given = locals()

    def run() -> None:
        from seqmask.commands.simulate import simulate as command
        from seqmask.labels.tables import ID_COLUMNS, SPLIT_COLUMN
        from seqmask.terminal import Terminal

        if markov and not background:
            raise typer.BadParameter("needs --background: sequences to fit to", param_hint="--markov")
        kind = ("markov" if markov else "fragments") if background else DEFAULTS.background
        coarse, _, fine = ranks.partition(",")
        options = build(
            SimulateOptions,
            given,
            background=kind,
            sources=tuple(background or ()),
            ranks=(coarse.strip(), fine.strip()),
            output=prefix_of(output),
        )
        taken = (*ID_COLUMNS[: ID_COLUMNS.index("id") + 1], SPLIT_COLUMN)  # what wins over the column `id`, too
        if wrong := [rank for rank in options.ranks if rank.casefold() in taken]:
            raise typer.BadParameter(f"{wrong[0]} means something else in a label table", param_hint="--ranks")
        command(options, Terminal(quiet, log_file=apart(log_file, options)).say)

    call(run)
