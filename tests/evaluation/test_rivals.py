"""Other attribution methods: known answers on a linear classifier, their libraries' own, padding, windows, cost."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqmask.errors import UsageError
from seqmask.evaluation.orders import FRACTIONS, separations
from seqmask.evaluation.resampling import Resampling, estimate_over_columns
from seqmask.evaluation.rivals import perturb
from seqmask.evaluation.rivals.compare import OWN, RANDOM, Comparison, shared
from seqmask.evaluation.rivals.gradients import gradient_step
from seqmask.evaluation.rivals.names import Rival, parse
from seqmask.evaluation.rivals.rollout import pooled_rollout, rollout_step
from seqmask.evaluation.scoring import Scorer
from seqmask.inference.engine import Engine, Item
from seqmask.labels.ranks import Rank, Ranks
from seqmask.models.checkpoint import ClassifierModel, load_model
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.models.explainer import Explainer
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import MASK, KmerTokenizer

ALL = "saliency,gradxinput,ig-5,ig-odds-5,occlusion,occlusion-odds,rollout,lime-40,shap-20"


@pytest.fixture(autouse=True, scope="module")
def libraries() -> None:
    for package in ("captum", "lime", "shap"):
        pytest.importorskip(package)


def records(*lengths: int) -> list[Record]:
    rng = np.random.default_rng(0)
    return [Record(f"r{i}", f"r{i}", "".join(rng.choice(list("ACGT"), n))) for i, n in enumerate(lengths)]


def linear_model() -> ClassifierModel:
    """A classifier without layers: logits are the mean over tokens of a linear function of their embeddings."""
    tokenizer = KmerTokenizer(3, 3)
    ranks = Ranks((Rank("coarse", ("A", "B")), Rank("fine", ("a", "b", "c"))))
    config = {
        "model_type": "bert",
        "vocab_size": tokenizer.vocabulary_size,
        "hidden_size": 8,
        "num_hidden_layers": 0,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "max_position_embeddings": 16,
        "type_vocab_size": 1,
        "hidden_dropout_prob": 0.0,
    }
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(2)
        network = Classifier(config, ranks.sizes, "blend").eval()
        for weight in network.parameters():
            weight.normal_()
    return ClassifierModel(network, tokenizer, ranks, "", {})


@pytest.fixture
def linear() -> Scorer:
    """Records of 1, 5, 16 and (three windows of 16) many tokens."""
    return Scorer.of(records(3, 15, 48, 100), linear_model(), Engine(), overlap=6)


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Scorer:
    """Records of one and of several windows, in two frames."""
    model = load_model(tiny_model)
    return Scorer.of(records(200, 90, 600, 6), model.classifier, Engine(), overlap=60, frames=2)


def compared(scorer: Scorer) -> Comparison:
    classes = scorer.classes(scorer.logits())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Comparison(scorer, Explainer.like(scorer.model.network, tracks=1).eval(), classes, Resampling(3))


def all_scores(comparison: Comparison, name: str) -> list[NDArray[np.float32]]:
    rival = {"seqmask": OWN, "random": RANDOM}.get(name) or parse(name)[0]
    return comparison.scores(rival, range(len(comparison.scorer.prepared)))


def values_of(scorer: Scorer, row: int) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    return perturb.record_values(scorer, row, scorer.classes(scorer.logits())[row])


# Names


def test_names() -> None:
    assert parse("") == ()
    assert parse("ig, lime-5000,ig,rollout") == (
        Rival("ig", "ig", 50),
        Rival("lime-5000", "lime", 5000),
        Rival("rollout", "rollout", 0),
    )
    assert parse("ig-odds-7,occlusion-odds") == (
        Rival("ig-odds-7", "ig-odds", 7),
        Rival("occlusion-odds", "occlusion-odds", 0),
    )
    assert [rival.count for rival in parse("lime,shap,saliency,random")] == [1000, 500, 0, 0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("gradcam", "--rivals gradcam: no such method; expected saliency, gradxinput, ig"),
        ("ig-", "no such method"),
        ("saliency-5", "--rivals saliency-5: saliency takes no number; use saliency"),
        ("ig-0", "--rivals ig-0: expected at least ig-1"),
        ("lime-1", "expected at least lime-2"),
    ],
)
def test_bad_names(names: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(names)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"lime and shap not installed; .*in a clone of seqmask, pip install '\.\[rivals\]'$"
    ):
        parse("lime-100,shap,occlusion")
    assert len(parse("occlusion,rollout,random")) == 3, "these need no package"


# Known answers


def contributions(scorer: Scorer, row: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each token of a record adds to the logits of the linear classifier (N, C), and the logits without any."""
    network = scorer.model.network
    added, null, total = [], 0.0, scorer.lengths[row]
    for window in scorer.prepared[row].windows:
        ids = torch.from_numpy(window.tokens.ids.astype(np.int64))[None]
        with torch.inference_mode():
            shown, hidden = (
                network.head(network.encoder.embeddings(input_ids=i)[0]).numpy() for i in (ids, ids * 0 + MASK)
            )
        added.append((shown - hidden).astype(np.float64) / total)
        null = null + hidden.astype(np.float64).sum(axis=0) / total
    return np.concatenate(added), null


