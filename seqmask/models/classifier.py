"""The classifier: an encoder, mean pooling over tokens, a pooler where the configuration has one, and the heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seqmask.errors import SeqmaskError
from seqmask.models.bert import Bert
from seqmask.models.encoders import build
from seqmask.models.heads import class_log_odds, heads_of
from seqmask.models.operators import EmbeddingSite, gate_attention, shown_only
from seqmask.models.pooler import pooled_states, pooler_of
from seqmask.sequences.tokens import CLS, MASK, PAD, SEP


class Classifier(nn.Module):
    """Token ids to the logits of all ranks side by side.

    config: the encoder's JSON configuration. sizes: classes a rank. operator: the operator it was trained with.
    """

    def __init__(self, config: dict[str, Any], sizes: Sequence[int], operator: str) -> None:
        super().__init__()
        self.config, self.sizes, self.operator = dict(config), tuple(sizes), operator
        self._refuse_gate(operator)
        self.encoder = build(config)
        width = int(config["hidden_size"])
        self.pooler = pooler_of(width, int(config.get("pooler", 0)))
        self.head = heads_of(config, sizes)
        self.site = EmbeddingSite(self.encoder.embeddings, MASK)  # type: ignore[arg-type]

    @property
    def max_tokens(self) -> int:
        """The longest sequence that the encoder takes, in tokens."""
        positions = int(self.config["max_position_embeddings"])
        if self.config["model_type"] == "esm" and self.config.get("position_embedding_type", "absolute") == "absolute":
            positions -= int(self.config["pad_token_id"]) + 1  # ESM counts positions from there on
        return positions

    def forward(self, ids: Tensor, attention: Tensor | None, mask: Tensor | None = None, operator: str = "") -> Tensor:
        """Logits (B, C) float32. ids (B, T) int64, attention (B, T) bool or None = nothing is padded, mask (B, T) in
        [0, 1] or None = all kept.

        Special tokens and padding are never masked, whatever the mask says of them.
        """
        seen = torch.ones_like(ids, dtype=torch.bool) if attention is None else attention
        if mask is None:
            return self._pool_and_score(self._encode(ids, attention), seen.float())
        operator = operator or self.operator
        self._refuse_gate(operator)
        fixed = ~seen | (ids == PAD) | (ids == CLS) | (ids == SEP)
        mask = torch.where(fixed, torch.ones((), dtype=mask.dtype, device=mask.device), mask)
        with self.site.masked(mask, operator):
            if operator == "gate" and isinstance(self.encoder, Bert) and _hidden_can_be_left_out(mask):
                return self._of_shown(ids, seen & (mask > 0))
            if operator == "gate":
                logits = gate_attention(seen, mask, self.encoder.dtype)  # type: ignore[arg-type]
                hidden = self._encode(ids, logits)
                return self._pool_and_score(hidden, seen * mask.float())
            return self._pool_and_score(self._encode(ids, attention), seen.float())

    def _refuse_gate(self, operator: str) -> None:
        """Other encoders multiply embeddings by the attention mask, or make sliding windows of it: no logits fit in."""
        kind = self.config.get("model_type")
        if operator == "gate" and kind != "bert":
            raise SeqmaskError(f"operator gate needs a BERT encoder, not {kind!r}; use --operator blend")

    def _encode(self, ids: Tensor, attention: Tensor | None) -> Tensor:
        """Hidden states (B, T, D); attention (B, T) bool, additive logits (B, 1, T, T), or None."""
        hidden: Tensor = self.encoder(input_ids=ids, attention_mask=attention).last_hidden_state
        return hidden

    def _of_shown(self, ids: Tensor, shown: Tensor) -> Tensor:
        """Logits (B, C) under a gate that is open for the shown tokens (B, T): the layers compute no others."""
        states, shown = shown_only(self.encoder.embeddings(input_ids=ids), shown)  # type: ignore[operator]
        attention = None if shown.all() else gate_attention(shown, shown, self.encoder.dtype)  # type: ignore[arg-type]
        return self._pool_and_score(self.encoder.mix(states, attention), shown.float())  # type: ignore[operator]

    def _pool_and_score(self, hidden: Tensor, weights: Tensor) -> Tensor:
        """Mean over tokens weighted by (B, T), then the heads. All weights 0: what they say of nothing."""
        seen = weights.sum(dim=1, keepdim=True)
        with torch.autocast(device_type=hidden.device.type, enabled=False):
            total = torch.einsum("btd,bt->bd", hidden.float(), weights)
            # By inf, not by a small number: else gradients of a draw that hides everything were as large as its inverse
            pooled = total / seen.masked_fill(seen <= 1e-6, math.inf)
            scores: Tensor = self.head(pooled_states(self.pooler, pooled.to(self.head.weight.dtype))).float()
        return scores

    def split(self, logits: Tensor) -> tuple[Tensor, ...]:
        """Logits (..., C) by rank."""
        return torch.split(logits, list(self.sizes), dim=-1)


def _hidden_can_be_left_out(mask: Tensor) -> bool:
    """Whether a gate's tokens are all open or closed: a closed one changes nothing, and need not be computed.

    On a CPU: a GPU would have to be asked. Not in training, whose gradients and dropout are those of all tokens.
    """
    return mask.device.type == "cpu" and not torch.is_grad_enabled() and bool(((mask == 0) | (mask == 1)).all())


def log_odds(logits: Sequence[Tensor], classes: Tensor) -> Tensor:
    """Log p / (1 - p) of the classes (B, R), nats; logits (B, C_r) a rank. A rank of a single class: 0."""
    pairs = zip(logits, classes.unbind(1), strict=True)
    return torch.stack([class_log_odds(scores, own) for scores, own in pairs], dim=1)
