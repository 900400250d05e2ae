"""The training loop: a resumed run is the run, a stop signal costs nothing, and nonsense ends it."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from seqmask.cli.common import terminated
from seqmask.errors import InputError, SeqmaskError, StoppedError
from seqmask.models.checkpoint import weights_sha256
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.progress import Progress
from seqmask.sequences.tokens import KmerTokenizer
from seqmask.training.dataset import Corpus, CropLaw, TrainingBatch, batches
from seqmask.training.fit import Checkpoints, Schedule, fit
from seqmask.training.objectives import ClassifierObjective
from seqmask.training.signals import stoppable

STEPS = 14
TOKENIZER = KmerTokenizer(3, 3)
CPU = torch.device("cpu")


def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), int(n))) for n in rng.integers(20, 90, 40)]
    return Corpus.of(texts, rng.integers(-1, 2, (40, 2)))


def objective(seed: int = 1) -> ClassifierObjective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(configuration("tiny", TOKENIZER.vocabulary_size, 24), (2, 2), "blend")
    return ClassifierObjective(network, 0.5, 1, CPU)


def stream(first: int) -> Iterator[TrainingBatch]:
    # Small enough that an epoch ends within the run
    return batches(corpus(), TOKENIZER, CropLaw(20, 72), 24, 120, 1, first)


def train(checkpoints: Checkpoints | None = None, **options: Any) -> tuple[str, list[dict[str, float]]]:
    of = objective()
    rows = fit(of, stream, Schedule(STEPS, 3e-3), checkpoints=checkpoints, **options)
    return weights_sha256(of.trained), rows


class Stop(Exception):
    """Power failure."""


def stop_at(step: int) -> Any:
    def report(progress: Progress) -> None:
        if progress.step == step:
            raise Stop

    return report


@pytest.fixture(scope="module")
def whole() -> tuple[str, list[dict[str, float]]]:
    """The run that nobody disturbed."""
    return train()


def test_the_run_learns(whole: tuple[str, list[dict[str, float]]]) -> None:
    assert whole[0] != weights_sha256(objective().trained)
    assert [row["step"] for row in whole[1]] == list(range(STEPS))
    kinds = {key.split("_")[0] for row in whole[1] for key in row}
    assert {"full", "masked"} <= kinds, "both kinds of batches must occur for the tests below to mean anything"


@pytest.mark.parametrize("at", [2, 7, STEPS])
def test_resume_gives_exactly_the_same_weights(
    tmp_path: Path, whole: tuple[str, list[dict[str, float]]], at: int
) -> None:
    """Stopped in step `at`: the checkpoint is that of the step before."""
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stop):
        train(Checkpoints(path, minutes=0), report=stop_at(at))
    steps: list[int] = []
    digest, rows = train(Checkpoints(path, minutes=1e9, resume=True), report=lambda done: steps.append(done.step))
    assert digest == whole[0]
    assert rows == whole[1], "the rows of the steps before are those of the stopped run"
    assert steps == list(range(at, STEPS + 1)), "no step is done twice"


def test_without_resume_a_checkpoint_is_not_looked_at(
    tmp_path: Path, whole: tuple[str, list[dict[str, float]]]
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"of an older run")
    digest, rows = train(Checkpoints(path, minutes=1e9))
    assert (digest, len(rows)) == (whole[0], STEPS)


def test_resume_without_a_checkpoint_begins(tmp_path: Path, whole: tuple[str, list[dict[str, float]]]) -> None:
    checkpoints = Checkpoints(tmp_path / "none", resume=True)
    assert not checkpoints.waiting
    assert train(checkpoints)[0] == whole[0]


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGHUP", 75), ("SIGINT", 130)])
def test_a_signal_writes_a_checkpoint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    whole: tuple[str, list[dict[str, float]]],
    number: str,
    code: int,
) -> None:
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # the tests run under nohup, which a training respects
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        request.addfinalizer(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    path = tmp_path / "checkpoint.safetensors"
    left: list[None] = []
    monkeypatch.setattr("seqmask.training.signals.leave_terminal", lambda: left.append(None))  # this one is in use

    def report(progress: Progress) -> None:
        if progress.step == 5:
            os.kill(os.getpid(), signal.Signals[number])

    before = signal.getsignal(signal.Signals[number])
    with pytest.raises(StoppedError, match=rf"stopped by {number} after step 5; go on with --resume") as caught:
        train(Checkpoints(path, minutes=1e9), report=report)
    assert caught.value.exit_code == code
    assert len(left) == (number == "SIGHUP")
    assert signal.getsignal(signal.Signals[number]) is before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert train(Checkpoints(path, minutes=1e9, resume=True)) == whole


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one says that, and what it waits for."""
    said: list[str] = []
    monkeypatch.setattr("seqmask.training.signals.log.warning", said.append)

    def report(progress: Progress) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(Checkpoints(tmp_path / "checkpoint.safetensors", minutes=1e9), report=report)
    (line,) = said
    assert line.startswith("stopping after this step, with a checkpoint; once more Ctrl-C")