def test_integrated_gradients_of_a_linear_classifier(linear: Scorer) -> None:
    """Exactly what each token adds, whatever the steps; with the empty sequence's logits they sum to the record's."""
    comparison = compared(linear)
    classes = linear.classes(comparison.logits)
    for row, found in enumerate(all_scores(comparison, "ig-3")):
        added, null = contributions(linear, row)
        np.testing.assert_allclose(null + added.sum(axis=0), comparison.logits[row], atol=1e-4)
        columns = classes[row] + [0, 2]
        np.testing.assert_allclose(found, added[:, columns], atol=1e-4)


def test_occlusion_of_a_linear_classifier(linear: Scorer) -> None:
    """Full minus hidden, windows or not: hiding a token takes away what it adds to the record."""
    comparison = compared(linear)
    classes = linear.classes(comparison.logits)
    for row, found in enumerate(all_scores(comparison, "occlusion")):
        np.testing.assert_allclose(found, contributions(linear, row)[0][:, classes[row] + [0, 2]], atol=1e-4)


def test_occlusion_runs_the_window_only_but_answers_for_the_record(tiny: Scorer) -> None:
    row = 2
    assert len(tiny.prepared[row].windows) > 2
    values = values_of(tiny, row)
    tokens = tiny.lengths[row]
    ones = np.ones((1, tokens), dtype=np.float32)
    wanted = values(ones) - values(1 - np.eye(tokens, dtype=np.float32))
    np.testing.assert_allclose(all_scores(compared(tiny), "occlusion")[row], wanted, atol=1e-4)
    assert np.abs(wanted).max() > 0.01


