"""Embeddings of non-overlapping k-mers that also read the k-mers which cross from one token into the next."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqmask.sequences.tokens import SPECIALS


class CrossingEmbedding(nn.Embedding):
    """A token's embedding is the sum over the k k-mers that lie around its middle, divided by sqrt(k).

    Tokens are k nt apart, so all but one of these k-mers reach into a neighbour: they follow from the ids of both, and
    a sequence of T tokens is read in all k frames at the cost of one. A crossing k-mer is there to the degree that the
    neighbour is shown (`visible`): of a hidden token nothing can be read next door. Across special tokens there is
    none.

    phases: with 3, k-mers are weighted, dimension by dimension, by their place in the token modulo 3, so that where k
    is a multiple of 3 coding sequence can be read by codon position; 1 = they are not.

    canonical: a k-mer and its reverse complement are one (with phases: at the mirrored place), so that both strands of
    a sequence read alike and every sequence trains both. (Of one that is its own reverse complement the phase is told
    by the strand that is read.)

    Where the last token overlaps the one before it (a length that is no multiple of k), the k-mers between these two
    are not those of the sequence.
    """

    canonical_rows: Tensor

    def __init__(self, vocabulary: int, width: int, k: int, phases: int = 1, canonical: bool = False) -> None:
        super().__init__(vocabulary, width)
        if k < 2 or vocabulary != len(SPECIALS) + 4**k:
            raise ValueError(
                f"vocabulary {vocabulary}, k {k}: expected the special tokens and all k-mers of 2 nt or more"
            )
        self.k = k
        self.visible: Tensor | None = None
        if phases > 1:
            self.phases = nn.Parameter(phase_weights(phases, width))
        else:
            self.register_parameter("phases", None)
        self.canonical = canonical
        self.register_buffer("canonical_rows", canonical_rows(k), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings (B, T, D). ids (B, T) int64; `visible` (B, T) in [0, 1], or None = every token is shown."""
        return self._sum_places(*self.bags(ids, self.visible), range(self.k))

    def bags(self, ids: Tensor, visible: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What each embedding is the weighted sum of: a table (N, D), rows of it (B, T, k) int64, weights (B, T, k)."""
        kmers, there = self._kmers(ids)
        weights = there.to(self.weight.dtype)
        if visible is not None:
            weights = weights * self._neighbours_shown(visible.to(weights.dtype))
        return self._table(), kmers, weights * self.k**-0.5

    def parts(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each embedding is the sum of, (B, T, D) each: the k-mers that reach into the token before, the token
        itself, those that reach into the token after. ids (B, T) int64, all shown.
        """
        own, bags = self.k // 2, self.bags(ids)
        places = (range(own), range(own, own + 1), range(own + 1, self.k))
        before, token, after = (self._sum_places(*bags, of) for of in places)
        return before, token, after

    def _kmers(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (B, T, k) of the table of all phases, and whether each k-mer exists (bool)."""
        kmers, there = crossing_kmers(ids, self.k)
        rows = self.canonical_rows[kmers] if self.canonical else kmers
        if self.phases is None:
            return rows, there
        place, count = torch.arange(self.k, device=ids.device), len(self.phases)
        phase = place % count
        if self.canonical:  # a token's reverse complement begins where the token ends: k-mers s nt on are s nt back
            phase = torch.where(rows == kmers, phase, (2 * (self.k // 2) - place) % count)
        return rows + phase * self.num_embeddings, there

    def _table(self) -> Tensor:
        """Embeddings (phases x vocabulary, D) of every k-mer in every phase.

        A look-up in one large table moves far less memory than weighting what was looked up.
        """
        return self.weight if self.phases is None else (self.phases.unsqueeze(1) * self.weight).flatten(0, 1)

    def _sum_places(self, table: Tensor, rows: Tensor, weights: Tensor, places: range) -> Tensor:
        """Weighted sums (B, T, D) over some places of rows and weights (B, T, k)."""
        if not places:
            return table.new_zeros(*rows.shape[:2], table.shape[1])
        part = slice(places.start, places.stop)
        rows, weights = rows[..., part], weights[..., part]
        found = F.embedding_bag(
            rows.flatten(0, 1), table, per_sample_weights=weights.flatten(0, 1).contiguous(), mode="sum"
        )
        return found.view(*rows.shape[:2], -1)

    def _neighbours_shown(self, shown: Tensor) -> Tensor:
        """To which degree (B, T, k) the neighbour is shown that a k-mer reaches into; shown (B, T)."""
        before, own = F.pad(shown, (1, 0))[:, :-1], torch.ones_like(shown)
        after = F.pad(shown, (0, 1))[:, 1:]
        left = self.k // 2
        return torch.stack([before] * left + [own] + [after] * (self.k - 1 - left), dim=-1)


def canonical_rows(k: int) -> Tensor:
    """Id (V,) int64 that each id stands for: of a k-mer and its reverse complement the one that is first in order."""
    forward = torch.arange(4**k)
    rest, reverse = forward.clone(), torch.zeros_like(forward)
    for _ in range(k):
        reverse = 4 * reverse + 3 - rest % 4
        rest = rest // 4
    return torch.cat([torch.arange(len(SPECIALS)), torch.minimum(forward, reverse) + len(SPECIALS)])


def phase_weights(phases: int, width: int) -> Tensor:
    """Where `CrossingEmbedding` starts: (phases, width), each dimension leaning to one phase, with mean 1 over them."""
    own = torch.arange(width) % phases == torch.arange(phases)[:, None]
    lean = 0.5
    return torch.where(own, 1 + lean, 1 - lean / (phases - 1))


def crossing_kmers(ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Ids (B, T, k) int64 of the k-mers that begin from k // 2 nt before each token on, and whether each exists (bool).

    ids (B, T) int64 of k-mers k nt apart. The one in place k // 2 is the token itself and always exists. With k = 2,
    AC followed by GT gives (-, AC), (CG, GT).
    """
    left = k // 2
    between, crosses = _between(ids, k)
    before = F.pad(between, (0, 0, 1, 0))[:, :-1]  # those that begin in the token before
    begun = F.pad(crosses, (1, 0))[:, :-1]
    kmers = torch.cat([before[..., k - 1 - left :], ids[..., None], between[..., : k - 1 - left]], dim=-1)
    there = [begun] * left + [torch.ones_like(crosses)] + [crosses] * (k - 1 - left)
    return kmers, torch.stack(there, dim=-1)


def _between(ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Ids (B, T, k - 1) of the k-mers that begin 1 to k - 1 nt into each token, and whether they exist (B, T) bool."""
    first = len(SPECIALS)
    following = F.pad(ids, (0, 1))[:, 1:]
    crosses = (ids >= first) & (following >= first)
    left, right = (ids - first).clamp_min(0), (following - first).clamp_min(0)
    found = [
        (left % 4 ** (k - shift)) * 4**shift + torch.div(right, 4 ** (k - shift), rounding_mode="floor")
        for shift in range(1, k)
    ]
    return torch.stack(found, dim=-1) * crosses[..., None] + first * crosses[..., None], crosses
