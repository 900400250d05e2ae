"""The Explainer: what it starts as, the class that it is told, and masks that are moved to a threshold of .5."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqmask.models.checkpoint import round_to_half
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.models.explainer import (
    CENTRE,
    KEPT,
    LOGIT_BOUND,
    REMOVED,
    START,
    START_IN_MASKS,
    Explainer,
    near_top,
)
from seqmask.models.pooler import pooled_states
from seqmask.sequences.tokens import PAD, SPECIALS

SIZES = (3, 5)
VOCABULARY = len(SPECIALS) + 64


def classifier(crossing: int = 0, pooler: int = 0) -> Classifier:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(2)
        network = Classifier(configuration("tiny", VOCABULARY, 32, crossing, pooler=pooler), SIZES, "blend").eval()
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


def by_hand(network: Classifier, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What embeddings (T, D) lose, all together, when one token of (1, T) is hidden, and what one shown alone adds."""
    embeddings = network.encoder.embeddings

    def embedded(mask: Tensor) -> Tensor:
        with network.site.masked(mask[None], "blend"):
            return embeddings(input_ids=ids)[0]  # type: ignore[operator, no-any-return]

    single = torch.eye(ids.shape[1])
    nothing, everything = embedded(torch.zeros(ids.shape[1])), embedded(torch.ones(ids.shape[1]))
    taken = torch.stack([(everything - embedded(1 - one)).sum(dim=0) for one in single])
    return taken, torch.stack([(embedded(one) - nothing).sum(dim=0) for one in single])


def behind(network: Classifier, pooled: Tensor, direction: Tensor) -> Tensor:
    """The direction (D,) in which a pooled state (D,) has to move for the heads' input to move along `direction`."""
    if network.pooler is None:
        return direction
    with torch.enable_grad():
        at = pooled[None].clone().requires_grad_(True)
        return torch.autograd.grad(network.pooler(at)[0] @ direction, at)[0][0]


def z(readings: Tensor) -> Tensor:
    """Readings (n, T), each of mean 0 and variance 1."""
    return (readings - readings.mean(dim=1, keepdim=True)) / readings.std(1, False, keepdim=True)


def readings(network: Explainer, ids: Tensor, attention: Tensor, told: Tensor) -> Tensor:
    """Of the first mask, (B, T, R, 4)."""
    hidden = network.encoder(input_ids=ids, attention_mask=attention).last_hidden_state
    return network._readings(hidden, *network._evidence(ids), attention, told)[2]


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
            near = (one - threshold).abs() < 1e-5
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


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_first_mask_keeps_about_its_share(share: float) -> None:
    """The best tokens of each sequence, padding apart; steep, and alike for scores of any size."""
    attention = torch.arange(40) < torch.tensor([40, 25, 10])[:, None]
    scores = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    mask = near_top(scores, attention, share)
    torch.testing.assert_close(near_top(100 * scores + 7, attention, share), mask, rtol=1e-2, atol=1e-2)
    assert not mask[~attention].any()
    for row, length in enumerate((40, 25, 10)):
        best = scores[row, :length].argsort(descending=True)[: round(share * length)]
        assert set((mask[row] > 0.5).nonzero().flatten().tolist()) == set(best.tolist())
    assert float((mask - mask.round()).abs().mean()) < 0.05
    assert torch.isfinite(near_top(torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool), share)).all()