def test_stopped_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing half-written is left, and the checkpoint before it stays."""
    path = tmp_path / "checkpoint.safetensors"
    train(Checkpoints(path, minutes=1e9))
    stored = path.read_bytes()

    def stopped(name: Path, tensors: Any, metadata: Any) -> None:
        name.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("seqmask.training.fit.write_tensors", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(Checkpoints(path, minutes=0))
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == stored


def test_an_ignored_interrupt_stays_ignored() -> None:
    """As of a job in the background of a shell script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert len(train(report=lambda progress: signal.raise_signal(signal.SIGINT))[1]) == STEPS
    finally:
        signal.signal(signal.SIGINT, before)


def test_after_the_last_step_there_is_a_checkpoint(tmp_path: Path, whole: tuple[str, list[dict[str, float]]]) -> None:
    """What follows may be stopped, too: resumed, nothing is trained again."""
    path = tmp_path / "checkpoint.safetensors"
    train(Checkpoints(path, minutes=1e9))
    steps: list[int] = []
    assert train(Checkpoints(path, resume=True), report=lambda progress: steps.append(progress.step)) == whole
    assert not steps


def test_a_signal_while_the_last_checkpoint_is_written_is_not_lost(
    tmp_path: Path, whole: tuple[str, list[dict[str, float]]]
) -> None:
    """Or training would go on with its next part."""

    class Signalled(Checkpoints):
        def save(self, *of: Any) -> None:
            signal.raise_signal(signal.SIGTERM)
            super().save(*of)

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(StoppedError, match=f"stopped by SIGTERM after step {STEPS}"):
        train(Signalled(path, minutes=1e9))
    assert train(Checkpoints(path, resume=True)) == whole


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 75), ("SIGUSR1", 75)])
def test_stopped_between_steps(number: str, code: int) -> None:
    """While it reads or scores. With the handler of SIGTERM that the command line has."""
    before = {name: signal.getsignal(signal.Signals[name]) for name in ("SIGTERM", "SIGUSR1")}
    signal.signal(signal.SIGTERM, terminated)
    try:
        expected = pytest.raises(StoppedError, match="training: stopped; go on with --resume")
        with expected as caught, stoppable():
            signal.raise_signal(signal.Signals[number])
        assert caught.value.exit_code == code
        assert signal.getsignal(signal.SIGUSR1) is before["SIGUSR1"]
    finally:
        signal.signal(signal.SIGTERM, before["SIGTERM"])


