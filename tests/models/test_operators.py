"""The three masking operators on the encoders that are built: what m = 1, m = 0 and what is in between must do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from seqmask.errors import SeqmaskError
from seqmask.models.classifier import Classifier
from seqmask.models.explainer import Explainer
from seqmask.models.operators import OPERATORS, blend, gate_attention, scale
from seqmask.models.selftest import LEVELS, check_operator, respond
from seqmask.sequences.tokens import CLS, MASK, PAD, SEP
from seqmask.training.dataset import TrainingBatch
from seqmask.training.objectives import ExplainerObjective, Terms

SIZES = (3, 5)
SHAPE = {
    "vocab_size": 69,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ENCODERS = {
    "bert": {"model_type": "bert", "type_vocab_size": 1, "layer_norm_eps": 1e-5, **NO_DROPOUT},
    "bert crossing": {
        "model_type": "bert",
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "crossing_kmers": 3,
        "crossing_phases": 3,
        "pooler": 24,
        **NO_DROPOUT,
    },
    # Nucleotide Transformer 2: rotary positions, no LayerNorm after the embeddings but one in front of each block
    "esm": {
        "model_type": "esm",
        "position_embedding_type": "rotary",
        "emb_layer_norm_before": False,
        "token_dropout": False,
        "mask_token_id": MASK,
        **NO_DROPOUT,
    },
    # Nucleotide Transformer 1: learned positions, added within the embedding module
    "esm absolute": {
        "model_type": "esm",
        "position_embedding_type": "absolute",
        "emb_layer_norm_before": False,
        "token_dropout": False,
        "mask_token_id": MASK,
        **NO_DROPOUT,
    },
    # ESM-2 as published: embeddings are rescaled by the share of [MASK] tokens
    "esm token dropout": {
        "model_type": "esm",
        "position_embedding_type": "rotary",
        "emb_layer_norm_before": False,
        "token_dropout": True,
        "mask_token_id": MASK,
        **NO_DROPOUT,
    },
    "modernbert": {
        "model_type": "modernbert",
        "pooler": 24,
        "embedding_dropout": 0.0,
        "attention_dropout": 0.0,
        "mlp_dropout": 0.0,
        "cls_token_id": CLS,
        "bos_token_id": CLS,
        "sep_token_id": SEP,
        "eos_token_id": SEP,
    },
}
CASES = [(name, operator) for name in ENCODERS for operator in ("scale", "blend")]
CASES += [("bert", "gate"), ("bert crossing", "gate")]
ESM = [name for name in ENCODERS if name.startswith("esm")]


@pytest.fixture(autouse=True)
def _one_seed():
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        yield


def network(name: str, operator: str = "blend") -> Classifier:
    """Random weights, large enough for a response: embeddings of size 1, as after training, layers of .1."""
    classifier = Classifier({**SHAPE, **ENCODERS[name]}, SIZES, operator).eval()
    for parameter, weight in classifier.named_parameters():
        if weight.ndim == 2:
            weight.normal_(std=1.0 if "embeddings" in parameter else 0.1)
    return classifier


def some_ids(rows: int = 6, width: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, SHAPE["vocab_size"], (rows, width))
    return ids, torch.ones_like(ids, dtype=torch.bool)


@pytest.mark.parametrize(("name", "operator"), CASES)
def test_mask_of_ones_changes_nothing(name, operator):
    classifier = network(name)
    ids, attention = some_ids()
    attention[1, 12:] = False
    ids[1, 12:] = PAD
    plain = classifier(ids, attention)
    assert plain.shape == (6, sum(SIZES))
    assert plain.std() > 0.01
    torch.testing.assert_close(classifier(ids, attention, torch.ones(ids.shape), operator), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "operator"), CASES)
def test_mask_of_zeros_hides_everything(name, operator):
    """All sequences of one length look the same: no token, position or rescaling leaks."""
    classifier = network(name)
    ids, attention = some_ids()
    hidden = classifier(ids, attention, torch.zeros(ids.shape), operator)
    assert torch.isfinite(hidden).all()
    torch.testing.assert_close(hidden, hidden[:1].expand_as(hidden), rtol=0, atol=1e-5)
    plain = classifier(ids, attention)
    assert (hidden - plain).abs().max() > 0.01


@pytest.mark.parametrize(("name", "operator"), CASES)
def test_padding_changes_nothing(name, operator):
    classifier = network(name)
    ids, attention = some_ids(4, 12)
    mask = torch.rand(ids.shape)
    wide = torch.cat([ids, torch.full((4, 7), PAD)], dim=1)
    shown = torch.cat([attention, torch.zeros(4, 7, dtype=torch.bool)], dim=1)
    junk = torch.cat([mask, torch.rand(4, 7)], dim=1)  # whatever the mask says of padding
    for of_plain, of_wide in (((), ()), ((mask, operator), (junk, operator))):
        torch.testing.assert_close(
            classifier(wide, shown, *of_wide), classifier(ids, attention, *of_plain), rtol=0, atol=1e-4
        )


@pytest.mark.parametrize(("name", "operator"), CASES)
def test_hiding_one_token_is_local_and_counts(name, operator):
    """Rows are masked on their own, and a hidden token's identity does not matter any more."""
    classifier = network(name)
    ids, attention = some_ids()
    mask = torch.ones(ids.shape)
    mask[2, 5] = 0
    masked, plain = classifier(ids, attention, mask, operator), classifier(ids, attention)
    others = torch.arange(len(ids)) != 2
    torch.testing.assert_close(masked[others], plain[others], rtol=0, atol=1e-5)
    assert (masked[2] - plain[2]).abs().max() > 1e-4
    swapped = ids.clone()
    swapped[2, 5] = (ids[2, 5] - 4) % 60 + 5
    assert swapped[2, 5] != ids[2, 5]
    torch.testing.assert_close(classifier(swapped, attention, mask, operator), masked, rtol=0, atol=1e-5)


