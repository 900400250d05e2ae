"""BERT (Devlin et al. 2019) in plain torch, with the names, weights and numbers of transformers' `BertModel`.

Importing that class takes 3 seconds of CPU time, most of it for what a forward pass never asks for; this module takes
none beyond torch's own. Tests hold the two together bit by bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqmask.models import fused
from seqmask.models.crossing import CrossingEmbedding

DEFAULTS = {
    "type_vocab_size": 2,
    "max_position_embeddings": 512,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "initializer_range": 0.02,
    "pad_token_id": 0,
}


LONG = 128  # tokens from which on attention one sequence at a time is faster in bfloat16 on a CPU


@dataclass(frozen=True, slots=True)
class Hidden:
    """last_hidden_state (B, T, D)."""

    last_hidden_state: Tensor


class Embeddings(nn.Module):
    """Word, position and type embeddings, layer-normalised."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width, padding_idx=config["pad_token_id"])
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.fused = False

    def forward(self, input_ids: Tensor) -> Tensor:
        """States (B, T, D) of ids (B, T) int64, all of type 0."""
        words = self.word_embeddings
        if self.fused and isinstance(words, CrossingEmbedding):
            bags = words.bags(input_ids, words.visible)
            return fused.embed(*bags, self.shift(input_ids.shape[1]), self.LayerNorm)
        return self.finish(words(input_ids))

    def shift(self, tokens: int) -> Tensor:
        """What is added to the word embeddings of so many tokens, (T, D)."""
        return self.position_embeddings.weight[:tokens] + self.token_type_embeddings.weight[0]

    def finish(self, words: Tensor) -> Tensor:
        """States (B, T, D) of word embeddings (B, T, D)."""
        words = words + self.token_type_embeddings.weight[0]
        states: Tensor = self.LayerNorm(words + self.position_embeddings.weight[: words.shape[1]])
        return self.dropout(states)  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Queries, keys and values, and scaled dot products of them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, self.heads = config["hidden_size"], config["num_attention_heads"]
        if width % self.heads:
            raise ValueError(f"hidden_size {width} is no multiple of num_attention_heads {self.heads}")
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.joined: tuple[Tensor, Tensor] | None = None
        self.dropout = config["attention_probs_dropout_prob"]

    def join(self) -> None:
        """Make one product of the three, for inference: narrow ones wait for memory."""
        parts = self.query, self.key, self.value
        weight, bias = (torch.cat([getattr(part, name).detach() for part in parts]) for name in ("weight", "bias"))
        self.joined = weight, bias

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """New states (B, T, D). mask (B, 1, T, T): bool, True = attend, or added to the logits; None = all."""
        if self.joined is None:
            parts = [part(states) for part in (self.query, self.key, self.value)]
        else:
            parts = list(F.linear(states, *self.joined).chunk(3, dim=-1))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        in_bf16 = query.dtype == torch.bfloat16 and query.device.type == "cpu" and not torch.is_grad_enabled()
        if in_bf16 and query.shape[2] >= LONG:
            mixed = attention_by_rows(query, key, value, mask)
        else:
            dropout = self.dropout if self.training else 0.0
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return mixed.transpose(1, 2).reshape(states.shape)


def attention_by_rows(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention (B, H, T, D) of queries, keys and values (B, H, T, D), one sequence at a time.

    For bfloat16 on a CPU: torch's fused kernel is no faster there than in float32, while these products are, as long as
    the scores of one sequence stay in the cache. mask: (B, 1, T, T) bool, True = attend, or added; None = all.
    """
    mixed = torch.empty_like(query)
    query = query * query.shape[-1] ** -0.5
    for row in range(len(query)):
        scores = query[row] @ key[row].transpose(1, 2)
        if mask is not None:
            of_row = mask[row] if len(mask) > 1 else mask[0]
            hidden = of_row.dtype == torch.bool
            scores = scores.masked_fill(~of_row, -torch.inf) if hidden else scores + of_row.to(scores.dtype)
        mixed[row] = scores.softmax(dim=-1) @ value[row]
    return mixed


class Output(nn.Module):
    """A linear map, the residual, a LayerNorm."""

    def __init__(self, config: Mapping[str, Any], inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, config["hidden_size"])
        self.LayerNorm = nn.LayerNorm(config["hidden_size"], eps=config["layer_norm_eps"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.fused = False

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        """(B, T, D) from what is within the sublayer and from what went into it."""
        if self.fused:
            return fused.add_norm(self.dense(inner), residual, self.LayerNorm)
        states: Tensor = self.LayerNorm(self.dropout(self.dense(inner)) + residual)
        return states


class Layer(nn.Module):
    """Attention and feed-forward network."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.attention = nn.ModuleDict({"self": SelfAttention(config), "output": Output(config, width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = Output(config, inner)
        self.fused = False

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        states = self.attention["output"](self.attention["self"](states, mask), states)
        dense: nn.Linear = self.intermediate["dense"]  # type: ignore[assignment]
        inner = fused.gelu(states, dense) if self.fused else F.gelu(dense(states))
        result: Tensor = self.output(inner, states)
        return result


class Bert(nn.Module):
    """An encoder of a configuration as transformers writes it; weights as transformers initialises them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        config = {"intermediate_size": 3072, **DEFAULTS, **config}
        if config["hidden_act"] != "gelu":
            raise ValueError(f"hidden_act {config['hidden_act']!r}: only gelu is here")
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))}
        )
        self.apply(lambda module: _initialise(module, config["initializer_range"]))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None) -> Hidden:
        """States of ids (B, T) int64. attention_mask: (B, T), 0 = padding, or (B, 1, T, T) as attention takes it, or
        None where nothing is padded, which a GPU need not be asked then.
        """
        mask = attention_mask
        if attention_mask is not None and attention_mask.dim() == 2:
            seen = attention_mask.bool()
            # Without padding there is nothing to hide, and faster attention
            mask = None if seen.all() else seen[:, None, None].expand(-1, 1, seen.shape[1], -1)
        return Hidden(self.mix(self.embeddings(input_ids=input_ids), mask))

    def mix(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """What the layers make of the embeddings' output (B, T, D); mask as attention takes it."""
        dtype = self.dtype
        lowered = dtype != torch.float32
        with torch.autocast(states.device.type, enabled=False) if lowered else contextlib.nullcontext():
            states = states.to(dtype) if lowered else states
            for layer in self.encoder.layer:  # type: ignore[union-attr]
                states = layer(states, mask)
        return states

    @property
    def dtype(self) -> torch.dtype:
        """Of the layers' weights."""
        return next(self.encoder.parameters(), torch.empty(0)).dtype

    def lower(self) -> None:
        """Hold the layers' weights and states in bfloat16, for inference on a GPU, for good. Embeddings stay float32.

        Autocast makes float32 of every LayerNorm's output, to be cast again before every product: on an H100 that took
        longer than the products (docs/decisions/0022). Where there is Triton, the rest is fused as well.
        """
        self.encoder.to(torch.bfloat16)
        able = fused.available(self.embeddings.LayerNorm.weight.device)
        for module in self.modules():
            if isinstance(module, SelfAttention):
                module.join()
            elif isinstance(module, Embeddings | Output | Layer):
                module.fused = able


@torch.no_grad()
def _initialise(module: nn.Module, deviation: float) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        module.weight.normal_(0.0, deviation)
    if isinstance(module, nn.Linear):
        module.bias.zero_()
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight[module.padding_idx].zero_()
