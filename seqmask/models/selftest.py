"""The mask-response self-test: does the operator hide anything, and can an Explainer learn through it?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from seqmask.errors import SeqmaskError
from seqmask.models.classifier import Classifier
from seqmask.sequences.tokens import SPECIALS

LEVELS = (1.0, 0.5, 0.1, 0.01, 0.0)
SEQUENCES, TOKENS = 64, 64
FLAT = 0.02  # share of the whole effect below which a step of the curve counts as no effect


@dataclass(frozen=True, slots=True)
class Response:
    """What masking did to random sequences.

    identity: largest difference of a logit between m = 1 and no mask. leak: largest difference of a class probability
    between sequences of one length with everything hidden. curve: mean KL (nats, summed over ranks) from the unmasked
    prediction with a random half of the tokens at each of LEVELS. slope: |d loss / d m| at m = 1 over that at m = 0.
    """

    operator: str
    identity: float
    leak: float
    curve: tuple[float, ...]
    slope: float

    @property
    def summary(self) -> str:
        levels = ", ".join(f"{level:g}: {value:.3g}" for level, value in zip(LEVELS, self.curve, strict=True))
        return f"KL at m = {levels}; slope ratio {self.slope:.2g}"


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
            nothing = classifier(ids, attention, torch.zeros_like(half, dtype=torch.float32), operator)
            curve = tuple(
                float(
                    _divergence(classifier, full, classifier(ids, attention, torch.where(half, level, 1.0), operator))
                )
                for level in LEVELS
            )
        hidden = torch.cat([F.softmax(part, dim=1) for part in classifier.split(nothing)], dim=1)
        slope = _gradient(classifier, ids, attention, half, full, operator)
    finally:
        classifier.train(training)
    return Response(
        operator,
        float((full - same).abs().max()),
        float((hidden.max(dim=0).values - hidden.min(dim=0).values).max()),
        curve,
        slope,
    )


def check_operator(classifier: Classifier, operator: str, *, soft: bool = False, force: bool = False) -> Response:
    """Raise SeqmaskError, naming cause and remedy, where masks through this operator would be empty; `force` only measures.

    Refused are: m = 1 that changes the logits; sequences that can be told apart with everything hidden; no effect at m = 0;
    a response that only begins when m is nearly 0 (a LayerNorm undoes the scalar, LN(m e) = LN(e)), through which nothing
    can be learned; and, with soft masks, less than half of the effect of m = 0 at m = .1.
    """
    response = respond(classifier, operator)
    whole = response.curve[-1]
    remedy = "use --operator blend" if operator != "blend" else "use --operator gate"
    problem = ""
    if response.identity > 1e-4:
        problem = f"a mask of ones changes the logits by {response.identity:.2g}; this is a bug in the encoder's hook"
    elif response.leak > 1e-3:
        problem = (
            f"with every token hidden, predictions still differ by {response.leak:.2g} between sequences; {remedy}"
        )
    elif whole < 1e-6:
        problem = f"hiding half of the tokens changes nothing; the classifier does not read them, or {remedy}"
    elif response.curve[2] < FLAT * whole:
        problem = (
            f"tokens at m = .1 are read like whole ones ({response.curve[2] / whole:.1%} of the effect of m = 0): the LayerNorm"
            f" that follows the embeddings undoes the factor, so no Explainer can learn through it; {remedy}"
        )
    elif soft and response.curve[2] < 0.5 * whole:
        problem = f"soft masks are empty here: m = .1 has {response.curve[2] / whole:.0%} of the effect of m = 0; leave out --soft"
    if problem and not force:
        raise SeqmaskError(f"operator {operator}: {problem} (--force-operator goes on all the same)")
    return response


def _divergence(classifier: Classifier, full: Tensor, masked: Tensor) -> Tensor:
    """Mean KL(full || masked), summed over ranks."""
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
