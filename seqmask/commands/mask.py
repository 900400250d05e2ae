"""`seqmask mask`: records in, annotated FASTA, BED, TSV and HDF5 out."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqmask.commands.inputs import listed
from seqmask.commands.portion import part_of, plan, portion, share_of
from seqmask.commands.report import mask_report, small_files
from seqmask.commands.resuming import all_there, decisive, is_shard, kept, nothing_more, recovery
from seqmask.commands.target import by_rank, named_classes
from seqmask.config import Compute, MaskOptions
from seqmask.errors import UsageError, brief
from seqmask.inference.device import describe, options_of, token_budget
from seqmask.inference.engine import Engine, no_pulse
from seqmask.inference.explain import explain_pool, pooled
from seqmask.inference.recordings import Recordings
from seqmask.inference.stages import Stages
from seqmask.labels.ranks import UNKNOWN
from seqmask.models.bert import Bert
from seqmask.models.bundled import resolve
from seqmask.models.checkpoint import Model, load_model
from seqmask.results.journal import ended, stopped
from seqmask.results.predictions import VERDICTS
from seqmask.results.recovery import check_resumable
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.explanations import Explanations, Status
from seqmask.sequences.meter import Meter
from seqmask.sequences.records import check_inputs, read
from seqmask.sequences.windows import frame_offsets
from seqmask.version import version

FIRST_NAMES = 1000


@dataclass(slots=True)
class Tally:
    """What went by in this run. nucleotides: of all records; share: of the input that so many records are, if known;
    repeated: a name that came twice, if one was found; windows: that networks have read, each several times.
    """

    statuses: Counter[Status] = field(default_factory=Counter)
    nucleotides: int = 0
    share: Callable[[int], float | None] = lambda records: None
    began: float = field(default_factory=time.monotonic)
    repeated: str = ""
    first: set[str] = field(default_factory=set)  # names that later ones are held against
    windows: int = 0
    last: float = field(default_factory=time.monotonic)  # when records were counted last: a whole pool at once

    @property
    def records(self) -> int:
        """Records so far."""
        return sum(self.statuses.values())

    def add(self, explanations: Explanations) -> None:
        """Count these records."""
        self.last = time.monotonic()  # before the counts: another thread may show a rate meanwhile
        counts = np.bincount(explanations.status).tolist()
        self.statuses.update({Status(status): count for status, count in enumerate(counts) if count})
        self.nucleotides += sum(len(record.sequence) for record in explanations.records)
        if not self.repeated:
            self._look_for_repeated([record.name for record in explanations.records])

    def _look_for_repeated(self, names: list[str]) -> None:
        """Among themselves and the first of the run: finds mates of pairs, in one file or two, and files given twice,
        and no set of names grows with the input.
        """
        if len(set(names)) < len(names):
            self.repeated = Counter(names).most_common(1)[0][0]
        elif not self.first.isdisjoint(names):
            self.repeated = next(name for name in names if name in self.first)
        self.first.update(names[: max(FIRST_NAMES - len(self.first), 0)])

    @property
    def seconds(self) -> float:
        """Since the first record was asked for."""
        return max(time.monotonic() - self.began, 1e-9)

    @property
    def counted(self) -> float:
        """Seconds that the records so far took: rates of a run that is amid a pool are of these."""
        return max(self.last - self.began, 1e-9)

    @property
    def progress(self) -> str:
        """One line with the time that is left, where it can be known.

        Records count when they are written, thousands of windows together: windows show that there is work until then.
        """
        if not self.records:
            return f"{self.windows} windows read, no record finished yet, {self.seconds:.1f} s"
        summary = f"{self.summary}, {self.windows} windows read" if self.windows else self.summary
        done = self.share(self.records)
        if not done:
            return summary
        left = max(self.counted / done - self.seconds, 0.0)
        return f"{summary}, {done:.0%}, {left / 60:.1f} min left"

    @property
    def summary(self) -> str:
        """One line."""
        seconds = self.seconds
        counts = ", ".join(f"{status.name} {count}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.records} records ({counts or 'no records'}), {self.nucleotides} nt in {seconds:.1f} s: "
            f"{self.records / self.counted:.0f} records/s"
        )


def mask(options: MaskOptions, say: Callable[[str], None], report: Callable[[Tally], None]) -> Tally:
    """Mask every record. Raises before any work what the options, the model or the targets make impossible."""
    options = replace(options, check=options.check or options.smallest)
    check_smallest(options.smallest, options.threshold)
    paths = Paths(options.fasta, options.bed, options.tsv, options.hdf5)
    first = next(iter(paths.given().values()))
    whole = ended(first) if options.resume else None
    reads = [*options.reads, *listed(options.infile_list)]
    listing = [options.infile_list] if options.infile_list else []
    extras = [*small_files(options), *(paths.beside().values() if options.shard else ())]
    refuse = partial(paths.check, options.force, extras=extras, resume=options.resume, inputs=[*reads, *listing])
    again = options.resume and bool(options.shard) and all_there(paths, extras)
    if whole is not None:  # some outputs may have their names already
        check_resumable(paths.given())
    elif not again:
        refuse()
    left = stopped(first) if options.resume else 0
    check_inputs([*reads, *listing])
    part = part_of(options.shard, reads) if options.shard else None
    directory = resolve(options.model)
    model, engine = load(directory, options.compute, options.frames)
    if engine.device.type == "cuda":
        ready(model, engine)
    tau = model.threshold if options.threshold is None else options.threshold
    ranks = model.classifier.ranks
    named = named_classes(options.target, ranks)
    where = describe(engine.device, engine.precision)
    say(f"{where}, {engine.budget} tokens a batch; model {directory.name}, tau {tau:.3f}")
    target = by_rank(named, ranks)
    if target:
        say(f"masks explain {', '.join(map(' '.join, target.items()))}, whatever is predicted")
    frames = frames_of(options.frames, model, say)
    facts = metadata(model, engine, tau, options.seed, target) | {"frames": frames, "overlap": options.overlap}
    if options.smallest:
        facts["smallest"] = True
    run = decisive(facts, options, frames)
    shard = plan(*part, reads, model.classifier, options.overlap, frames, options.smallest, run) if part else None
    if shard is not None:
        say(f"shard {shard.name}: records {shard.start} to {shard.stop} of {shard.total}")
        facts["shard"] = shard.to_json()
        if again and is_shard(paths, shard):
            say("its outputs are there, whole, of the same input and options: nothing to do")
            return Tally()
        if again:
            refuse()
    going_on = recovery(paths, options, run)
    if whole is not None and going_on is not None:
        nothing_more(portion(read(reads), shard, whole))
        going_on.complete(paths.given())
        say("the stopped run had come to its end: its outputs have their names now")
        return Tally()
    tally = Tally()
    outputs = Outputs(
        paths,
        ranks,
        style_of(options, tau, model.explainer.tracks, named),
        metadata=facts,
        force=options.force,
        extras=small_files(
            options, lambda counts: mask_report(options, directory.name, facts, counts, tally.seconds, tally.records)
        ),
        shard=shard,
        recovery=going_on,
    )
    with outputs, kept(outputs, left, say):
        meter = Meter(reads)
        numbered = portion(meter.counted(read(reads, meter.opened)), shard, outputs.resumed)
        tally.share = share_of(meter, shard, outputs.resumed.records)
        stages = Stages(
            pooled(numbered, model.classifier, options.overlap, frames, options.smallest),
            lambda pool: explain_pool(pool, model, engine, options.check, tau, named, options.smallest),
            abreast=2 if engine.device.type == "cuda" else 1,
        )
        report(tally)
        with pulsing(engine, lambda windows: beat(windows, stages, outputs, tally, report)):
            stages.run(lambda explanations: write(explanations, outputs, tally, report))
    say(tally.summary)
    for line in remarks(outputs, ranks.names, options.min_confidence):
        say(line)
    if tally.repeated:
        say(
            f"names come more than once, as {brief(tally.repeated)} does: by name such records can not be told apart "
            "(records/index of the HDF5 file numbers them)"
        )
    return tally


@contextlib.contextmanager
def pulsing(engine: Engine, pulse: Callable[[int], None]) -> Iterator[None]:
    """Tell stages of each batch of the engine; not beyond the block, or both would keep each other, and GPU memory."""
    engine.pulse = pulse
    try:
        yield
    finally:
        engine.pulse = no_pulse


def beat(
    windows: int,
    stages: Stages[Any, Any],
    outputs: Outputs,
    tally: Tally,
    report: Callable[[Tally], None],
) -> None:
    """After each batch: count the windows, report where the run is. Raises what ends the run: another stage has
    failed, nobody reads what is written.
    """
    stages.pulse()
    outputs.check_readers()
    tally.windows += windows
    report(tally)


def write(explanations: Explanations, outputs: Outputs, tally: Tally, report: Callable[[Tally], None]) -> None:
    """Write the records of a pool, count them, and report where the run is."""
    outputs.write_all(explanations)
    tally.add(explanations)
    report(tally)


def style_of(options: MaskOptions, tau: float, tracks: int, named: NDArray[np.int64]) -> Style:
    """How the outputs are written. The rank that they show is the finest, or the finest with a named class (R,)."""
    ranks = np.flatnonzero(named != UNKNOWN)
    return Style(
        tau=tau,
        rank=int(ranks[-1]) if len(ranks) else -1,
        token_tracks=tracks,
        hard_mask=options.hard_mask,
        check=options.check,
        full_precision=options.full_precision,
        min_confidence=options.min_confidence,
    )


def remarks(outputs: Outputs, ranks: Sequence[str], min_confidence: float) -> Iterator[str]:
    """What else is to be said of the predictions, if anything: what `--check` found, a rank; doubtful classes."""
    verdicts = {rank: found for rank, found in outputs.counts.verdicts.items() if found}
    if verdicts:
        told = (
            f"{rank} " + ", ".join(f"{name} {found[name]}" for name in VERDICTS if name)
            for rank, found in verdicts.items()
        )
        yield f"check: {'; '.join(told)}"
    if outputs.unclassified.any():
        counts = ", ".join(f"{name} {n}" for name, n in zip(ranks, outputs.unclassified.tolist(), strict=True))
        yield f"unclassified, confidence below {min_confidence:g}: {counts}"
    if outputs.inconsistent:
        yield (
            f"{outputs.inconsistent} records with classes that never stand together in the training labels: "
            "at most one of them is right (column inconsistent of the TSV)"
        )


def check_smallest(smallest: bool, threshold: float | None) -> None:
    """Raise UsageError where both are asked for: --smallest moves each record's mask to the model's threshold."""
    if smallest and threshold is not None:
        raise UsageError("--threshold and --smallest: each is a way to say how much is kept; leave out one of them")


def load(directory: Any, compute: Compute, frames: int = 0) -> tuple[Model, Engine]:
    """A model on its device, and the engine that runs it. frames: in how many records are read, 0 = the model's own."""
    device, precision = options_of(compute)
    model = load_model(directory)
    model.read_in(frames)
    model.classifier.network.to(device)
    model.explainer.to(device)
    return model, Engine(device, precision, token_budget(device, model.classifier.network.config), compute.batch_size)


