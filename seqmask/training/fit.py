"""The one training loop, for the bag of k-mers, the classifier and the Explainer alike."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from seqmask.errors import InputError, SeqmaskError, StoppedError
from seqmask.models.checkpoint import write_tensors
from seqmask.progress import Progress
from seqmask.training.processes import anywhere, average_gradients, is_main, start_alike
from seqmask.training.signals import StopSignal

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)


class Objective(Protocol[B_contra]):
    """What is minimised. `trained` holds every parameter that the optimiser may touch, and no other."""

    @property
    def trained(self) -> nn.Module:
        """The module whose parameters that require a gradient are trained."""
        ...

    def loss(self, batch: B_contra, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise and the terms to log; progress in [0, 1) is the share of training done."""
        ...


@dataclass(slots=True)
class Schedule:
    """AdamW with linear warm-up and cosine decay to a twentieth."""

    steps: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.03  # share of the steps
    clip: float = 1.0  # gradient norm

    def factor(self, step: int) -> float:
        """Learning rate of a step relative to its peak."""
        warm = max(int(self.steps * self.warmup), 1)
        if step < warm:
            return (step + 1) / warm
        done = min((step - warm) / max(self.steps - warm, 1), 1.0)
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))


class Memory(Protocol):
    """What a run has found besides its weights, and must not forget when it is stopped: the best weights so far."""

    def stored(self) -> tuple[dict[str, Tensor], Any]:
        """Tensors by name, and what JSON can hold."""
        ...

    def restore(self, tensors: dict[str, Tensor], data: Any) -> None:
        """Take up what `stored` gave."""
        ...


