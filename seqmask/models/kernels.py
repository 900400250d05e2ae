"""Triton kernels for what torch does in several passes over memory. Only `fused` imports this, where there is a GPU.

A program takes `height` rows of `width` numbers, and addresses `span` of them, a power of two. Sums are in float32.
"""
# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Without annotations: triton reads the signatures itself

import triton
import triton.language as tl


@triton.jit
def add_norm(states, residual, weight, bias, out, rows, width, eps, height: tl.constexpr, span: tl.constexpr):
    """Write LayerNorm(states + residual), (rows, width) each; weight and bias (width,)."""
    row, column = _place(height, span)
    inside = (row < rows) & (column < width)
    at = row * width + column
    total = tl.load(states + at, inside, 0.0).to(tl.float32) + tl.load(residual + at, inside, 0.0).to(tl.float32)
    _store(out + at, _normed(total, weight, bias, column, width, eps), inside)


@triton.jit
def embed(
    table, kmers, shares, shift, weight, bias, out, rows, tokens, width, eps,
    count: tl.constexpr, height: tl.constexpr, span: tl.constexpr,
):  # fmt: skip
    """Write LayerNorm(sum of count rows of the table + shift), (rows, width), of `tokens` tokens a sequence.

    table (V, width) float32; kmers (rows, count) int64, shares (rows, count) float32: which rows of it, how much of
    each; shift (tokens, width): what is added at each place of a sequence.
    """
    row, column = _place(height, span)
    inside = (row < rows) & (column < width)
    total = tl.load(shift + (row % tokens) * width + column, inside, 0.0).to(tl.float32)
    total += _bag(table, kmers, shares, row, column, inside, rows, width, 0, count, count)
    _store(out + row * width + column, _normed(total, weight, bias, column, width, eps), inside)


@triton.jit
def evidence(
    table, kmers, shares, shift, hidden, weight, bias, taken, alone, back, on, rows, tokens, width, eps,
    count: tl.constexpr, own_place: tl.constexpr, height: tl.constexpr, span: tl.constexpr,
):  # fmt: skip
    """Differences (rows, width) of embeddings, as in `embed`, between what is shown of a token and its neighbours.

    hidden (tokens, width): the embedding of a hidden token among hidden ones. taken: all less hidden; alone: the token
    itself less hidden; back: all less what remains without the token before; on: all less what remains without the
    token after. Places before own_place reach into the token before, those after it into the token after.
    """
    row, column = _place(height, span)
    inside = (row < rows) & (column < width)
    there = (row % tokens) * width + column
    own = tl.load(shift + there, inside, 0.0).to(tl.float32)
    own += _bag(table, kmers, shares, row, column, inside, rows, width, own_place, own_place + 1, count)
    before = _bag(table, kmers, shares, row, column, inside, rows, width, 0, own_place, count)
    after = _bag(table, kmers, shares, row, column, inside, rows, width, own_place + 1, count, count)
    nothing = tl.load(hidden + there, inside, 0.0)
    whole = _normed(before + own + after, weight, bias, column, width, eps)
    at = row * width + column
    _store(taken + at, whole - nothing, inside)
    _store(alone + at, _normed(own, weight, bias, column, width, eps) - nothing, inside)
    _store(back + at, whole - _normed(own + after, weight, bias, column, width, eps), inside)
    _store(on + at, whole - _normed(before + own, weight, bias, column, width, eps), inside)


@triton.jit
def _place(height: tl.constexpr, span: tl.constexpr):
    """The rows (height, 1) of this program, and the columns (1, span)."""
    return tl.program_id(0) * height + tl.arange(0, height)[:, None], tl.arange(0, span)[None, :]


@triton.jit
def _bag(
    table, kmers, shares, row, column, inside, rows, width, first: tl.constexpr, last: tl.constexpr, count: tl.constexpr
):
    """Sum (height, span) of the rows of the table at places first to last of count, 0 outside."""
    total = inside.to(tl.float32) * 0.0
    for place in tl.static_range(first, last):
        kmer = tl.load(kmers + row * count + place, row < rows, 0)
        total += tl.load(shares + row * count + place, row < rows, 0.0) * tl.load(
            table + kmer * width + column, inside, 0.0
        )
    return total


@triton.jit
def _normed(states, weight, bias, column, width, eps):
    """LayerNorm of states (height, span) that are 0 beyond the width."""
    centred = tl.where(column < width, states - tl.sum(states, axis=1)[:, None] / width, 0.0)
    variance = tl.sum(centred * centred, axis=1)[:, None] / width
    scale = tl.load(weight + column, column < width, 0.0).to(tl.float32)
    return centred * tl.rsqrt(variance + eps) * scale + tl.load(bias + column, column < width, 0.0).to(tl.float32)


@triton.jit
def _store(at, values, inside):
    tl.store(at, values.to(at.dtype.element_ty), inside)
