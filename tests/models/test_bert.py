"""Our BERT against transformers': the same weights, the same numbers, and none of its imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from seqmask.commands.mask import lower
from seqmask.models.bert import LONG, Bert, attention_by_rows
from seqmask.models.checkpoint import load_model
from seqmask.models.encoders import build

OWN = {
    "vocab_size": 99,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 100,
    "max_position_embeddings": 70,
    "type_vocab_size": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-5,
}
FOREIGN = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}  # the rest by default


def pair(config: dict[str, Any]) -> tuple[Bert, BertModel]:
    """Both from the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        ours = Bert(config)
        torch.manual_seed(4)
        theirs = BertModel(BertConfig(**config, attn_implementation="sdpa"), add_pooling_layer=False)
    return ours, theirs


def inputs(kind: str, rows: int, length: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows * length)
    ids = torch.randint(5, 60, (rows, length), generator=generator)
    attention = torch.ones(rows, length, dtype=torch.bool)
    if kind == "added":
        return ids, torch.randn(rows, 1, length, length, generator=generator)
    if kind != "full":
        attention[0, length // 2 + 1 :] = False
    return ids, attention.long() if kind == "integers" else attention


@pytest.mark.parametrize("config", [OWN, FOREIGN], ids=["own", "foreign"])
def test_the_same_seed_gives_the_same_weights_under_the_same_names(config: dict[str, Any]) -> None:
    ours, theirs = (encoder.state_dict() for encoder in pair(config))
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["full", "padded", "integers", "added"])
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (3, 17), (7, 70)])
@pytest.mark.parametrize("config", [OWN, FOREIGN], ids=["own", "foreign"])
def test_the_same_states_to_the_last_bit(
    config: dict[str, Any], rows: int, length: int, kind: str, precision: str
) -> None:
    ids, attention = inputs(kind, rows, length)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        ours, theirs = (
            encoder.eval()(input_ids=ids, attention_mask=attention).last_hidden_state for encoder in pair(config)
        )
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)


def test_the_same_dropout_and_gradients() -> None:
    ids, attention = inputs("padded", 5, 20)
    gradients = []
    for encoder in pair(FOREIGN):
        with torch.random.fork_rng():
            torch.manual_seed(9)
            encoder.train()(input_ids=ids, attention_mask=attention).last_hidden_state.square().sum().backward()
        gradients.append({name: weight.grad for name, weight in encoder.named_parameters()})
    assert list(gradients[0]) == list(gradients[1])
    for ours, theirs in zip(*(of.values() for of in gradients), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        assert theirs.abs().max() > 0


@pytest.mark.parametrize("kind", ["none", "bool", "added", "one for all"])
def test_attention_in_bfloat16_is_torchs(kind: str) -> None:
    """Up to the rounding of bfloat16, which torch's own attention has as well."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 2, 40, 16) for _ in range(3))
    seen = torch.rand(3, 1, 40, 40) < 0.7
    seen[..., 0] = True
    mask = {"none": None, "bool": seen, "added": torch.randn(3, 1, 40, 40), "one for all": seen[:1]}[kind]
    exact = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    low = [part.bfloat16() for part in (query, key, value)]
    added = mask is not None and mask.dtype != torch.bool
    found = attention_by_rows(low[0], low[1], low[2], mask)
    torchs = F.scaled_dot_product_attention(*low, attn_mask=mask.bfloat16() if added else mask)  # type: ignore[union-attr]
    assert found.dtype == torch.bfloat16
    error, usual = ((part.float() - exact).abs().mean() for part in (found, torchs))
    assert 0 < error < 2 * usual + 1e-3


def test_long_sequences_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder takes that attention for them alone, without gradients, and comes out as in float32."""
    network = Bert({**OWN, "max_position_embeddings": LONG}).eval()
    called = []

    def spy(*arguments: Any) -> Tensor:
        called.append(arguments[0].shape[2])
        return attention_by_rows(*arguments)

    monkeypatch.setattr("seqmask.models.bert.attention_by_rows", spy)
    torch.manual_seed(0)
    ids, seen = torch.randint(5, 99, (3, LONG)), torch.ones(3, LONG, dtype=torch.bool)
    seen[1, 50:] = False
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(ids, seen)
        with torch.no_grad():
            network(ids[:, : LONG - 1], seen[:, : LONG - 1])
            assert called == []
            found = network(ids, seen).last_hidden_state
    assert called == [LONG] * 3
    with torch.no_grad():
        exact = network(ids, seen).last_hidden_state
        assert called == [LONG] * 3
    assert float((found - exact)[seen].abs().mean()) < 0.02


def test_build_takes_ours_where_it_is_the_same() -> None:
    config = {"model_type": "bert", **OWN}
    assert isinstance(build(config), Bert)
    eager = build(config, "eager")
    assert isinstance(eager, BertModel)
    assert isinstance(build({**config, "hidden_act": "relu"}), BertModel)
    ids, attention = inputs("padded", 4, 30)
    ours = build(config).eval()
    eager.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        states = [each.eval()(input_ids=ids, attention_mask=attention).last_hidden_state for each in (ours, eager)]
    torch.testing.assert_close(states[0][attention], states[1][attention], rtol=0, atol=1e-5)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="hidden_size 48 is no multiple of num_attention_heads 5"):
        Bert({**OWN, "num_attention_heads": 5})
    with pytest.raises(ValueError, match="only gelu"):
        Bert({**OWN, "hidden_act": "relu"})


