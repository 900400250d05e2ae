"""BERT-family encoders, from a stored configuration or of the sizes that `--size` names.

BERT is our own module, the same to the last bit: importing transformers' classes takes longer than masking a thousand
reads. The others, and BERT with another attention than sdpa, are built by transformers.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from seqmask.errors import SeqmaskError
from seqmask.models.bert import Bert
from seqmask.models.crossing import CrossingEmbedding

# Only the module of one architecture is loaded: transformers' AutoModel costs seconds at start-up.
_ARCHITECTURES = {
    "bert": ("transformers.models.bert", "BertConfig", "BertModel", {"add_pooling_layer": False}),
    "esm": ("transformers.models.esm", "EsmConfig", "EsmModel", {"add_pooling_layer": False}),
    "modernbert": ("transformers.models.modernbert", "ModernBertConfig", "ModernBertModel", {}),
}

SIZES = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
    "mini": {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 6},
    "wide": {"hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 512},
    "small": {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6},
    "base": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6},
}


def configuration(
    size: str,
    vocabulary_size: int,
    max_tokens: int,
    crossing: int = 0,
    phases: int = 1,
    pooler: int = 0,
    canonical: bool = False,
) -> dict[str, Any]:
    """Configuration of a new BERT encoder as a JSON object. size: a key of SIZES.

    crossing: k, where tokens also read the k-mers that cross into their neighbours (`CrossingEmbedding`); 0 = they do
    not. phases, canonical: as there. pooler: inner size of the block after pooling (`Pooler`); 0 = none.
    """
    if size not in SIZES:
        raise SeqmaskError(f"unknown size {size!r}; expected one of {', '.join(SIZES)}")
    shape = SIZES[size]
    return {
        "model_type": "bert",
        "vocab_size": vocabulary_size,
        "intermediate_size": 4 * shape["hidden_size"],
        **shape,
        "max_position_embeddings": max_tokens,
        "type_vocab_size": 1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-5,  # BERT's 1e-12 makes the gradient of LN at a hidden (zero) token explode
        **({"crossing_kmers": crossing, "crossing_phases": phases} if crossing else {}),
        **({"crossing_canonical": True} if crossing and canonical else {}),
        **({"pooler": pooler} if pooler else {}),
    }


def build(config: dict[str, Any], attention: str = "sdpa") -> nn.Module:
    """A randomly initialised encoder for a JSON configuration with a `model_type`."""
    kind = config.get("model_type", "")
    if kind not in _ARCHITECTURES:
        raise SeqmaskError(f"unknown encoder {kind!r}; expected one of {', '.join(_ARCHITECTURES)}")
    plain = kind == "bert" and attention == "sdpa" and config.get("hidden_act", "gelu") == "gelu"
    encoder = Bert(config) if plain else _by_transformers(kind, config, attention)
    if kind == "esm":
        encoder.contact_head = None  # type: ignore[assignment]  # never asked for, and of a size with the layers
    if config.get("crossing_kmers"):
        words = word_embedding(config)
        words.weight.data.copy_(encoder.embeddings.word_embeddings.weight)  # type: ignore[union-attr, arg-type]
        encoder.embeddings.word_embeddings = words  # type: ignore[union-attr]
    return encoder


def word_embedding(config: Mapping[str, Any]) -> nn.Embedding:
    """The table of token embeddings that a configuration asks for, with PyTorch's initial weights."""
    shape = config["vocab_size"], config["hidden_size"]
    if not config.get("crossing_kmers"):
        return nn.Embedding(*shape)
    return CrossingEmbedding(
        *shape, config["crossing_kmers"], config.get("crossing_phases", 1), config.get("crossing_canonical", False)
    )


def _by_transformers(kind: str, config: dict[str, Any], attention: str) -> nn.Module:
    package, config_name, model_name, extra = _ARCHITECTURES[kind]
    config_class = getattr(importlib.import_module(f"{package}.configuration_{kind}"), config_name)
    model_class = getattr(importlib.import_module(f"{package}.modeling_{kind}"), model_name)
    own = ("model_type", "crossing_kmers", "crossing_phases", "crossing_canonical", "pooler", "lineages")
    settings = config_class(
        **{key: value for key, value in config.items() if key not in own}, attn_implementation=attention
    )
    encoder: nn.Module = model_class(settings, **extra)
    return encoder
