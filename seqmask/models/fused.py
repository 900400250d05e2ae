"""Sums, look-ups and LayerNorms in one pass over memory each, on a CUDA device with Triton; for inference.

A narrow encoder waits for memory: torch's own operators for these took longer than all products (docs/decisions/0024).
"""

from __future__ import annotations

import functools
import logging

import torch
from torch import Tensor, nn

log = logging.getLogger("seqmask")

ROWS = 4  # of a program: a token's state is a few hundred numbers
NUMBERS = 2048  # of a program that holds five states of each row: more of them are spilled to memory
# Said, or triton 3.9 warns that it is not
FUSION = {"enable_fp_fusion": True}


@functools.cache
def available(device: torch.device) -> bool:
    """Whether the kernels can be built and run there: Triton comes with torch for CUDA, but needs a C compiler."""
    if device.type != "cuda":
        return False
    try:
        with torch.cuda.device(device):
            norm = nn.LayerNorm(8, device=device)
            add_norm(torch.ones(1, 8, device=device), torch.ones(1, 8, device=device), norm)
    except Exception as error:  # whatever is wrong with the compiler: torch's operators do the same
        log.debug("no fused kernels: %s", error)
        return False
    return True


def add_norm(states: Tensor, residual: Tensor, norm: nn.LayerNorm) -> Tensor:
    """LayerNorm(states + residual), (..., D) each, in their dtype."""
    from seqmask.models import kernels

    states, residual = states.contiguous(), residual.contiguous()
    out = torch.empty_like(states)
    rows, width = states.numel() // states.shape[-1], states.shape[-1]
    kernels.add_norm[_grid(rows)](
        states,
        residual,
        norm.weight,
        norm.bias,
        out,
        rows,
        width,
        norm.eps,
        height=ROWS,
        span=_power(width),
        **FUSION,
    )
    return out


def gelu(states: Tensor, dense: nn.Linear) -> Tensor:
    """GELU of dense(states), (..., D) to (..., E), by the approximation with tanh, whose error is below bfloat16's.

    The product does it on its way out, as in the fast path of torch's own TransformerEncoderLayer.
    """
    found: Tensor = torch._addmm_activation(dense.bias, states.flatten(0, -2), dense.weight.t(), use_gelu=True)
    return found.view(*states.shape[:-1], -1)


def embed(table: Tensor, kmers: Tensor, shares: Tensor, shift: Tensor, norm: nn.LayerNorm) -> Tensor:
    """LayerNorm of weighted sums of K rows of a table, plus a shift: (B, T, D) float32.

    table (V, D) float32; kmers (B, T, K) int64; shares (B, T, K) float32; shift (T, D) float32.
    """
    from seqmask.models import kernels

    batch, tokens, count = kmers.shape
    out = table.new_empty(batch, tokens, table.shape[1])
    kernels.embed[_grid(batch * tokens)](
        *_all(table, kmers, shares, shift, norm.weight, norm.bias, out), batch * tokens, tokens, table.shape[1],
        norm.eps, count=count, height=ROWS, span=_power(table.shape[1]), **FUSION,
    )  # fmt: skip
    return out


def evidence(
    table: Tensor, kmers: Tensor, shares: Tensor, shift: Tensor, hidden: Tensor, norm: nn.LayerNorm
) -> tuple[Tensor, Tensor]:
    """What hiding each token takes from the embeddings, neighbours included, and what it gives alone: (B, T, D) each.

    Arguments as for `embed`; hidden (1, T, D): the embeddings where all is hidden. `Explainer` says what these are for.
    """
    from seqmask.models import kernels

    batch, tokens, count = kmers.shape
    taken, alone, back, on = (table.new_empty(batch, tokens, table.shape[1]) for _ in range(4))
    span = _power(table.shape[1])
    height = max(min(ROWS, NUMBERS // span), 1)
    kernels.evidence[_grid(batch * tokens, height)](
        *_all(table, kmers, shares, shift, hidden, norm.weight, norm.bias, taken, alone, back, on), batch * tokens,
        tokens, table.shape[1], norm.eps, count=count, own_place=count // 2, height=height, span=span, **FUSION,
    )  # fmt: skip
    taken[:, :-1] += back[:, 1:]
    taken[:, 1:] += on[:, :-1]
    return taken, alone


def _all(*tensors: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in tensors]


def _grid(rows: int, height: int = ROWS) -> tuple[int]:
    return (-(-rows // height),)


def _power(width: int) -> int:
    return 1 << (width - 1).bit_length()
