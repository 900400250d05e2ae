"""The bag-of-k-mers start: embeddings and heads trained without the transformer, then put into it.

Embeddings need hundreds of millions of k-mer observations; a bag of all overlapping k-mers gives them in minutes, where
a transformer trained from random weights spends hours on them (docs/decisions/0002-bag-start.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from seqmask.models.classifier import Classifier
from seqmask.models.crossing import CrossingEmbedding
from seqmask.models.encoders import word_embedding
from seqmask.models.pooler import pooled_states, pooler_of
from seqmask.sequences.tokenizer import Tokenizer
from seqmask.sequences.tokens import MASK, SPECIALS, UNK, KmerTokenizer
from seqmask.training.ahead import made_ahead
from seqmask.training.dataset import Corpus, CropLaw, crop_codes
from seqmask.training.losses import classification

POOLER_RATE = 1 / 15  # of the rate of the embeddings, each row of which few sequences reach


class Bag(nn.Module):
    """logits = heads(pooler(mean over tokens of LN(embedding))); LN without scale and shift.

    config: the configuration of the encoder that it is for. classes: of all ranks.
    """

    def __init__(self, config: Mapping[str, Any], classes: int) -> None:
        super().__init__()
        width = int(config["hidden_size"])
        self.embedding = word_embedding(config)
        nn.init.normal_(self.embedding.weight, std=1.0)
        self.pooler = pooler_of(width, int(config.get("pooler", 0)))
        self.head = nn.Linear(width, classes)

    def rate(self, name: str) -> float:
        """Learning rate of a parameter relative to the embeddings': a pooler, and heads behind one, are dense."""
        return 1.0 if self.pooler is None or name.startswith("embedding") else POOLER_RATE

    def forward(self, ids: Tensor, rows: Tensor) -> Tensor:
        """Logits (B, C). ids (N,) int64: the sequences end to end, special tokens between them; rows (N,) int64: the
        sequence of each token, ascending. Special tokens count for nothing.
        """
        width, count = self.embedding.weight.shape[1], int(rows[-1]) + 1
        known = ids >= len(SPECIALS)
        read = F.layer_norm(self.embedding(ids.unsqueeze(0))[0], (width,))[known]
        rows = rows[known]
        total = read.new_zeros(count, width).index_add(0, rows, read)
        pooled = total / torch.bincount(rows, minlength=count).clamp_min(1).unsqueeze(1)
        scores: Tensor = self.head(pooled_states(self.pooler, pooled))
        return scores


@dataclass(frozen=True, slots=True)
class BagBatch:
    """ids (N,) int64, rows (N,) int64, targets (B, R) int64."""

    ids: Tensor
    rows: Tensor
    targets: Tensor


