"""The mask-response self-test: whether an operator hides anything, and whether an Explainer can learn through it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from seqmask.errors import SeqmaskError
from seqmask.models.classifier import Classifier
from seqmask.sequences.tokens import SPECIALS

LEVELS = (1.0, 0.5, 0.1, 0.01, 0.0)
SEQUENCES, TOKENS = 64, 64
FEW = 8  # tokens of the shorter sequences with everything hidden
FLAT = 0.02  # share of the whole effect below which a step of the curve counts as no effect
JUMP = 0.2  # share of the whole effect that may be left between m = .01 and 0
BY_LENGTH = 0.1  # of a class probability that the length alone may move with everything hidden


@dataclass(frozen=True, slots=True)
class Response:
    """What masking did to random sequences.

    identity: largest difference of a logit between m = 1 and no mask. leak: largest difference of a class probability
    between sequences of one length with everything hidden, by_length: between these and sequences of FEW tokens. curve:
    mean KL (nats, summed over ranks) from the unmasked prediction with a random half of the tokens at each of LEVELS.
    slope: |d score / d m| at m = 1 over that at m = .01, the score being a random sum of logits. jump: KL between m = 0
    and m = .01 over that between m = 0 and no mask. Measured on random and on trained encoders: jump at most .05 where
    the mask reaches the network (BERT after its embedding LayerNorm, ModernBERT, any `blend`), .4 to 1 for `scale` in
    front of a LayerNorm (ESM).
    """

    operator: str
    identity: float
    leak: float
    by_length: float
    curve: tuple[float, ...]
    slope: float
    jump: float

    @property
    def summary(self) -> str:
        """The curve on one line."""
        levels = ", ".join(f"{level:g}: {value:.3g}" for level, value in zip(LEVELS, self.curve, strict=True))
        shape = f"slope ratio {self.slope:.2g}, jump at 0 {self.jump:.0%}"
        return f"KL at m = {levels}; {shape}; length alone moves a probability by {self.by_length:.2g}"


def respond(classifier: Classifier, operator: str, seed: int = 0) -> Response:
    """Measure the response to masks on random k-mers; seconds on a CPU. The classifier's mode is restored."""
    generator = torch.Generator().manual_seed(seed)
    device = classifier.head.weight.device
    vocabulary = int(classifier.config["vocab_size"])
    tokens = min(TOKENS, classifier.max_tokens)
    ids = torch.randint(len(SPECIALS), vocabulary, (SEQUENCES, tokens), generator=generator).to(device)
    attention = torch.ones_like(ids, dtype=torch.bool)
    half = (torch.rand(ids.shape, generator=generator) < 0.5).to(device)
    training = classifier.training
    classifier.eval()
    try:
        with torch.no_grad():
            full = classifier(ids, attention)
            same = classifier(ids, attention, torch.ones_like(half, dtype=torch.float32), operator)
            hidden, short = (_hidden(classifier, ids[:, :n], operator) for n in (tokens, min(FEW, tokens)))
            levels = [classifier(ids, attention, torch.where(half, level, 1.0), operator) for level in LEVELS]
            curve = tuple(float(_divergence(classifier, full, logits)) for logits in levels)
            jump = float(_divergence(classifier, levels[-2], levels[-1])) / max(curve[-1], 1e-12)
        slope = _gradient(classifier, ids, attention, half, full, operator)
    finally:
        classifier.train(training)
    return Response(
        operator,
        float((full - same).abs().max()),
        float((hidden.max(dim=0).values - hidden.min(dim=0).values).max()),
        float((hidden.mean(dim=0) - short.mean(dim=0)).abs().max()),
        curve,
        slope,
        jump,
    )


def check_operator(classifier: Classifier, operator: str, *, soft: bool = False, force: bool = False) -> Response:
    """Raise SeqmaskError, naming cause and remedy, where masks through this operator are empty; `force` only measures.

    Refused are: logits that are no numbers; m = 1 that changes the logits; sequences that can be told apart with
    everything hidden, by what they were or by their length; no effect at m = 0; an effect that only begins when m is
    nearly 0 (a LayerNorm undoes the scalar, LN(m e) = LN(e)), through which nothing can be learned; and, with soft
    masks, less than half of the effect of m = 0 at m = .1.
    """
    response = respond(classifier, operator)
    problem = _problem(response, soft)
    if problem and not force:
        if operator != "blend":
            problem += "; use --operator blend"
        elif classifier.config.get("model_type") == "bert":
            problem += "; use --operator gate"
        raise SeqmaskError(f"operator {operator}: {problem} (--force-operator goes on all the same)")
    return response


def _problem(response: Response, soft: bool) -> str:
    """Why masks would be empty, or nothing."""
    whole, faint = response.curve[-1], response.curve[LEVELS.index(0.1)]
    if not math.isfinite(response.identity + response.leak + response.by_length + sum(response.curve)):
        return "masked inputs give logits that are not finite"
    if response.identity > 1e-4:
        return f"a mask of ones changes the logits by {response.identity:.2g}: the mask does not act on the embeddings"
    if response.leak > 1e-3:
        return f"with every token hidden, predictions still differ by {response.leak:.2g} between sequences"
    if response.by_length > BY_LENGTH:
        return f"with every token hidden, the length alone moves a class's probability by {response.by_length:.2g}"
    if whole < 1e-6:
        return "hiding half of the tokens changes nothing: the classifier does not read them"
    if faint < FLAT * whole or response.jump > JUMP:
        return (
            f"tokens at m = .1 have {faint / whole:.1%} of the effect of m = 0, and {response.jump:.0%} of it comes"
            " between m = .01 and 0: the LayerNorm that follows the embeddings undoes the factor, LN(m e) = LN(e), so"
            " no Explainer can learn through it"
        )
    if soft and faint < 0.5 * whole:
        return f"soft masks are empty here: m = .1 has {faint / whole:.0%} of the effect of m = 0; leave --soft out"
    return ""


def _hidden(classifier: Classifier, ids: Tensor, operator: str) -> Tensor:
    """Class probabilities of all ranks (B, C) with every token of ids (B, N) hidden."""
    attention = torch.ones_like(ids, dtype=torch.bool)
    logits = classifier(ids, attention, torch.zeros_like(ids, dtype=torch.float32), operator)
    return torch.cat([F.softmax(part, dim=1) for part in classifier.split(logits)], dim=1)


def _divergence(classifier: Classifier, full: Tensor, masked: Tensor) -> Tensor:
    """Mean KL(full || masked) in nats, summed over ranks; logits (B, C)."""
    pairs = zip(classifier.split(full), classifier.split(masked), strict=True)
    return torch.stack(
        [
            F.kl_div(F.log_softmax(b, dim=1), F.log_softmax(a, dim=1), reduction="batchmean", log_target=True)
            for a, b in pairs
        ]
    ).sum()


def _gradient(
    classifier: Classifier, ids: Tensor, attention: Tensor, half: Tensor, full: Tensor, operator: str
) -> float:
    """|d logits / d m| at m = 1 over the same at m = .01, for the half of the tokens that is varied."""
    direction = torch.randn(full.shape, generator=torch.Generator().manual_seed(1)).to(full.device)
    sizes = []
    for level in (1.0, 0.01):
        mask = torch.where(half, level, 1.0).requires_grad_(True)
        with torch.enable_grad():
            score = (classifier(ids, attention, mask, operator) * direction).sum()
        (gradient,) = torch.autograd.grad(score, mask)
        sizes.append(float(gradient[half].abs().mean()))
    return sizes[0] / max(sizes[1], 1e-12)
