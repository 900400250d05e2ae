"""The Explainer: what it starts as, the class that it is told, and masks that are moved to a threshold of .5."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqmask.models.checkpoint import round_to_half
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.models.explainer import CENTRE, LOGIT_BOUND, Explainer
from seqmask.sequences.tokens import SPECIALS

SIZES = (3, 5)
VOCABULARY = len(SPECIALS) + 64


def classifier(crossing: int = 0) -> Classifier:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(2)
        network = Classifier(configuration("tiny", VOCABULARY, 32, crossing), SIZES, "blend").eval()
        network.encoder.embeddings.word_embeddings.weight.normal_()
        network.head.weight.normal_()
    return network.requires_grad_(False)


def explainer(tracks: int = 1, spread: float = 0.7) -> Explainer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        found = Explainer.like(classifier(), tracks=tracks, area=0.2).eval()
        torch.nn.init.normal_(found.head.weight, std=spread)
    return found.requires_grad_(False)


def some_ids(rows: int = 12, width: int = 30) -> tuple[Tensor, Tensor]:
    ids = torch.randint(len(SPECIALS), VOCABULARY, (rows, width), generator=torch.Generator().manual_seed(1))
    return ids, torch.ones_like(ids, dtype=torch.bool)


class TestCentre:
    @pytest.mark.parametrize("tracks", [1, 2])
    def test_the_threshold_becomes_a_half_and_the_order_stays(self, tracks: int) -> None:
        """At thresholds that are values of the mask, as those chosen on `val` are: the same tokens are kept."""
        network = explainer(tracks)
        ids, attention = some_ids()
        before = torch.sigmoid(network(ids, attention))
        thresholds = [
            float(before[..., track].quantile(q, interpolation="nearest"))
            for track, q in zip(range(tracks), (0.8, 0.35), strict=False)
        ]
        network.centre(thresholds)
        after = torch.sigmoid(network(ids, attention))
        for track, threshold in enumerate(thresholds):
            one, other = before[..., track].flatten(), after[..., track].flatten()
            near = (one - threshold).abs() < 1e-4
            assert torch.equal((one >= threshold)[~near], (other >= CENTRE)[~near])
            torch.testing.assert_close(other[near], torch.full_like(other[near], CENTRE), rtol=0, atol=1e-3)
            rank = one.argsort()
            assert (other[rank].diff() >= -1e-6).all()
            assert 0.1 < float((other >= CENTRE).float().mean()) < 0.9

    @pytest.mark.parametrize("level", [-LOGIT_BOUND, -4.9999, -4.9, 4.9, 4.9999, LOGIT_BOUND])
    def test_near_the_bounds(self, level: float) -> None:
        """A mask that is nearly all 0 or all 1, and its threshold with it, comes to lie around a half."""
        network = explainer(spread=0.05)
        network.mix.zero_()
        raw = LOGIT_BOUND * torch.atanh(torch.tensor(level / LOGIT_BOUND).clamp(-0.999, 0.999))
        network.head.bias.fill_(float(raw))
        ids, attention = some_ids()
        before = network(ids, attention)
        threshold = float(torch.sigmoid(torch.tensor(level)))
        network.centre([threshold])
        after = network(ids, attention)
        assert torch.isfinite(after).all()
        assert float(after.std()) > 0.1, "far from the bounds differences between tokens are larger"
        assert float(after.mean().abs()) < 0.3
        order = before.flatten().argsort()
        tied = before.flatten()[order].diff() == 0
        assert (after.flatten()[order].diff()[~tied] >= 0).all()

    @pytest.mark.parametrize("threshold", [0.0, 1e-9, 1.0])
    def test_beyond_the_range_of_masks(self, threshold: float) -> None:
        """Everything, or nothing, is kept, as it was."""
        network = explainer(spread=0.2)
        ids, attention = some_ids()
        network.centre([threshold])
        after = torch.sigmoid(network(ids, attention))
        assert torch.isfinite(after).all()
        assert ((after >= CENTRE) == (threshold < 0.5)).all()

    def test_centred_twice_is_centred(self) -> None:
        network = explainer()
        network.centre([0.3])
        bias = network.head.bias.clone()
        network.centre([CENTRE])
        torch.testing.assert_close(network.head.bias, bias)

    def test_half_precision_moves_few_tokens_over_the_threshold(self) -> None:
        """What is stored is rounded after it was centred."""
        network = explainer()
        ids, attention = some_ids(64)
        before = torch.sigmoid(network(ids, attention))
        threshold = float(before.quantile(0.8, interpolation="nearest"))
        network.centre([threshold])
        round_to_half(network)
        after = torch.sigmoid(network(ids, attention))
        assert float(((after >= CENTRE) != (before >= threshold)).float().mean()) < 0.01


class TestStart:
    @pytest.mark.parametrize("crossing", [0, 3])
    def test_it_starts_as_the_class_activation_map(self, crossing: int) -> None:
        """How far a token's state points towards the class told, against the mean class: one track a rank."""
        network = classifier(crossing)
        found = Explainer.like(network, tracks=2, area=0.5).eval()
        ids, attention = some_ids()
        attention[3:, 20:] = False
        classes = torch.tensor([[2, 4]] * 12)
        with torch.no_grad():
            logits = found(ids, attention, classes)
            hidden = network.encoder(input_ids=ids, attention_mask=attention).last_hidden_state
            logit = torch.atanh(logits / LOGIT_BOUND) * LOGIT_BOUND
            for rank, (weights, told) in enumerate(zip(network.head.weight.split(SIZES), (2, 4), strict=True)):
                for row in range(12):
                    states = hidden[row, attention[row]]
                    states = states - states.mean(dim=0)
                    probabilities = (network(ids, attention).split(SIZES, dim=1)[rank])[row].softmax(dim=0)
                    maps = []
                    for against in (weights.mean(dim=0), probabilities @ weights):
                        towards = states @ (weights[told] - against)
                        maps.append(towards / towards.square().mean().sqrt())
                    torch.testing.assert_close(
                        logit[row, attention[row], rank], maps[0] + maps[1], rtol=1e-3, atol=1e-2
                    )

    def test_the_class_that_is_told_moves_its_own_track_alone(self) -> None:
        found = Explainer.like(classifier(), tracks=2).eval()
        ids, attention = some_ids()
        with torch.no_grad():
            own = found(ids, attention)
            same = found(ids, attention, torch.full((12, 2), -1))
            classes = torch.full((12, 2), -1)
            classes[:, 1] = 3
            other = found(ids, attention, classes)
        assert torch.equal(own, same), "-1 is the class that the Explainer's own heads predict"
        assert torch.equal(other[..., 0], own[..., 0])
        assert (other[..., 1] != own[..., 1]).any()

    @pytest.mark.parametrize("area", [0.1, 0.2, 0.5])
    def test_it_starts_near_the_area(self, area: float) -> None:
        found = Explainer.like(classifier(), area=area).eval()
        with torch.no_grad():
            m = torch.sigmoid(found(*some_ids(64)))
        assert float(m.mean()) == pytest.approx(area, abs=0.1)

    def test_logits_stay_within_their_bound(self) -> None:
        network = explainer(spread=50.0)
        assert float(network(*some_ids()).abs().max()) <= LOGIT_BOUND
