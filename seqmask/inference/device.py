"""Devices, threads and precision."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from seqmask.config import Compute
from seqmask.errors import SeqmaskError, UsageError
from seqmask.inference.batches import CPU_CACHE, CPU_TOKENS, GPU_TOKENS

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc

NOTABLE = 1.2  # the factor from which a half precision counts as faster or slower than fp32
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU; a named device that is not there is an error.

    `cpu` never touches CUDA.
    """
    if name == "cpu":
        return torch.device("cpu")
    unknown = UsageError(f"--device {name}: no such device; expected auto, cpu, cuda, cuda:N or mps")
    try:
        wanted = torch.device("cpu" if name == "auto" else name)
    except RuntimeError as error:
        raise unknown from error
    if wanted.type not in ("cpu", "cuda", "mps"):  # torch knows more, such as `meta`
        raise unknown
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if wanted.type == "cuda" and (not torch.cuda.is_available() or (wanted.index or 0) >= torch.cuda.device_count()):
        raise SeqmaskError(f"--device {name}: no such CUDA device; use --device cpu or auto")
    if wanted.type == "mps" and not torch.backends.mps.is_available():
        raise SeqmaskError("--device mps: not available here; use --device cpu or auto")
    return wanted


def set_threads(threads: int) -> None:
    """CPU threads of torch; 0 leaves its choice (all cores, or OMP_NUM_THREADS)."""
    if threads > 0:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Have the C library's malloc keep what is freed: for training, where each step allocates anew what the last freed.

    glibc returns large arrays to the system at once, and every page that it gets back is a fault: half of the time of a
    bag of k-mers. The most that was ever needed stays taken. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(parameter, 2**31 - 1)


def resolve_precision(name: str, device: torch.device) -> str:
    """`auto` (training only): bf16 on CUDA; on the CPU bf16 only where a timed product is at least 1.2 times faster."""
    if name != "auto":
        if name not in ("fp32", *_DTYPES):
            raise UsageError(f"--precision {name}: expected fp32, bf16 or fp16")
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device.type != "cpu" or os.environ.get("SEQMASK_NO_BF16"):
        return "fp32"
    return "bf16" if times_fp32("bf16") < 1 / NOTABLE else "fp32"


@functools.cache
def times_fp32(precision: str) -> float:
    """How long a product takes on this CPU in a half precision, in single precision 1: above 1 where it is emulated."""
    return _product_seconds(_DTYPES[precision]) / _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype) -> float:
    layer = torch.nn.Linear(256, 1024, bias=False).to(dtype)
    rows = torch.randn(4096, 256, dtype=dtype)
    times = []
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            layer(rows)
            times.append(time.perf_counter() - began)
    return min(times)


def autocast(precision: str, device: torch.device) -> Callable[[], Any]:
    """A factory of context managers for the forward pass."""
    if precision == "fp32":
        return contextlib.nullcontext
    return lambda: torch.autocast(device.type, dtype=_DTYPES[precision])


def on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Within it what names no device of its own, such as a stream or a kernel, belongs to this one, in this thread."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def token_budget(device: torch.device, config: Mapping[str, Any]) -> int:
    """Tokens a batch for an encoder of this configuration: what stays in a CPU's cache, or half of a GPU's free memory.

    A token takes some eight states and two feed-forward activations of a layer, in float32. Where that is too little,
    the engine halves the budget.
    """
    width = int(config["hidden_size"])
    inner = int(config.get("intermediate_size") or 4 * width)
    if device.type == "cpu":
        return min(CPU_TOKENS, CPU_CACHE // (4 * inner))
    if device.type != "cuda":
        return GPU_TOKENS
    free, _ = torch.cuda.mem_get_info(device)
    return max(min(GPU_TOKENS, free // 2 // (4 * (8 * width + 2 * inner))), 1)


def describe(device: torch.device, precision: str) -> str:
    """`cpu (2 threads), fp32`, or the GPU's name and memory; says where a half precision is slower than single."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB), {precision}"
    if device.type != "cpu":
        return f"{device}, {precision}"
    slower = times_fp32(precision) if precision in _DTYPES else 1.0
    note = f" (a product takes {slower:.1f} times as long as in fp32 on this CPU)"
    return f"cpu ({torch.get_num_threads()} threads), {precision}{note if slower > NOTABLE else ''}"


def options_of(compute: Compute) -> tuple[torch.device, str]:
    """Apply threads, choose device and precision."""
    set_threads(compute.threads)
    device = choose_device(compute.device)
    if device.type == "cuda":  # cuDNN's attention is built anew, for tens of milliseconds, for every length of a batch
        torch.backends.cuda.enable_cudnn_sdp(False)
    return device, resolve_precision(compute.precision, device)