class TestStart:
    @pytest.mark.parametrize(("crossing", "pooler"), [(0, 0), (3, 0), (3, 40)])
    def test_it_starts_from_seven_readings_of_a_token(self, crossing: int, pooler: int) -> None:
        """By hand, a token at a time: its state, what hiding it takes out of all embeddings, what it gives alone; then
        the same where a first mask of these is used.

        Behind a pooler, along the gradient at the mean of the states that are there.
        """
        network = classifier(crossing, pooler)
        found = Explainer.like(network, tracks=2, area=0.5).eval()
        ids, attention = some_ids(3)
        ids[2, 20:], attention[2, 20:] = PAD, False
        told = (2, 4)
        with torch.no_grad():
            logits = found(ids, attention, torch.tensor([told] * 3))
            logit = torch.atanh(logits / LOGIT_BOUND) * LOGIT_BOUND
            hidden = network.encoder(input_ids=ids, attention_mask=attention).last_hidden_state
            for row, length in enumerate((30, 30, 20)):
                own = ids[row : row + 1, :length]
                taken, alone = by_hand(network, own)
                for rank, weights in enumerate(network.head.weight.split(SIZES)):
                    towards = weights[told[rank]]
                    others = [c for c in range(SIZES[rank]) if c != told[rank]]
                    state = hidden[row, :length]

                    def competing(
                        weight: Tensor,
                        state: Tensor = state,
                        rank: int = rank,
                        towards: Tensor = towards,
                        weights: Tensor = weights,
                        others: list[int] = others,
                    ) -> Tensor:
                        """Direction of the log odds where the mean of the states is by these weights (T,)."""
                        pooled = (state * weight[:, None]).sum(dim=0) / weight.sum()
                        at = network.head(pooled_states(network.pooler, pooled[None])).split(SIZES, dim=1)[rank]
                        return behind(network, pooled, towards - at[0, others].softmax(dim=0) @ weights[others])

                    mean = behind(network, state.mean(dim=0), towards - weights.mean(dim=0))
                    here = competing(torch.ones(length))
                    first = torch.tensor(START) @ z(
                        torch.stack([state @ mean, state @ here, taken @ here, alone @ mean])
                    )
                    everything = torch.ones(1, length, dtype=torch.bool)
                    kept, removed = (near_top(first[None], everything, share)[0] for share in (KEPT, REMOVED))
                    with_kept, with_rest = competing(kept), competing(1 - removed)
                    again = z(torch.stack([alone @ with_kept, taken @ with_rest, alone @ with_rest]))
                    expected = first + torch.tensor(START_IN_MASKS) @ again
                    torch.testing.assert_close(logit[row, :length, rank], expected, rtol=1e-3, atol=1e-2)

    @pytest.mark.parametrize("tracks", [1, 2])
    def test_more_is_kept_where_the_rest_is_sure_of_the_class(self, tracks: int) -> None:
        """All logits of a sequence are raised alike, by the log odds in what is left, on a logarithmic scale, over the
        usual; those of a class that is not the sequence's own are not.
        """
        network = classifier()
        found = Explainer.like(network, tracks=tracks).eval()
        ids, attention = some_ids(24)
        with torch.no_grad():
            hidden = network.encoder(input_ids=ids, attention_mask=attention).last_hidden_state
            best = torch.stack([of.argmax(dim=1) for of in network.head(hidden.mean(dim=1)).split(SIZES, dim=1)], dim=1)
            told = best.clone()
            told[::3, 1] = (best[::3, 1] + 1) % SIZES[1]
            plain = found(ids, attention, told)
            found.need.copy_(torch.tensor([0.5, 1.5])[:tracks])
            found.usual.copy_(torch.tensor([0.25, -0.5])[:tracks])
            raised = found(ids, attention, told)
            before, after = (LOGIT_BOUND * torch.atanh(of.double() / LOGIT_BOUND) for of in (plain, raised))
            odds = torch.zeros(24, 2)
            for rank in range(2):
                track = rank if tracks == 2 else 0
                first = torch.einsum("btrk,rk->bt", readings(found, ids, attention, told), found.mix[track, :, :4])
                rest = 1 - near_top(first, attention, REMOVED)
                state = torch.einsum("btd,bt->bd", hidden, rest / rest.sum(dim=1, keepdim=True))
                p = network.head(state).split(SIZES, dim=1)[rank].double().softmax(dim=1)
                odds[:, rank] = torch.logit(p.gather(1, told[:, rank : rank + 1])[:, 0])
            own = told == best
            if tracks == 1:
                odds, own = odds.amax(dim=1, keepdim=True), own.all(dim=1, keepdim=True)
            ahead = odds.sign() * (1 + odds.abs()).log()
            assert 0 < int(own.sum()) < own.numel()
            assert float(ahead.min()) < 0 < float(ahead.max()), "behind, too"
            torch.testing.assert_close(found.ahead(ids, attention, told), ahead, rtol=1e-3, atol=1e-3)
            expected = torch.where(own, found.need * (ahead - found.usual), 0)[:, None].expand_as(plain)
        torch.testing.assert_close((after - before).float(), expected, rtol=1e-2, atol=2e-2)

    def test_a_rank_of_one_class_is_ahead_of_nothing(self) -> None:
        network = Classifier(configuration("tiny", VOCABULARY, 32), (1, 5), "blend").eval()
        found = Explainer.like(network).eval()
        ids, attention = some_ids()
        with torch.no_grad():
            both = found.ahead(ids, attention, torch.tensor([[0, 3]] * 12))
            per_rank = Explainer.like(network, tracks=2).eval().ahead(ids, attention, torch.tensor([[0, 3]] * 12))
        assert not per_rank[:, 0].any()
        assert (both < 0).all(), "one of five, of random weights: not the 0 of the other rank"

    @pytest.mark.parametrize("length", [1, 2, 3])
    def test_padding_does_not_move_a_short_window(self, length: int) -> None:
        """What is beside it in a batch must not change what its tokens get."""
        found = Explainer.like(classifier(), tracks=2).eval()
        found.need.fill_(1.5)
        ids, attention = some_ids(2)
        ids[1, length:], attention[1, length:] = PAD, False
        with torch.no_grad():
            alone, beside = found(ids[1:, :length], None), found(ids, attention)[1:, :length]
        torch.testing.assert_close(alone, beside, rtol=1e-4, atol=1e-4)

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