def test_an_ignored_signal_stays_ignored() -> None:
    """As a job script's `trap '' USR1` asks."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with stoppable():
            signal.raise_signal(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_other_options_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    options = {"seed": 1, "learning_rate": 1e-3, "ranks": ["domain", "genus"], "k": 6}
    with pytest.raises(Stop):
        train(Checkpoints(path, minutes=0, fingerprint=options), report=stop_at(3))
    stored = path.read_bytes()
    for name, value in (("learning_rate", 2e-3), ("ranks", ["genus"])):
        other = Checkpoints(path, minutes=0, resume=True, fingerprint=options | {name: value})
        with pytest.raises(InputError, match=rf"written with other options \({name}\); give the same options"):
            train(other)
    assert path.read_bytes() == stored
    with pytest.raises(Stop):  # goes on with the third step
        train(Checkpoints(path, minutes=1e9, resume=True, fingerprint=dict(options)), report=stop_at(3))


class Best:
    """The weights of the step with the smallest loss so far, as a memory."""

    def __init__(self) -> None:
        self.loss, self.weights = float("inf"), torch.zeros(0)

    def look(self, module: nn.Module, row: dict[str, float]) -> None:
        if row["loss"] < self.loss:
            self.loss, self.weights = row["loss"], module.head.bias.detach().clone()

    def stored(self) -> tuple[dict[str, Tensor], Any]:
        return {"module.odd name": self.weights}, {"loss": self.loss, "nothing": float("nan")}

    def restore(self, tensors: dict[str, Tensor], data: Any) -> None:
        assert list(tensors) == ["module.odd name"]
        self.loss, self.weights = data["loss"], tensors["module.odd name"]


def test_what_was_found_before_the_stop_is_remembered(tmp_path: Path) -> None:
    """A stop at any step, with the best step before or after it."""

    def run(best: Best, checkpoints: Checkpoints, stop: int = 0) -> None:
        of = objective()

        def report(progress: Progress) -> None:
            best.look(of.trained, progress.terms)
            if progress.step == stop:
                raise Stop

        fit(of, stream, Schedule(STEPS, 3e-2), checkpoints=checkpoints, report=report)

    whole = Best()
    run(whole, Checkpoints())
    for at in range(2, STEPS + 1):
        path = tmp_path / f"{at}.safetensors"
        with pytest.raises(Stop):
            run(before := Best(), Checkpoints(path, minutes=0, memory=before), at)
        run(after := Best(), Checkpoints(path, minutes=1e9, resume=True, memory=after))
        assert after.loss == whole.loss
        assert torch.equal(after.weights, whole.weights)


def test_a_checkpoint_without_rows_or_memory_can_be_resumed(
    tmp_path: Path, whole: tuple[str, list[dict[str, float]]]
) -> None:
    """Those of an earlier version hold weights, optimiser and step alone."""
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stop):
        train(Checkpoints(path, minutes=0), report=stop_at(6))
    with safe_open(path, "pt") as handle:
        held, meta = {name: handle.get_tensor(name) for name in handle.keys()}, handle.metadata()  # noqa: SIM118
    del held["told"]
    save_file(held, path, metadata=meta)
    digest, rows = train(Checkpoints(path, minutes=1e9, resume=True, memory=Best()))
    assert (digest, rows) == (whole[0], whole[1][5:])


@pytest.mark.parametrize("data", [b"", b"not a checkpoint", b"\x08" + bytes(15)])
def test_a_broken_checkpoint_is_an_input_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"not a readable checkpoint.*leave out --resume"):
        train(Checkpoints(path, resume=True))


def test_remove(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.touch()
    Checkpoints(path).remove()
    assert not path.exists()
    Checkpoints(path).remove()
    Checkpoints().remove()


class Line(nn.Module):
    """y = weight * x, and a parameter that nobody may touch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.0))
        self.frozen = nn.Parameter(torch.tensor(3.0), requires_grad=False)


class Toy:
    """(weight - target)^2; loss_at makes the loss of one step what it is not."""

    def __init__(self, wrong: dict[int, float] | None = None) -> None:
        self.trained, self.wrong, self.progress, self.steep = Line(), wrong or {}, [], -1

    def loss(self, batch: int, progress: float) -> tuple[Tensor, dict[str, float]]:
        self.progress.append(progress)
        loss = (self.trained.weight - 2.0).square()
        if self.steep == batch:  # finite, but for its slope: sqrt at 0
            loss = loss + (self.trained.weight * 0).sqrt().sum()
        return loss * self.wrong.get(batch, 1.0), {"weight": float(self.trained.weight.detach())}


