"""Our BERT against transformers': the same weights, the same numbers, and none of its imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from seqmask.models.bert import Bert
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
