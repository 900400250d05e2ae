"""Fused kernels against torch's operators: on a GPU, or on a CPU by Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqmask.commands.mask import lower
from seqmask.models import fused
from seqmask.models.bert import Bert
from seqmask.models.checkpoint import load_model
from seqmask.models.classifier import Classifier
from seqmask.models.crossing import CrossingEmbedding
from seqmask.models.encoders import configuration
from seqmask.models.explainer import Explainer
from seqmask.sequences.tokens import SPECIALS

pytest.importorskip("triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, device=DEVICE)


def norm(width: int) -> nn.LayerNorm:
    layer = nn.LayerNorm(width, eps=1e-5, device=DEVICE)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer.requires_grad_(False)


@pytest.mark.parametrize("shape", [(1, 1, 8), (3, 7, 24), (2, 5, 33)])
def test_sums_are_normalised(shape: tuple[int, int, int]) -> None:
    """Rows that fill no program, widths that are no power of two, and a mean that is far from 0."""
    layer = norm(shape[-1])
    states, residual = drawn(*shape) + 3, drawn(*shape)
    torch.testing.assert_close(fused.add_norm(states, residual, layer), layer(states + residual))

    turned, other = states.transpose(0, 1), residual.transpose(0, 1)  # not contiguous
    torch.testing.assert_close(fused.add_norm(turned, other, layer), layer(turned + other))


def test_sums_in_bfloat16_are_rounded_once() -> None:
    layer = norm(24)
    states, residual = drawn(3, 7, 24).bfloat16(), drawn(3, 7, 24).bfloat16()
    expected = layer(states.float() + residual.float())
    found = fused.add_norm(states, residual, layer.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.02)


def test_gelu_comes_with_the_product() -> None:
    dense = nn.Linear(8, 32, device=DEVICE).requires_grad_(False)
    states = 2 * drawn(3, 5, 8)
    torch.testing.assert_close(fused.gelu(states, dense), F.gelu(dense(states)), atol=1e-3, rtol=0)


def explainer(phases: int, canonical: bool, tokens: int = 12) -> tuple[Explainer, Tensor]:
    """One with random weights, and ids among which are special tokens and padding."""
    k = 3
    config = configuration("tiny", len(SPECIALS) + 4**k, tokens, k, phases, canonical=canonical)
    torch.manual_seed(4)
    made = Explainer.like(Classifier(config, (2, 5), "blend"))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    ids = torch.randint(len(SPECIALS), len(SPECIALS) + 4**k, (5, tokens))
    ids[1, 8:] = 0
    ids[2, 3] = ids[2, 4] = 4
    return made.eval().requires_grad_(False).to(DEVICE), ids.to(DEVICE)


@pytest.mark.parametrize(("phases", "canonical"), [(1, False), (3, True)])
def test_embeddings(phases: int, canonical: bool) -> None:
    """With all tokens shown, and where k-mers are hidden with the neighbour that they reach into."""
    made, ids = explainer(phases, canonical)
    embeddings = made.encoder.embeddings
    assert isinstance(embeddings.word_embeddings, CrossingEmbedding)
    for visible in (None, drawn(*ids.shape).sigmoid()):
        embeddings.word_embeddings.visible = visible
        embeddings.fused = False
        expected = embeddings(ids)
        embeddings.fused = True
        torch.testing.assert_close(embeddings(ids), expected)


@pytest.mark.parametrize(("phases", "canonical"), [(1, False), (3, True)])
def test_evidence(phases: int, canonical: bool) -> None:
    made, ids = explainer(phases, canonical)
    found = []
    for on in (False, True):
        made.encoder.embeddings.fused = False
        made.encoder.embeddings(ids)
        made.encoder.embeddings.fused = on
        found.append(made._evidence(ids))
    for plain, together in zip(*found, strict=True):
        assert plain.abs().mean() > 0.01
        torch.testing.assert_close(together, plain, atol=1e-4, rtol=1e-4)


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    return lambda on: monkeypatch.setattr(fused, "available", lambda device: on)


def test_a_lowered_model_says_the_same(tiny_model: Path, able: Callable[[bool], None]) -> None:
    """Through the mask operators, padding and the Explainer; autocast around it as in the engine."""
    ids = torch.randint(5, 4101, (3, 20), generator=torch.Generator().manual_seed(2))
    ids = ids.to(DEVICE)
    attention = torch.ones_like(ids, dtype=torch.bool)
    attention[0, 12:] = False
    half = (torch.arange(20, device=DEVICE) % 2).float().expand(3, -1)
    classes = torch.zeros(3, 3, dtype=torch.int64, device=DEVICE)
    said = []
    for on in (False, True):
        able(on)
        model = load_model(tiny_model)
        network = model.classifier.network.to(DEVICE)
        model.explainer.to(DEVICE)
        lower(model)
        parts = [m for m in network.encoder.modules() if hasattr(m, "fused")]
        assert len(parts) > 3
        assert {part.fused for part in parts} == {on}
        with torch.inference_mode(), torch.autocast(DEVICE.type, torch.bfloat16):
            logits = [
                network(ids, seen, half, operator)
                for seen in (None, attention)
                for operator in ("scale", "blend", "gate")
            ]
            said.append([*logits, torch.sigmoid(model.explainer(ids, attention, classes))])
    for one, other in zip(*said, strict=True):
        assert (one - other).abs().mean() < 0.05 * one.std()


def test_without_a_gpu_or_a_compiler_nothing_is_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    fused.available.cache_clear()
    assert not fused.available(torch.device("cpu"))

    def broken(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(fused, "add_norm", broken)
    monkeypatch.setattr(fused.nn, "LayerNorm", lambda *_, **__: None)
    monkeypatch.setattr(fused.torch, "ones", lambda *_, **__: None)
    assert not fused.available(torch.device("cuda"))
    fused.available.cache_clear()


def test_training_goes_through_torch() -> None:
    """Kernels have no gradients: only `lower`, for inference, switches them on."""
    encoder = Bert(configuration("tiny", 20, 8))
    assert not any(getattr(module, "fused", False) for module in encoder.modules())