def test_a_model_is_loaded_without_transformers(tiny_model: Path) -> None:
    """Its import alone would take longer than the first mask."""
    script = (
        "import sys\nfrom pathlib import Path\nimport seqmask.commands.mask\n"
        "from seqmask.models.checkpoint import load_model\nload_model(Path(sys.argv[1]))\n"
        "heavy = {name.split('.')[0] for name in sys.modules} & {'transformers', 'scipy', 'sympy', 'accelerate'}\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tiny_model], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["full", "padded", "added"])
@pytest.mark.parametrize("around", [False, True], ids=["alone", "autocast"])
def test_a_lowered_encoder_says_nearly_the_same_and_autocast_leaves_it_alone(kind: str, around: bool) -> None:
    ours, _ = pair(OWN)
    ids, attention = inputs(kind, 3, 40)
    with torch.inference_mode():
        expected = ours.eval()(ids, attention).last_hidden_state
        names = list(ours.state_dict())
        ours.lower()
        if kind == "added":
            attention = attention.bfloat16()
        with torch.autocast("cpu", torch.bfloat16, enabled=around):
            found = ours(ids, attention).last_hidden_state
    assert found.dtype == torch.bfloat16
    assert list(ours.state_dict()) == names
    assert (found.float() - expected).abs().mean() < 0.02
    assert F.cosine_similarity(found.float(), expected, dim=-1).min() > 0.999


def test_joined_queries_keys_and_values_are_those_of_three_products() -> None:
    ours, _ = pair(OWN)
    ids, attention = inputs("padded", 3, 40)
    with torch.inference_mode():
        expected = ours.eval()(ids, attention).last_hidden_state
        for layer in ours.encoder["layer"]:
            layer.attention["self"].join()
        torch.testing.assert_close(ours(ids, attention).last_hidden_state, expected)


def test_masks_of_a_lowered_model_are_nearly_the_same(tiny_model: Path) -> None:
    """Through every operator, `gate` with its logits for attention too, and the Explainer that reads the states."""
    model = load_model(tiny_model)
    network, explainer = model.classifier.network, model.explainer
    ids = torch.randint(5, 4101, (4, 30), generator=torch.Generator().manual_seed(2))
    attention = torch.ones_like(ids, dtype=torch.bool)
    attention[0, 20:] = False
    half = (torch.arange(30) % 2).float().expand(4, -1)

    def said() -> list[Tensor]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = [network(ids, attention, half, operator) for operator in ("scale", "blend", "gate")]
            return [*logits, torch.sigmoid(explainer(ids, attention, torch.zeros(4, 3, dtype=torch.int64)))]

    expected = said()
    lower(model)
    assert network.encoder.dtype == explainer.encoder.dtype == torch.bfloat16
    assert network.head.weight.dtype == explainer.head.weight.dtype == torch.float32
    for one, other in zip(expected, said(), strict=True):
        assert other.dtype == torch.float32
        assert (one - other).abs().mean() < 0.05 * one.std()