def test_a_gradient_that_is_not_finite_ends_the_run() -> None:
    """Clipped to a norm of nan every weight would be nan."""
    toy = Toy()
    toy.steep = 4
    with pytest.raises(SeqmaskError, match=r"toy: the gradient is not finite at step 4; try a lower --learning-rate"):
        fit(toy, itertools.count, Schedule(10, 0.1), name="toy")
    assert torch.isfinite(toy.trained.weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run(value: float, tmp_path: Path) -> None:
    toy = Toy({4: value})
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(SeqmaskError, match=r"toy: the loss is not finite at step 4; try a lower --learning-rate"):
        fit(toy, itertools.count, Schedule(10, 0.1), name="toy", checkpoints=Checkpoints(path, minutes=1e9))
    assert torch.isfinite(toy.trained.weight), "the weights of the step before are still there"
    assert not path.exists()


def test_learns_and_leaves_frozen_parameters_alone() -> None:
    toy = Toy()
    rows = fit(toy, itertools.count, Schedule(100, 0.1, weight_decay=0.0))
    assert float(toy.trained.weight.detach()) == pytest.approx(2.0, abs=0.05)
    assert float(toy.trained.frozen) == 3.0
    assert rows[0]["loss"] == 4.0
    assert toy.progress == [step / 100 for step in range(100)]


def test_validates_every_so_often_and_at_the_end() -> None:
    seen: list[int] = []
    fit(Toy(), itertools.count, Schedule(10, 0.1), validate=seen.append, validate_every=4)
    assert seen == [4, 8, 10]


def test_reports_every_step() -> None:
    seen: list[Progress] = []
    fit(Toy(), itertools.count, Schedule(3, 0.1), name="toy", size=lambda batch: 8, report=seen.append)
    assert [(p.name, p.step, p.steps) for p in seen] == [("toy", 1, 3), ("toy", 2, 3), ("toy", 3, 3)]
    assert seen[-1].seconds_left == 0
    assert seen[-1].rate > 0
    assert {"step", "loss", "weight"} == set(seen[0].terms)


def test_batches_that_end_early_end_the_run() -> None:
    assert len(fit(Toy(), lambda first: iter(range(first, 4)), Schedule(10, 0.1))) == 4


def test_schedule() -> None:
    """Linear to the peak in the first 3 %, then down a cosine to a twentieth."""
    factors = [Schedule(1000, 1.0).factor(step) for step in range(1000)]
    assert factors[:3] == pytest.approx([1 / 30, 2 / 30, 3 / 30])
    assert max(factors) == factors[29] == 1.0
    assert all(a >= b for a, b in itertools.pairwise(factors[30:]))
    assert factors[-1] == pytest.approx(0.05, abs=1e-4)
    assert Schedule(1, 1.0).factor(0) == 1.0


def heads_slowly(name: str) -> float:
    return 0.1 if name.startswith("head") else 1.0


def test_parameters_can_learn_at_rates_of_their_own(tmp_path: Path) -> None:
    """Adam's first step is as long as the learning rate, whatever the gradient; a resumed run keeps the rates."""
    of = objective()
    before = {name: p.detach().clone() for name, p in of.trained.named_parameters()}
    fit(of, stream, Schedule(1, 0.1, weight_decay=0.0), rates=heads_slowly)
    moved = {name: float((p.detach() - before[name]).abs().max()) for name, p in of.trained.named_parameters()}
    assert moved["encoder.embeddings.position_embeddings.weight"] == pytest.approx(0.1, rel=1e-3)
    assert moved["head.weight"] == moved["head.bias"] == pytest.approx(0.01, rel=1e-3)

    undisturbed, _ = train(rates=heads_slowly)
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stop):
        train(Checkpoints(path, minutes=0), rates=heads_slowly, report=stop_at(6))
    assert train(Checkpoints(path, resume=True), rates=heads_slowly)[0] == undisturbed