def odds_of(scorer: Scorer, row: int, masks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log p / (1 - p) of the predicted classes (K, R), by probabilities."""
    classes = scorer.classes(scorer.logits())[row]
    p = perturb.record_values(scorer, row, classes, perturb.class_probabilities)(masks)
    return np.log(p) - np.log1p(-p)


def test_odds_are_what_they_say(tiny: Scorer) -> None:
    """Of a record of one window: each token's loss when it is hidden; a path that sums to what there is to lose."""
    scorer = tiny.like([records(150)[0]])
    scorer = replace(scorer, prepared=[replace(item, windows=item.windows[:1]) for item in scorer.prepared])
    tokens = scorer.lengths[0]
    ones = np.ones((1, tokens), dtype=np.float32)
    (occluded,), (path,) = (all_scores(compared(scorer), name) for name in ("occlusion-odds", "ig-odds-200"))
    whole = odds_of(scorer, 0, ones)
    np.testing.assert_allclose(occluded, whole - odds_of(scorer, 0, 1 - np.eye(tokens, dtype=np.float32)), atol=1e-4)
    to_lose = (whole - odds_of(scorer, 0, 0 * ones))[0]
    np.testing.assert_allclose(path.sum(axis=0), to_lose, atol=0.02 * np.abs(to_lose).max())
    assert np.abs(to_lose).max() > 0.01


@pytest.mark.parametrize(
    "name", ["gradxinput", "ig-20", "ig-odds-20", "occlusion", "occlusion-odds", "lime-300", "shap-100"]
)
def test_planted_evidence_is_found(name: str) -> None:
    """One token of ten, the others alike and silent, speaks for the class; every method that reads signs finds it."""
    model = linear_model()
    network, (token, other) = model.network, model.tokenizer.encode("GATACC").ids.tolist()
    with torch.no_grad():
        embeddings: Any = network.encoder.embeddings
        embeddings.position_embeddings.weight.zero_()
        embeddings.word_embeddings.weight[other] = embeddings.word_embeddings.weight[MASK]
        speaks, silent = embeddings(input_ids=torch.tensor([[token, other]]))[0]
        network.head.weight.zero_()
        network.head.bias.zero_()
        for column in (0, 2):  # the first class of each rank
            network.head.weight[column] = speaks - silent
            network.head.bias[column] = -(speaks - silent) @ silent
    scorer = Scorer.of([Record("x", "x", "ACC" * 6 + "GAT" + "ACC" * 3)], model, Engine())
    assert scorer.classes(scorer.logits()).tolist() == [[0, 0]]
    (found,) = all_scores(compared(scorer), name)
    assert found.argmax(axis=0).tolist() == [6, 6]


def additive(weights: NDArray[np.float64]) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    return lambda masks: 0.2 + masks @ weights


@pytest.fixture
def weights() -> NDArray[np.float64]:
    """What 13 tokens add to two probabilities."""
    drawn: NDArray[np.float64] = np.random.default_rng(4).uniform(-0.01, 0.05, (13, 2))
    return drawn


def test_lime_recovers_additive_probabilities(weights: NDArray[np.float64]) -> None:
    found = perturb.lime(additive(weights), 13, 2, 2000, 0)
    np.testing.assert_allclose(found, weights, atol=1e-3)  # its ridge penalty shrinks them a little


def test_lime_is_the_library(weights: NDArray[np.float64]) -> None:
    """The same figures as LimeTextExplainer on a text of 13 different words."""
    from lime.lime_text import LimeTextExplainer

    words = [chr(ord("a") + i) * 3 for i in range(13)]

    def classify(texts: list[str]) -> NDArray[np.float64]:
        masks = np.array([[word in text.split() for word in words] for text in texts], dtype=np.float32)
        return 0.2 + np.sin(3 * (masks @ weights))

    explainer = LimeTextExplainer(random_state=7, bow=False, feature_selection="none")
    wanted = explainer.explain_instance(" ".join(words), classify, labels=(0, 1), num_features=13, num_samples=60)
    found = perturb.lime(lambda masks: 0.2 + np.sin(3 * (masks @ weights)), 13, 2, 60, 7)
    for rank in (0, 1):
        np.testing.assert_allclose(found[:, rank], [w for _, w in sorted(wanted.local_exp[rank])], atol=1e-6)


@pytest.mark.parametrize("tokens", [1, 2, 7, 13])
def test_shap_recovers_additive_values(weights: NDArray[np.float64], tokens: int) -> None:
    starts = np.random.default_rng(1).permutation(tokens) * 3
    found = perturb.shap(additive(weights[:tokens]), starts, 2000, 0)
    np.testing.assert_allclose(found, weights[:tokens], atol=1e-6)


def test_shap_of_two_tokens_that_need_each_other() -> None:
    """Shapley by hand: 3 of their own and half of the 4 that only both have; and half of them for the other."""
    found = perturb.shap(lambda m: (3 * m[:, 0] + 4 * m[:, 0] * m[:, 1])[:, None].astype(float), np.arange(2), 100, 0)
    np.testing.assert_allclose(found[:, 0], [5.0, 2.0])


def test_shap_coalitions_are_neighbours_on_the_record(weights: NDArray[np.float64]) -> None:
    """With evaluations for the first split only, each half of the record, in whatever order it is stored, is one."""
    starts = np.array([30, 0, 36, 6, 18, 24, 12, 42])
    found = perturb.shap(additive(weights[:8]), starts, 4, 0)
    for half in (starts < 24, starts >= 24):
        np.testing.assert_allclose(found[half], np.broadcast_to(weights[:8][half].mean(axis=0), (4, 2)), atol=1e-6)


def test_shap_is_efficient_however_few_the_evaluations(tiny: Scorer) -> None:
    values = values_of(tiny, 0)
    tokens = tiny.lengths[0]
    ends = values(np.stack([np.ones(tokens), np.zeros(tokens)]).astype(np.float32))
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    found = perturb.shap(values, tiny.spans()[0][:, 0], 30, 0)
    np.testing.assert_allclose(found.sum(axis=0), ends[0] - ends[1], atol=1e-4)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # numpy's global generator is left as it was


def test_rollout_by_hand() -> None:
    """Two layers, two heads, three tokens, the last one padding."""
    first = np.array([[[0.5, 0.5, 0], [0.2, 0.8, 0], [0.5, 0.5, 0]], [[0.7, 0.3, 0], [0, 1, 0], [0.5, 0.5, 0]]])
    second = np.array([[[1, 0, 0], [1, 0, 0], [1, 0, 0]], [[1, 0, 0], [1, 0, 0], [1, 0, 0]]], dtype=float)
    layers = tuple(torch.from_numpy(part[None]).float() for part in (first, second))
    found = pooled_rollout(layers, torch.tensor([[True, True, False]]))
    one, two = (0.5 * part.mean(axis=0) + 0.5 * np.eye(3) for part in (first, second))
    np.testing.assert_allclose(found[0].numpy(), (two @ one)[:2].mean(axis=0), atol=1e-6)


def test_rollout_is_the_product_of_the_attentions(tiny: Scorer) -> None:
    from seqmask.models.encoders import build

    network = tiny.model.network
    ids = torch.from_numpy(tiny.prepared[0].windows[0].tokens.ids.astype(np.int64))[None]
    eager = build(network.config, "eager").eval()
    eager.load_state_dict(network.encoder.state_dict())
    with torch.inference_mode():
        layers = eager(input_ids=ids, output_attentions=True).attentions
    product = np.eye(ids.shape[1])
    for weights in layers:
        product = (0.5 * weights[0].mean(dim=0).numpy() + 0.5 * np.eye(ids.shape[1])) @ product
    (found,) = Engine().run(rollout_step(network), [Item(ids[0].numpy().astype(np.int32))])
    assert found.token is not None
    np.testing.assert_allclose(found.token[:, 0], product.mean(axis=0), atol=1e-5)
    assert not network.encoder._forward_hooks, "the classifier itself stays as it was"


# The libraries themselves


def captum_directly(scorer: Scorer, row: int, kind: str) -> NDArray[np.float32]:
    """Captum on the plain classifier, one unpadded window of a record, [MASK] ids as the baseline."""
    from captum.attr import LayerGradientXActivation, LayerIntegratedGradients

    network = scorer.model.network
    classes = scorer.classes(scorer.logits())[row]
    ids = torch.from_numpy(scorer.prepared[row].windows[0].tokens.ids.astype(np.int64))[None]
    found = []
    for r, columns in enumerate(scorer.model.ranks.slices):

        def forward(given: torch.Tensor, columns: slice = columns) -> torch.Tensor:
            return network(given, torch.ones_like(given, dtype=torch.bool))[:, columns]

        target, layer = int(classes[r]), network.encoder.embeddings
        if kind == "ig":
            method = LayerIntegratedGradients(forward, layer)
            values = method.attribute(ids, torch.full_like(ids, MASK), target, n_steps=5).sum(dim=-1)
        else:
            method = LayerGradientXActivation(forward, layer, multiply_by_inputs=kind == "gradxinput")
            values = method.attribute(ids, target)
            values = values.sum(dim=-1) if kind == "gradxinput" else values.norm(dim=-1)
        found.append(values[0].detach().numpy())
    return np.stack(found, axis=1)


@pytest.mark.parametrize("name", ["saliency", "gradxinput", "ig-5"])
def test_gradients_are_captums(tiny: Scorer, name: str) -> None:
    scorer = replace(tiny, prepared=[replace(item, windows=item.windows[:1]) for item in tiny.prepared])
    for row, found in enumerate(all_scores(compared(scorer), name)):
        wanted = captum_directly(scorer, row, name.split("-", maxsplit=1)[0])
        np.testing.assert_allclose(found, wanted, atol=3e-5 + 1e-4 * np.abs(wanted).max(), rtol=1e-3)
        assert found.std() > 0


def test_integrated_gradients_are_complete(tiny: Scorer) -> None:
    """Over all windows and frames of a record they sum to its logit less that of the record with every token hidden."""
    for row, found in enumerate(all_scores(compared(tiny), "ig-50")):
        ends = values_of(tiny, row)(np.stack([np.ones(len(found)), np.zeros(len(found))]).astype(np.float32))
        np.testing.assert_allclose(found.sum(axis=0), ends[0] - ends[1], atol=0.02 * np.abs(ends[0] - ends[1]).max())


def test_no_step_of_the_path_stays_in_memory(tiny: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's autocast, which is around all batches, would keep a cast of the embeddings at each step."""
    network, seen = tiny.model.network, []
    forward = network.forward

    def noted(*given: Any) -> Any:
        seen.append((torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()))
        return forward(*given)

    monkeypatch.setattr(network, "forward", noted)
    items = [Item(np.arange(5, 25, dtype=np.int32), fixed=np.zeros(len(network.sizes), np.int64))]
    Engine(precision="bf16").run(gradient_step(network, "ig", 3), items)
    assert set(seen) == {(True, False)}
    seen.clear()
    Engine().run(gradient_step(network, "ig", 3), items)
    assert {enabled for enabled, _ in seen} == {False}


def test_tokens_that_read_their_neighbours() -> None:
    """The path starts at what the operator shows of nothing, with k-mers that cross into the next token, too."""
    tokenizer = KmerTokenizer()
    ranks = Ranks((Rank("kind", ("A", "B", "C")),))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        network = Classifier(configuration("tiny", tokenizer.vocabulary_size, 64, crossing=6), ranks.sizes, "blend")
        network.head.weight.normal_()
        network.encoder.embeddings.word_embeddings.weight.normal_()  # type: ignore[operator, union-attr]
    scorer = Scorer.of(records(101), ClassifierModel(network.eval(), tokenizer, ranks, "", {}), Engine())
    (found,) = all_scores(compared(scorer), "ig-100")
    ends = values_of(scorer, 0)(np.stack([np.ones(len(found)), np.zeros(len(found))]).astype(np.float32))
    assert found.sum() == pytest.approx((ends[0] - ends[1]).item(), rel=0.02)


# Batches, windows, seeds, cost


@pytest.mark.parametrize("name", ["seqmask", *ALL.split(","), "random"])
def test_scores_depend_on_the_record_and_the_seed_alone(tiny: Scorer, name: str) -> None:
    """Not on padding, batches or neighbours; and again the same."""
    comparison = compared(tiny)
    together = all_scores(comparison, name)
    assert [len(part) for part in together] == tiny.lengths
    assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in together)
    for row, found in enumerate(together):
        alone = compared(replace(tiny.subset([row]), engine=Engine(most=1)))
        (again,) = all_scores(alone, name)
        np.testing.assert_allclose(again, found, atol=1e-4, rtol=2e-3)


@pytest.mark.parametrize("name", ["random", "lime-40"])
def test_another_seed_draws_anew(tiny: Scorer, name: str) -> None:
    comparison = compared(tiny)
    first = all_scores(comparison, name)[0]
    comparison.by = Resampling(comparison.by.seed + 1)
    assert (all_scores(comparison, name)[0] != first).any()


def test_forward_equivalents(tiny: Scorer) -> None:
    """A backward counts 2, and gradients are taken for each of the three ranks."""
    comparison = compared(tiny)
    costs = {rival.name: comparison.timed(rival)[1] for rival in (OWN, *parse(ALL), RANDOM)}
    forwards = {name: cost["forwards"] for name, cost in costs.items()}
    sizes = [[len(window.tokens) for window in item.windows] for item in tiny.prepared]
    occluded = sum(size * (size + 1) for of in sizes for size in of) / sum(map(sum, sizes))
    assert forwards.pop("occlusion") == pytest.approx(occluded)
    assert forwards.pop("occlusion-odds") == pytest.approx(occluded)
    assert 10 < forwards.pop("shap-20") <= 20
    assert forwards == {
        "seqmask": 1,
        "saliency": 9,
        "gradxinput": 9,
        "ig-5": 3 * (2 + 5 * 3),
        "ig-odds-5": 3 * (2 + 5 * 3),
        "rollout": 1,
        "lime-40": 40,
        "random": 0,
    }
    assert all(cost["milliseconds"] > 0 for cost in costs.values())
    assert not tiny.model.network._forward_pre_hooks, "nothing is left behind"


def test_one_score_for_all_ranks() -> None:
    scores = np.array([[0, 100, 5], [1, 300, 5], [2, 200, 5]], dtype=np.float32)
    unit = np.sqrt(1.5)
    np.testing.assert_allclose(shared(scores)[:, 0], [-2 * unit / 3, unit / 3, unit / 3], rtol=1e-5)
    np.testing.assert_array_equal(shared(scores[:, :1]), scores[:, :1])


def test_the_report(tiny: Scorer) -> None:
    """Every method beside the Explainer and a random order; gaps are those of the separations."""
    said: list[str] = []
    report = compared(tiny).run(parse("occlusion,saliency,random"), said.append)
    assert report["sequences"] == 4
    methods: dict[str, Any] = report["methods"]
    assert list(methods) == ["seqmask", "occlusion", "saliency", "random"]
    assert [line.split(":")[0] for line in said] == list(methods)
    own = methods["seqmask"]["shared"]["separation"]["mean"]
    for name, of in methods.items():
        for kind in ("shared", "per_rank"):
            if of[kind] is None:
                assert (name, kind) in {("seqmask", "per_rank"), ("random", "per_rank")}
                continue
            ranks = of[kind]["ranks"]
            points = [p for rank in ranks.values() for p in rank["fractions"].values()]
            separation = of[kind]["separation"]["mean"]
            assert separation == pytest.approx(np.mean([p["kept"] - p["removed"] for p in points]))
            if name == "seqmask":
                assert of[kind]["gap"] is None
            else:
                assert of[kind]["gap"]["mean"] == pytest.approx(own - separation)


def test_separation_by_hand() -> None:
    """Two ranks of two classes; the second knows one of three sequences, and counts as much as the first."""

    def logits(first: list[int], second: list[int]) -> NDArray[np.float32]:
        return np.concatenate([np.eye(2)[first], np.eye(2)[second]], axis=1).astype(np.float32)

    right, wrong = logits([0, 0, 0], [0, 0, 0]), logits([1, 1, 0], [1, 1, 1])
    at = dict.fromkeys(FRACTIONS, (right, wrong)) | {FRACTIONS[0]: (right, right)}
    reference = np.array([[0, 0], [0, -1], [0, -1]])
    parts = separations([at, at], [slice(0, 2), slice(2, 4)], reference)
    # three of four shares separate: two of three sequences at the first rank, the only one at the second
    np.testing.assert_allclose(parts, [[0.75, 0.75], [0.75, np.nan], [0, np.nan]])
    assert estimate_over_columns(parts, Resampling(1))["mean"] == pytest.approx(0.75 * (2 / 3 + 1) / 2)
    assert np.isnan(separations([at], [slice(0, 2)], np.full((3, 1), -1))).all()
