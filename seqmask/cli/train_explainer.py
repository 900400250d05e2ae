"""`seqmask train-explainer`: flags to options to one call."""

from pathlib import Path
from typing import Annotated

import typer

from seqmask.cli.common import (
    Config,
    Device,
    Force,
    LogFile,
    Precision,
    Quiet,
    Resume,
    Seed,
    Taxonomy,
    Threads,
    TrainSequences,
    Verbose,
    apart,
    build,
    call,
)
from seqmask.cli.settings import keep
from seqmask.config import ExplainerOptions

# The defaults that --help shows are those of `config`, their only home.
DEFAULTS = ExplainerOptions()


def train_explainer(
    ctx: typer.Context,
    sequences: TrainSequences,
    output: Annotated[Path, typer.Option("-o", "--output", help="Model directory to write (classifier included).")],
    classifier: Annotated[
        Path | None, typer.Option("--classifier", help="Classifier directory; it stays frozen.")
    ] = None,
    explainer: Annotated[
        str,
        typer.Option(
            "--explainer",
            help="Model whose classifier and Explainer to begin with; --steps 0 fits its thresholds and need anew.",
        ),
    ] = DEFAULTS.explainer,
    labels: Annotated[
        Path | None, typer.Option("-l", "--labels", help="Label table: its `split` column, and true classes.")
    ] = None,
    taxonomy: Taxonomy = None,
    layers: Annotated[
        int, typer.Option(min=0, help="0 = all of the classifier's.", rich_help_panel="Model")
    ] = DEFAULTS.layers,
    operator: Annotated[
        str, typer.Option(help="scale, blend or gate; empty = the classifier's own.", rich_help_panel="Model")
    ] = DEFAULTS.operator,
    force_operator: Annotated[
        bool, typer.Option("--force-operator", help="Go on although the self-test refuses it.", rich_help_panel="Model")
    ] = False,
    mask_per_rank: Annotated[
        bool, typer.Option("--mask-per-rank", help="One mask a rank instead of one for all.", rich_help_panel="Model")
    ] = False,
    frames: Annotated[
        int,
        typer.Option(
            min=0,
            help="k-mer frames that `mask` reads and averages, more are slower; 0 = 1, or as --explainer.",
            rich_help_panel="Model",
        ),
    ] = DEFAULTS.frames,
    target: Annotated[
        str, typer.Option(help="What the kept part must preserve: predicted, true or kl.", rich_help_panel="Objective")
    ] = DEFAULTS.target,
    named_share: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of sequences trained on another likely class.", rich_help_panel="Objective"
        ),
    ] = DEFAULTS.named_share,
    form: Annotated[
        str,
        typer.Option(
            help="budget: --target-area is kept. constrained: the smallest area that meets --sufficiency and "
            "--necessity. weighted: fixed weights, as in the paper.",
            rich_help_panel="Objective",
        ),
    ] = DEFAULTS.form,
    target_area: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.99,
            help="Expected share of kept nucleotides; 0 = 0.2, or as --explainer.",
            rich_help_panel="Objective",
        ),
    ] = DEFAULTS.target_area,
    sufficiency_bound: Annotated[
        float, typer.Option("--sufficiency", min=0, help="Constrained: at most, nats.", rich_help_panel="Objective")
    ] = DEFAULTS.sufficiency_bound,
    necessity_bound: Annotated[
        float, typer.Option("--necessity", min=0, help="Constrained: at most.", rich_help_panel="Objective")
    ] = DEFAULTS.necessity_bound,
    necessity_kind: Annotated[
        str,
        typer.Option(
            help="What the rest must not tell. class: the explained class; entropy: anything (the paper's); null: "
            "more than a hidden sequence does.",
            rich_help_panel="Objective",
        ),
    ] = DEFAULTS.necessity_kind,
    area_weight: Annotated[
        float, typer.Option(help="Of the kept area, or of what exceeds its budget.", rich_help_panel="Objective")
    ] = DEFAULTS.area_weight,
    necessity_weight: Annotated[
        float, typer.Option(help="Of what the rest still tells.", rich_help_panel="Objective")
    ] = DEFAULTS.necessity_weight,
    variation_weight: Annotated[
        float, typer.Option(help="Of changes between neighbouring tokens.", rich_help_panel="Objective")
    ] = DEFAULTS.variation_weight,
    bounds_weight: Annotated[
        float, typer.Option(help="Of areas outside 5 to 30 %.", rich_help_panel="Objective")
    ] = DEFAULTS.bounds_weight,
    soft: Annotated[
        bool, typer.Option("--soft", help="Soft products instead of sampled masks.", rich_help_panel="Objective")
    ] = False,
    steps: Annotated[int, typer.Option(min=0, help="Batches.", rich_help_panel="Training")] = DEFAULTS.steps,
    effects_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the steps that fit measured effects of single tokens; the others draw masks.",
            rich_help_panel="Training",
        ),
    ] = DEFAULTS.effects_share,
    effect_tokens: Annotated[
        int, typer.Option(min=2, help="Tokens a crop whose effects are measured.", rich_help_panel="Training")
    ] = DEFAULTS.effect_tokens,
    validations: Annotated[
        int, typer.Option(min=1, help="Candidates scored on val, beside the start.", rich_help_panel="Training")
    ] = DEFAULTS.validations,
    batch_tokens: Annotated[
        int, typer.Option(min=256, help="Tokens a batch, padding included.", rich_help_panel="Training")
    ] = DEFAULTS.batch_tokens,
    learning_rate: Annotated[
        float, typer.Option(min=0, max=10, help="Highest one.", rich_help_panel="Training")
    ] = DEFAULTS.learning_rate,
    weight_decay: Annotated[
        float, typer.Option(min=0, max=10, help="Of AdamW.", rich_help_panel="Training")
    ] = DEFAULTS.weight_decay,
    min_crop: Annotated[
        int, typer.Option(min=8, help="Shortest random crop, nt.", rich_help_panel="Training")
    ] = DEFAULTS.min_crop,
    validation_limit: Annotated[
        int, typer.Option(min=1, help="Sequences of val that score a candidate.", rich_help_panel="Training")
    ] = DEFAULTS.validation_limit,
    min_agreement: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of accuracy that the threshold keeps; 0 = 0.97, or as --explainer.",
            rich_help_panel="Training",
        ),
    ] = DEFAULTS.min_agreement,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="At most this much is lost when a run is stopped.", rich_help_panel="Training")
    ] = DEFAULTS.checkpoint_minutes,
    device: Device = DEFAULTS.compute.device,
    precision: Precision = DEFAULTS.compute.precision,
    threads: Threads = DEFAULTS.compute.threads,
    seed: Seed = DEFAULTS.seed,
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
    config: Config = None,
) -> None:
    """Train an Explainer for a frozen classifier.

    A self-test first refuses a masking operator that hides nothing.

    Example: seqmask train-explainer genomes.fasta.gz -l genomes.tsv.gz --classifier classifier -o model

    Thresholds for your own sequences: seqmask train-explainer own.fasta -l own.tsv --explainer ssu --steps 0 -o tuned
    """
    options = build(ExplainerOptions, locals())

    def run() -> None:
        from seqmask.commands.train_explainer import train_explainer as command
        from seqmask.terminal import Reporter, Terminal

        terminal = Terminal(quiet, verbose, apart(log_file, options))
        with Reporter(terminal) as reporter:
            report = command(options, reporter.progress, terminal.say)
        if report:  # of several processes the first one has it
            keep(ctx, output)

    call(run)