@pytest.mark.parametrize("operator", OPERATORS)
def test_special_tokens_are_never_masked(operator):
    classifier = network("bert")
    ids, attention = some_ids()
    ids[:, 0], ids[:, -1] = CLS, SEP
    mask = torch.rand(ids.shape)
    other = mask.clone()
    other[:, 0] = other[:, -1] = 0
    torch.testing.assert_close(
        classifier(ids, attention, mask, operator), classifier(ids, attention, other, operator), rtol=0, atol=0
    )


@pytest.mark.parametrize("operator", OPERATORS)
def test_half_a_mask_is_neither_end(operator):
    classifier = network("bert")
    ids, attention = some_ids()
    full, half, none = (classifier(ids, attention, torch.full(ids.shape, m), operator) for m in (1.0, 0.5, 0.0))
    assert (half - full).abs().max() > 1e-3 or operator == "gate"  # the same gate on every token is no gate
    assert (half - none).abs().max() > 1e-3
    uneven = torch.where(torch.arange(ids.shape[1]) % 2 == 0, 0.5, 1.0).expand(ids.shape)
    assert (classifier(ids, attention, uneven, operator) - full).abs().max() > 1e-3


def test_the_stored_operator_is_the_default():
    ids, attention = some_ids()
    mask = torch.rand(ids.shape)
    for operator in OPERATORS:
        classifier = network("bert", operator)
        given = classifier(ids, attention, mask, operator)
        torch.testing.assert_close(classifier(ids, attention, mask), given, rtol=0, atol=0)


def test_the_mask_is_gone_after_an_error():
    classifier = network("bert")
    ids, attention = some_ids()
    plain = classifier(ids, attention)
    with pytest.raises(RuntimeError):
        classifier(ids, attention, torch.zeros(6, 21), "scale")
    with pytest.raises(RuntimeError), classifier.site.masked(torch.zeros(6, 20), "scale"):
        raise RuntimeError
    torch.testing.assert_close(classifier(ids, attention), plain, rtol=0, atol=0)


def test_formulas_by_hand():
    hidden, baseline = torch.tensor([[[2.0, 4.0], [1.0, 1.0]]]), torch.tensor([[[0.0, 8.0], [3.0, 3.0]]])
    mask = torch.tensor([[0.25, 1.0]])
    assert scale(hidden, mask, baseline).tolist() == [[[0.5, 1.0], [1.0, 1.0]]]
    assert blend(hidden, mask, baseline).tolist() == [[[0.5, 7.0], [1.0, 1.0]]]
    logits = gate_attention(torch.tensor([[True, True, False]]), torch.tensor([[1.0, 0.5, 1.0]]), torch.float32)
    assert logits.shape == (1, 1, 3, 3)
    assert logits[0, 0, 2, :2].exp().tolist() == [1.0, 0.5]
    assert logits[0, 0, 0, 2].exp() == 0
    hidden_key = gate_attention(torch.tensor([[True, True]]), torch.tensor([[1.0, 0.0]]), torch.float16)
    assert hidden_key.isfinite().all()
    assert hidden_key[0, 0, 0, 1].float().exp() == 0


@pytest.mark.parametrize("name", ["esm", "modernbert"])
def test_gate_needs_bert(name):
    classifier = network(name)
    ids, attention = some_ids()
    expected = f"operator gate needs a BERT encoder, not '{name}'"
    with pytest.raises(SeqmaskError, match=expected):
        classifier(ids, attention, torch.ones(ids.shape), "gate")
    with pytest.raises(SeqmaskError, match=expected):
        check_operator(classifier, "gate")
    with pytest.raises(SeqmaskError, match=expected):
        Classifier({**SHAPE, **ENCODERS[name]}, SIZES, "gate")


