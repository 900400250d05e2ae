"""Devices, threads and precision: what is asked for and not there is one clear error."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from seqmask.config import Compute
from seqmask.errors import SeqmaskError, UsageError
from seqmask.inference.batches import CPU_TOKENS, GPU_TOKENS
from seqmask.inference.device import (
    autocast,
    choose_device,
    describe,
    options_of,
    resolve_precision,
    set_threads,
    times_fp32,
    token_budget,
)


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def no_touch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for CUDA fails."""

    def touched(*_: object, **__: object) -> None:
        raise AssertionError("CUDA was touched")

    for name in ("is_available", "device_count", "init", "_lazy_init", "current_device", "get_device_properties"):
        monkeypatch.setattr(torch.cuda, name, touched)


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_without_cuda_is_a_clear_error(name: str) -> None:
    with pytest.raises(SeqmaskError, match=rf"--device {name}: no such CUDA device; use --device cpu or auto"):
        choose_device(name)


def test_a_gpu_number_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(SeqmaskError, match="cuda:2"):
        choose_device("cuda:2")


@pytest.mark.usefixtures("no_touch")
def test_cpu_never_touches_cuda() -> None:
    assert options_of(Compute(device="cpu")) == (torch.device("cpu"), "fp32")
    assert describe(torch.device("cpu"), "fp32").startswith("cpu (")


def test_auto_takes_cuda_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"


def test_attention_that_is_built_anew_for_every_length_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    torch.backends.cuda.enable_cudnn_sdp(True)
    options_of(Compute(device="cpu"))
    assert torch.backends.cuda.cudnn_sdp_enabled()
    try:
        options_of(Compute(device="cuda"))
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)


@pytest.mark.usefixtures("no_cuda")
def test_auto_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(SeqmaskError, match="--device mps: not available"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == choose_device("mps").type == "mps"


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "CPU ", "meta", "xpu"])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda, cuda:N or mps"):
        choose_device(name)


def test_precision() -> None:
    cpu = torch.device("cpu")
    assert [resolve_precision(name, cpu) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    with pytest.raises(UsageError, match="--precision half"):
        resolve_precision("half", cpu)


@pytest.mark.parametrize(
    ("seconds", "auto", "note"),
    [(0.7, "fp32", "(a product takes 7.0 times as long as in fp32 on this CPU)"), (0.05, "bf16", "")],
)
def test_bf16_is_only_taken_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: float, auto: str, note: str
) -> None:
    """A CPU without such arithmetic emulates it: who asks for bf16 there is told what it costs."""
    monkeypatch.delenv("SEQMASK_NO_BF16", raising=False)
    taken = {torch.float32: 0.1, torch.bfloat16: seconds}
    monkeypatch.setattr("seqmask.inference.device._product_seconds", taken.__getitem__)
    monkeypatch.setattr("seqmask.inference.device.times_fp32", times_fp32.__wrapped__)
    cpu = torch.device("cpu")
    assert resolve_precision("auto", cpu) == auto
    assert describe(cpu, "bf16") == f"cpu ({torch.get_num_threads()} threads), bf16{' ' if note else ''}{note}"
    assert describe(cpu, "fp32").endswith(", fp32")


def test_bf16_can_be_ruled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQMASK_NO_BF16", "1")
    assert resolve_precision("auto", torch.device("cpu")) == "fp32"


def test_autocast_is_what_it_says() -> None:
    product = torch.nn.Linear(4, 4)
    with autocast("bf16", torch.device("cpu"))():
        assert product(torch.ones(1, 4)).dtype == torch.bfloat16
    with autocast("fp32", torch.device("cpu"))():
        assert product(torch.ones(1, 4)).dtype == torch.float32


def test_threads() -> None:
    before = torch.get_num_threads()
    try:
        set_threads(1)
        assert torch.get_num_threads() == 1
        set_threads(0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_tokens_a_batch_on_a_cpu() -> None:
    """A feed-forward activation of 32 MiB, and never more than CPU_TOKENS."""
    cpu = torch.device("cpu")
    assert token_budget(cpu, {"hidden_size": 192, "intermediate_size": 768}) == CPU_TOKENS
    assert token_budget(cpu, {"hidden_size": 384}) == CPU_TOKENS
    assert token_budget(cpu, {"hidden_size": 768}) == 2730  # 32 MiB / (4 bytes * 3072)


@pytest.mark.parametrize(("free", "expected"), [(140 << 30, GPU_TOKENS), (1 << 30, 10922), (0, 1)])
def test_tokens_a_batch_on_a_gpu_follow_its_free_memory(
    monkeypatch: pytest.MonkeyPatch, free: int, expected: int
) -> None:
    """Half of a GiB, for a token of 4 bytes * (8 * 768 + 2 * 3072)."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 141 << 30))
    found = token_budget(torch.device("cuda"), {"hidden_size": 768, "intermediate_size": 3072})
    assert found == expected


FAULTS = """
import resource, sys, torch
from seqmask.inference.device import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(16):
        torch.zeros(1 << 24).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    # a quarter, for now and then something small lies where the array was, and it is laid anew
    assert 4 * faults("keep") < faults("return")