def frames_of(asked: int, model: Model, say: Callable[[str], None]) -> int:
    """In how many frames records are read, 0 = the model's own number. Says where there are not so many, or where the
    threshold is for fewer.
    """
    frames = len(frame_offsets(model.classifier.tokenizer.stride, asked or model.frames))
    if frames < asked:
        say(f"--frames {asked}: of these tokens there are {frames}")
    if frames > model.frames:
        say(f"--frames {frames}: the threshold was chosen for {model.frames}; of more frames more is kept")
    return frames


def ready(model: Model, engine: Engine) -> None:
    """For a GPU, encoders of our own: their steps are recorded, and with bf16 they are held in bfloat16.

    Others are launched batch by batch, under autocast: they may ask the device within a step, and keep buffers, such as
    rotary frequencies, that would lose what they are for.
    """
    if all(isinstance(encoder, Bert) for encoder in encoders(model)):
        engine.recordings = Recordings()
    if engine.precision == "bf16":
        lower(model)


def lower(model: Model) -> None:
    """Hold our own encoders in bfloat16; heads and masks stay in float32."""
    for encoder in encoders(model):
        if isinstance(encoder, Bert):
            encoder.lower()


def encoders(model: Model) -> tuple[Any, Any]:
    """The classifier's and the Explainer's."""
    return model.classifier.network.encoder, model.explainer.encoder


def metadata(
    model: Model, engine: Engine, tau: float, seed: int, target: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What the HDF5 file says of its making. target: the named classes by rank."""
    named = {"target": json.dumps(target, ensure_ascii=False)} if target else {}
    return named | {
        "tool": "seqmask",
        "tool_version": version(),
        "command": sys.argv,
        "classifier_sha256": model.classifier.sha256,
        "explainer_sha256": model.sha256,
        "tokenizer_sha256": model.classifier.tokenizer.sha256,
        "operator": model.operator,
        "threshold": tau,
        "device": str(engine.device),
        "dtype": engine.precision,
        "seed": seed,
    }