@pytest.mark.parametrize("name", ["bert", "bert crossing"])
def test_a_gate_leaves_hidden_tokens_out(name, monkeypatch):
    """On a CPU, where all are open or closed: what layers never see changes nothing, even where nothing is shown."""
    classifier = network(name)
    ids, attention = some_ids(6, 24)
    attention[2, 15:] = False
    ids = ids.where(attention, PAD)
    mask = (torch.rand(ids.shape, generator=torch.Generator().manual_seed(3)) < 0.3).float()
    mask[0], mask[5, 3:] = 0, 0
    widths = []
    classifier.encoder.encoder.layer[0].register_forward_pre_hook(lambda _, given: widths.append(given[0].shape[1]))
    found = classifier(ids, attention, mask, "gate")
    most = int((mask * attention).sum(dim=1).max())
    with torch.enable_grad():
        trained = classifier(ids, attention, mask, "gate")
    monkeypatch.setattr("seqmask.models.classifier._hidden_can_be_left_out", lambda _: False)
    whole = classifier(ids, attention, mask, "gate")
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(trained, whole, rtol=0, atol=0)
    monkeypatch.undo()
    classifier(ids, attention, mask * 0.5, "gate")
    everything = classifier(ids, attention, torch.ones_like(mask), "gate")
    torch.testing.assert_close(everything, classifier(ids, attention), rtol=0, atol=1e-5)
    assert widths == [most, 24, 24, 24, 24, 24]
    assert most < 15


def test_a_gate_on_an_encoder_of_transformers():
    """Which knows nothing of leaving tokens out: hidden tokens are closed as any others."""
    plain = Classifier({**SHAPE, **ENCODERS["bert"], "hidden_act": "relu"}, SIZES, "gate").eval()
    ids, attention = some_ids()
    mask = (torch.rand(ids.shape) < 0.5).float()
    with torch.no_grad():
        found = plain(ids, attention, mask)
        torch.testing.assert_close(found, plain(ids, attention, mask.clamp(1e-30, 1 - 1e-7)), rtol=0, atol=1e-4)
        assert (found - plain(ids, attention)).abs().max() > 1e-4


def test_pooling_is_exact_under_autocast():
    """A sum over hundreds of states in bfloat16 would lose most of what bfloat16 layers have left."""
    classifier = network("bert crossing", "gate")
    states, weights = torch.randn(3, 500, SHAPE["hidden_size"]) + 1, torch.rand(3, 500)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = classifier._pool_and_score(states, weights)
    with torch.no_grad():
        torch.testing.assert_close(found, classifier._pool_and_score(states, weights), rtol=0, atol=0)


# The self-test


@pytest.mark.parametrize("name", ESM)
def test_selftest_refuses_a_factor_in_front_of_a_layer_norm(name):
    classifier = network(name)
    with pytest.raises(SeqmaskError, match=r"operator scale: .*LayerNorm.*use --operator blend \(--force-operator"):
        check_operator(classifier, "scale")
    response = check_operator(classifier, "scale", force=True)
    assert response.jump > 0.3  # LN(m e) = LN(e) until m is 0


@pytest.mark.parametrize(
    ("name", "operator"), [case for case in CASES if not ("esm" in case[0] and case[1] == "scale")]
)
def test_selftest_passes(name, operator):
    classifier = network(name).train()
    response = check_operator(classifier, operator)
    assert classifier.training  # as it was
    assert response.curve[0] == pytest.approx(0, abs=1e-6)
    assert response.curve[-1] > 1e-4
    assert response.identity < 1e-5
    assert response.leak < 1e-5
    assert response.jump < 0.1
    assert response.summary.startswith("KL at m = 1: ")


@pytest.mark.parametrize("name", ESM)
def test_selftest_refuses_a_baseline_without_a_norm(name):
    """`blend` in front of a LayerNorm hides only if [MASK] is as large as a token: else it is nearly `scale`."""
    classifier = network(name)
    words = classifier.encoder.embeddings.word_embeddings.weight
    norms = words.norm(dim=1)
    assert 0.5 < norms[MASK] / norms.mean() < 2
    check_operator(classifier, "blend")
    if name == "esm absolute":
        classifier.encoder.embeddings.position_embeddings.weight.mul_(1e-3)  # they are part of the baseline, too
    words[MASK] *= 1e-3
    with pytest.raises(SeqmaskError, match=r"operator blend: .*LayerNorm"):
        check_operator(classifier, "blend")


