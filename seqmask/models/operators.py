"""How a mask acts on token embeddings: one function an operator, at one place, the output of the embedding module.

Never through `inputs_embeds`: BERT and ModernBERT would normalise the mask away (LN(m*e) = LN(e)), ESM skips its
token-dropout rescale on that path. See docs/method.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from seqmask.models.crossing import CrossingEmbedding

OPERATORS = ("scale", "blend", "gate")
CLOSED = -3e4  # log 0 for attention: finite, so that a row of hidden keys stays finite, in float16 too


def scale(hidden: Tensor, mask: Tensor, baseline: Tensor) -> Tensor:
    """M * h: the Hadamard product of Berman et al. 2026. hidden (B, T, D), mask (B, T), baseline unused."""
    return hidden * mask.unsqueeze(-1).to(hidden.dtype)


def blend(hidden: Tensor, mask: Tensor, baseline: Tensor) -> Tensor:
    """M * h + (1 - m) * b, b (B, T, D) the embedding output of [MASK] at the same positions: exact at both ends."""
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return hidden * weight + baseline * (1 - weight)


class EmbeddingSite:
    """Where the mask is applied: a forward hook on an encoder's `embeddings` module.

    The hook is there for good and does nothing outside `masked(...)`.
    """

    def __init__(self, embeddings: nn.Module, mask_token: int) -> None:
        self.embeddings, self.mask_token = embeddings, mask_token
        self._mask: Tensor | None = None
        self._operator = "scale"
        words = getattr(embeddings, "word_embeddings", None)
        self._crossing = words if isinstance(words, CrossingEmbedding) else None
        embeddings.register_forward_hook(self._hook, with_kwargs=True)

    @contextmanager
    def masked(self, mask: Tensor, operator: str) -> Iterator[None]:
        """Within the block every forward of the embeddings is masked. mask (B, T) in [0, 1], 1 = kept.

        Whatever the operator, k-mers that end in a hidden token are hidden, too.
        """
        self._mask, self._operator = mask, operator
        if self._crossing is not None:
            self._crossing.visible = mask
        try:
            yield
        finally:
            self._mask = None
            if self._crossing is not None:
                self._crossing.visible = None

    def _hook(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        if self._mask is None or self._operator == "gate":
            return output
        mask, self._mask = self._mask, None  # the baseline below runs the same module: it must not be masked
        try:
            if self._operator == "scale":
                return scale(output, mask, output)
            return blend(output, mask, self._baseline(args, kwargs))
        finally:
            self._mask = mask

    def _baseline(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Embedding output (B, T, D) of [MASK] tokens at the same positions."""
        # ESM makes zeros of [MASK] and divides by the share of other tokens: with none left, 0 / 0
        dropout = getattr(self.embeddings, "token_dropout", None)
        if dropout:
            self.embeddings.token_dropout = False  # type: ignore[assignment]
        try:
            if args:
                hidden = torch.full_like(args[0], self.mask_token)
                return self.embeddings(hidden, *args[1:], **kwargs)  # type: ignore[no-any-return]
            hidden = torch.full_like(kwargs["input_ids"], self.mask_token)
            return self.embeddings(**{**kwargs, "input_ids": hidden})  # type: ignore[no-any-return]
        finally:
            if dropout:
                self.embeddings.token_dropout = dropout


def gate_attention(attention: Tensor, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention logits (B, 1, T, T) of the gate operator: log m of the key, padding closed.

    attention (B, T) bool, mask (B, T).
    """
    logits = torch.where(attention & (mask > 0), mask.float().clamp_min(1e-30).log(), CLOSED)
    size = mask.shape[1]
    return logits[:, None, None, :].expand(-1, 1, size, -1).to(dtype)


def shown_only(states: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """The shown tokens of each sequence, in their order, then hidden ones where others of the batch show more.

    states (B, T, D), shown (B, T) bool. Returns states (B, K, D) and which of them are shown (B, K); K is at least 1.
    """
    most = max(int(shown.sum(dim=1).max()), 1)
    places = shown.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    rows = torch.arange(len(shown), device=shown.device).unsqueeze(1)
    return states[rows, places], shown[rows, places]