@dataclass(slots=True)
class Checkpoints:
    """A single file that holds all of a run: weights, optimiser, step, logged rows, and what `memory` keeps.

    Written every few minutes, at a stop signal, and after the last step: what follows may be stopped, too.
    """

    path: Path | None = None
    minutes: float = 5.0
    resume: bool = False
    fingerprint: dict[str, Any] = field(default_factory=dict)  # a resumed run must have the same
    memory: Memory | None = None

    @property
    def waiting(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.resume and self.path is not None and self.path.exists()

    def begin(self) -> None:
        """Make the directory, and delete what an earlier run left, unless this one goes on from it. Of several
        processes the first one does.
        """
        if self.path is not None and is_main():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.resume:
                self.remove()

    def remove(self) -> None:
        """Delete the checkpoint of a finished run."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, float]]]:
        """Restore a run; returns the next step and the rows before it, 0 and none when there is nothing to resume."""
        if self.path is None or not self.waiting:
            return 0, []
        try:
            with safe_open(self.path, "pt") as handle:
                meta = json.loads(handle.metadata()["state"])
                tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        except Exception as error:
            raise InputError(
                self.path, f"not a readable checkpoint ({error})", remedy="delete it or leave out --resume"
            ) from error
        if meta["fingerprint"] != self.fingerprint:
            other = meta["fingerprint"]
            changed = [key for key in {**self.fingerprint, **other} if self.fingerprint.get(key) != other.get(key)]
            raise InputError(
                self.path,
                f"written with other options ({', '.join(changed)})",
                remedy="give the same options or leave out --resume",
            )
        module.load_state_dict(_within(tensors, "module."))
        state = optimizer.state_dict()
        state["state"] = {
            index: {key: tensors[f"optimizer.{index}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            for group in state["param_groups"]
            for index in group["params"]
            if f"optimizer.{index}.step" in tensors
        }
        optimizer.load_state_dict(state)
        told = json.loads(tensors["told"].numpy().tobytes()) if "told" in tensors else {"rows": []}
        if self.memory is not None and "memory" in told:
            self.memory.restore(_within(tensors, "memory."), told["memory"])
        return int(meta["step"]), told["rows"]

    def save(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, step: int, rows: list[dict[str, float]]
    ) -> None:
        """Write the checkpoint through a temporary name; step: the next one. Nothing where there is no path.

        Of several processes the first one writes; all of them read.
        """
        if self.path is None or not is_main():
            return
        kept, data = self.memory.stored() if self.memory is not None else ({}, None)
        # as bytes in a tensor: the header of a safetensors file has a limit, a long run's rows have none
        told = json.dumps({"rows": rows, "memory": data} if self.memory is not None else {"rows": rows}).encode()
        tensors = {"told": torch.frombuffer(bytearray(told), dtype=torch.uint8)}
        for prefix, held in (("module.", module.state_dict()), ("memory.", kept)):
            tensors |= {prefix + name: t.detach().cpu().contiguous() for name, t in held.items()}
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimizer.{index}.{key}"] = value.detach().cpu().contiguous()
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        state = json.dumps({"step": step, "fingerprint": self.fingerprint})
        try:
            write_tensors(temporary, tensors, {"state": state})
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)


def _within(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def fit(
    objective: Objective[B],
    batches: Callable[[int], Iterator[B]],
    schedule: Schedule,
    *,
    name: str = "training",
    size: Callable[[B], int] = lambda batch: 1,
    autocast: Callable[[], Any] | None = None,
    checkpoints: Checkpoints | None = None,
    rates: Callable[[str], float] = lambda parameter: 1.0,
    report: Callable[[Progress], None] = lambda progress: None,
    validate: Callable[[int], None] | None = None,
    validate_every: int = 0,
) -> list[dict[str, float]]:
    """Train; returns one row of logged terms a step, those before a resumed run's first step included.

    batches(first) yields the batches from step `first` on. autocast() is a context manager for the forward.
    rates(name): learning rate of a parameter relative to the schedule's.
    validate(step) is called every `validate_every` steps and after the last one.
    Raises SeqmaskError when the loss is not finite, and StoppedError when a signal, in any of the processes, asked to
    stop (after writing a checkpoint).
    """
    checkpoints = checkpoints or Checkpoints()
    module = objective.trained
    by_rate: dict[float, list[nn.Parameter]] = {}
    for parameter_name, parameter in module.named_parameters():
        if parameter.requires_grad:
            by_rate.setdefault(rates(parameter_name), []).append(parameter)
    parameters = [p for group in by_rate.values() for p in group]
    optimizer = torch.optim.AdamW(
        [{"params": group, "relative": rate} for rate, group in by_rate.items()], weight_decay=schedule.weight_decay
    )
    first, rows = checkpoints.load(module, optimizer)
    start_alike(module)
    began = saved = time.monotonic()
    done = 0
    with StopSignal() as stop:
        for step, batch in zip(range(first, schedule.steps), batches(first), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate * schedule.factor(step) * group["relative"]
            with autocast() if autocast else torch.enable_grad():
                loss, terms = objective.loss(batch, step / schedule.steps)
            if not torch.isfinite(loss):
                raise SeqmaskError(f"{name}: the loss is not finite at step {step}; try a lower --learning-rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            average_gradients(parameters)
            if not torch.isfinite(nn.utils.clip_grad_norm_(parameters, schedule.clip)):
                raise SeqmaskError(f"{name}: the gradient is not finite at step {step}; try a lower --learning-rate")
            optimizer.step()
            done += size(batch)
            now = time.monotonic()
            rows.append({"step": step, "loss": float(loss.detach()), **terms})
            left = (now - began) / (step + 1 - first) * (schedule.steps - step - 1)
            report(Progress(name, step + 1, schedule.steps, rows[-1], done / max(now - began, 1e-9), left))
            if validate and ((validate_every and (step + 1) % validate_every == 0) or step + 1 == schedule.steps):
                validate(step + 1)
            stopping = anywhere(bool(stop.by), loss.device)
            if stopping or now - saved > checkpoints.minutes * 60 or step + 1 == schedule.steps:
                checkpoints.save(module, optimizer, step + 1, rows)
                saved = now
            if stopping:
                anywhere(True, loss.device)  # nobody leaves before the checkpoint is whole
                raise _stopped(name, stop, step + 1)
        if anywhere(bool(stop.by), parameters[0].device):  # while the last checkpoint was written
            raise _stopped(name, stop, schedule.steps)
    return rows


def _stopped(name: str, stop: StopSignal, done: int) -> StoppedError:
    by = stop.by or "a signal to another process"
    return StoppedError(f"{name}: stopped by {by} after step {done}", stop.by == "SIGINT")