def test_selftest_refuses_faint_tokens():
    """Post-LN with hardly any attention: LN(m h + tiny) = LN(h), so a tenth of a token is read like the whole."""
    classifier = network("bert")
    for parameter, weight in classifier.named_parameters():
        if "output.dense" in parameter:
            weight.mul_(0.01)
    with pytest.raises(SeqmaskError, match=r"m = \.1 have 0\.\d% .*LayerNorm.*use --operator blend"):
        check_operator(classifier, "scale")
    check_operator(classifier, "blend")


def test_selftest_of_soft_masks():
    classifier = network("bert")
    with pytest.raises(SeqmaskError, match="soft masks are empty here"):
        check_operator(classifier, "scale", soft=True)
    check_operator(classifier, "blend", soft=True)


def test_selftest_refuses_what_changes_nothing():
    classifier = network("bert")
    classifier.head.weight.zero_()
    with pytest.raises(SeqmaskError, match=r"changes nothing.*use --operator gate"):
        check_operator(classifier, "blend")


def test_selftest_refuses_leaks_bad_hooks_and_nan(monkeypatch):
    good = respond(network("bert"), "blend")
    for change, found in (
        ({"leak": 0.1}, "predictions still differ by 0.1"),
        ({"by_length": 0.2}, "the length alone moves a class's probability by 0.2"),
        ({"identity": 0.1}, "a mask of ones changes the logits by 0.1"),
        ({"identity": float("nan")}, "not finite"),
        ({"curve": (*good.curve[:-1], float("nan"))}, "not finite"),
    ):
        bad = dataclasses.replace(good, **change)
        monkeypatch.setattr("seqmask.models.selftest.respond", lambda *_, bad=bad: bad)
        with pytest.raises(SeqmaskError, match=found):
            check_operator(network("bert"), "blend")
        assert check_operator(network("bert"), "blend", force=True) is bad


def test_selftest_sees_what_lengths_tell():
    """Positions of hidden tokens are read by `blend`; under `gate` nothing is left, so nothing tells the length."""
    classifier = network("bert")
    assert respond(classifier, "gate").by_length < 1e-6
    small = respond(classifier, "blend").by_length
    assert 0 < small < 0.1
    classifier.encoder.embeddings.position_embeddings.weight[:12].mul_(100)
    classifier.head.weight.mul_(30)
    assert respond(classifier, "gate").by_length < 1e-6
    with pytest.raises(SeqmaskError, match=r"the length alone .*use --operator gate"):
        check_operator(classifier, "blend")


def test_selftest_is_deterministic_and_curves_rise():
    classifier = network("bert")
    one, other = respond(classifier, "blend"), respond(classifier, "blend")
    assert one == other
    assert len(one.curve) == len(LEVELS)
    assert list(one.curve) == sorted(one.curve)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_explainer_of_any_architecture_learns(name):
    """It starts with the classifier's states, and the evidence under `blend` gives all of it a gradient."""
    classifier = network(name)
    explainer = Explainer.like(classifier)
    ids, attention = some_ids(8, 24)
    attention[2, 15:] = False
    ids = ids.where(attention, PAD)
    one, other = (
        model.eval().encoder(input_ids=ids, attention_mask=attention).last_hidden_state[attention]
        for model in (classifier, explainer)
    )
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    explainer.head.weight.normal_(std=0.1)
    batch = TrainingBatch(ids.numpy(), attention.numpy(), np.full((8, 2), -1), 3)
    objective = ExplainerObjective(
        explainer, classifier, "blend", "predicted", Terms(area=0, variation=0), False, 1, torch.device("cpu")
    )
    with torch.enable_grad():
        loss, terms = objective.loss(batch, 0.5)
        loss.backward()
    assert torch.isfinite(loss)
    assert terms["sufficiency"] > 0 < terms["necessity"]
    for part in (explainer.encoder, explainer.head, explainer.query):
        gradients = [weight.grad for weight in part.parameters() if weight.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert max(float(gradient.abs().max()) for gradient in gradients) > 0


def test_fewer_layers_are_the_first_ones():
    for name in ENCODERS:
        classifier = network(name)
        explainer = Explainer.like(classifier, layers=1)
        own, source = explainer.encoder.state_dict(), classifier.encoder.state_dict()
        assert 0 < len(own) < len(source)
        assert all(torch.equal(value, source[key]) for key, value in own.items())


@pytest.mark.parametrize("name", ENCODERS)
def test_the_longest_window_fits(name):
    classifier = network(name)
    assert classifier.max_tokens == SHAPE["max_position_embeddings"] - (name == "esm absolute")
    ids, attention = some_ids(2, classifier.max_tokens)
    assert torch.isfinite(classifier(ids, attention, torch.rand(ids.shape), "blend")).all()