@dataclass(slots=True)
class BagObjective:
    """Sum over ranks of the cross-entropy of the bag, with smoothed targets."""

    bag: Bag
    sizes: Sequence[int]
    smoothing: float = 0.0

    @property
    def trained(self) -> nn.Module:
        """The bag: embeddings and heads."""
        return self.bag

    def loss(self, batch: BagBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, and the cross-entropy of each rank in nats."""
        logits = self.bag(batch.ids, batch.rows).split(tuple(self.sizes), dim=1)
        terms = classification(logits, batch.targets, self.smoothing)
        total = torch.stack(terms).sum()
        return total, {f"cross_entropy_{i}": float(t.detach()) for i, t in enumerate(terms)}


def bag_batches(
    corpus: Corpus,
    tokenizer: Tokenizer,
    law: CropLaw,
    size: int,
    seed: int,
    device: torch.device,
    all_kmers: float,
    workers: int = 0,
) -> Callable[[int], Iterator[BagBatch]]:
    """Batches of `size` random crops as bags of tokens, from any batch on.

    A crop is taken as the tokens of one frame, as the transformer will see them; or, for k-mers that do not read those
    between them, as all overlapping k-mers. Their share falls from 1 to 0 over the first `all_kmers` batches
    (0 = never): weights fitted to whole bags alone are too sure of themselves on a sixth of the k-mers. workers: as for
    `made_ahead`.
    """
    per_epoch = max(len(corpus) // size, 1)
    border = np.int32(UNK)

    @lru_cache(maxsize=1)
    def order_of(epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([seed, 7, epoch]).permutation(len(corpus))

    def batch(step: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        epoch, place = divmod(step, per_epoch)
        rows = order_of(epoch)[place * size : (place + 1) * size]
        rng = np.random.default_rng([seed, 7, epoch, place])
        crops = crop_codes(corpus, rows, law, rng)
        ids = tokenizer.encode_crops(crops)
        if isinstance(tokenizer, KmerTokenizer):
            for i in np.flatnonzero(rng.random(len(crops)) * all_kmers > step).tolist():
                ids[i] = tokenizer.all_ids(crops[i])
        ids = [np.append(part, border) for part in ids]
        of_row = np.repeat(np.arange(len(ids)), [len(part) for part in ids])
        return np.concatenate(ids).astype(np.int64), of_row, corpus.targets[rows]

    def stream(first: int) -> Iterator[BagBatch]:
        for arrays in made_ahead(batch, itertools.count(first), workers):
            yield BagBatch(*(torch.from_numpy(array).to(device) for array in arrays))

    return stream


def start_as_bag(classifier: Classifier, bag: Bag) -> None:
    """Put a trained bag into a BERT classifier, which then gives (almost) the bag's logits over its own tokens.

    Every sublayer's output projection becomes zero, so each layer is LN(x + 0) = x for a normalised x. Position
    embeddings are small, short waves: attention can find neighbours by them, and their mean over a sequence, which is
    what would disturb the pooled bag, is about zero. [MASK] becomes the mean of the k-mers.
    """
    encoder = classifier.encoder
    embeddings = encoder.embeddings
    # `scale` hides a token as zeros, where LN(0 + 0) has an exploding gradient: a bias gives it a direction
    noise = 0.05 if classifier.operator == "scale" else 0.0
    with torch.no_grad():
        # LN(row) without the first LN; a sum over crossing k-mers must keep the weights that its terms learned
        table = bag.embedding.weight
        if isinstance(bag.embedding, CrossingEmbedding):
            if bag.embedding.canonical:  # the other rows were never trained
                table = table[bag.embedding.canonical_rows]
            table = table / table.square().mean().sqrt()
            if bag.embedding.phases is not None:
                embeddings.word_embeddings.phases.copy_(bag.embedding.phases)  # type: ignore[union-attr, operator]
        else:
            table = F.layer_norm(table, (table.shape[1],))
        # a hidden token says what any k-mer says, where the bag gave [MASK] no meaning
        table[MASK] = F.normalize(table[len(SPECIALS) :].mean(dim=0), dim=0) * table.shape[1] ** 0.5
        embeddings.word_embeddings.weight.copy_(table)  # type: ignore[union-attr, operator]
        positions = embeddings.position_embeddings.weight  # type: ignore[union-attr]
        positions.copy_(0.1 * waves(*positions.shape))  # type: ignore[operator, misc]
        embeddings.token_type_embeddings.weight.zero_()  # type: ignore[union-attr, operator]
        for layer in encoder.encoder.layer:  # type: ignore[union-attr]
            for projection in (layer.attention.output.dense, layer.output.dense):
                projection.weight.zero_()
                projection.bias.normal_(std=noise)
        classifier.head.load_state_dict(bag.head.state_dict())
        if classifier.pooler is not None and bag.pooler is not None:
            classifier.pooler.load_state_dict(bag.pooler.state_dict())


def waves(positions: int, width: int, longest: float = 32.0) -> Tensor:
    """Sine and cosine position code (positions, width) of unit variance, wavelengths from 2 to `longest` tokens.

    The form of Vaswani et al. 2017, section 3.5, with short wavelengths only.
    """
    lengths = 2.0 * (longest / 2.0) ** torch.linspace(0, 1, -(-width // 2))
    angles = 2 * torch.pi * torch.arange(positions)[:, None] / lengths
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(positions, -1)[:, :width] * 2**0.5
