"""Model directories: what was saved comes back, and what does not belong together is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seqmask.errors import InputError, SeqmaskError
from seqmask.labels.ranks import Rank, Ranks
from seqmask.models.checkpoint import (
    CLASSIFIER_FILES,
    load_classifier,
    load_model,
    round_to_half,
    save_classifier,
    save_explainer,
    weights_sha256,
    write_tensors,
)
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.models.explainer import Explainer
from seqmask.models.storage import file_sha256, write_json
from seqmask.sequences.tokens import KmerTokenizer

RANKS = Ranks((Rank("domain", ("Bacteria", "Archaea"), (2, 2157)), Rank("genus", ("Vibrio", "Candidatus Ébola", "x"))))
TOKENIZER = KmerTokenizer(3, 2)
MODEL_FILES = (*CLASSIFIER_FILES, "explainer.safetensors", "explainer.json")


def network(seed: int = 0, operator: str = "gate") -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(configuration("tiny", TOKENIZER.vocabulary_size, 16), RANKS.sizes, operator).eval()


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A model directory that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def edit(path: Path, **values: Any) -> None:
    data = json.loads(path.read_text())
    write_json(path, data | values)


def test_a_load_draws_no_random_number(tiny_model: Path) -> None:
    """Neither the time nor the generator's state: what is drawn next is what would have been."""
    before = torch.get_rng_state()
    load_model(tiny_model)
    assert torch.equal(torch.get_rng_state(), before)
    Classifier(configuration("tiny", TOKENIZER.vocabulary_size, 16), (2, 3), "gate")
    assert not torch.equal(torch.get_rng_state(), before)


def test_classifier_round_trip(tmp_path: Path) -> None:
    saved = network()
    round_to_half(saved)
    digest = save_classifier(tmp_path / "a" / "b", saved, TOKENIZER, RANKS, {"seed": 3, "é": None})
    found = load_classifier(tmp_path / "a" / "b")
    assert digest == found.sha256 == hashlib.sha256((tmp_path / "a/b/classifier.safetensors").read_bytes()).hexdigest()
    assert weights_sha256(found.network) == weights_sha256(saved)
    assert all(weight.dtype == torch.float32 for weight in found.network.parameters())
    assert (found.tokenizer, found.ranks, found.settings) == (TOKENIZER, RANKS, {"seed": 3, "é": None})
    assert (found.network.operator, found.network.sizes) == ("gate", (2, 3))
    assert not found.network.training
    ids = torch.arange(5, 15)[None]
    with torch.inference_mode():
        logits = [model(ids, torch.ones_like(ids, dtype=torch.bool)) for model in (saved, found.network)]
    torch.testing.assert_close(*logits, rtol=0, atol=0)


def test_weights_are_stored_as_half_precision(tmp_path: Path) -> None:
    saved = network()
    before = weights_sha256(saved)
    save_classifier(tmp_path, saved, TOKENIZER, RANKS, {})
    stored = load_file(tmp_path / "classifier.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float16}
    assert weights_sha256(saved) == before, "saving must not round the weights in memory"
    round_to_half(saved)
    assert weights_sha256(saved) == weights_sha256(load_classifier(tmp_path).network) != before


def test_the_digest_of_weights_sees_every_bit() -> None:
    one, other = network(), network()
    assert weights_sha256(one) == weights_sha256(other)
    with torch.no_grad():
        other.head.bias[-1] += 1e-7
    assert weights_sha256(one) != weights_sha256(other)


@pytest.mark.parametrize("tracks", [1, 2])
def test_model_round_trip(tmp_path: Path, tracks: int) -> None:
    save_classifier(tmp_path, network(), TOKENIZER, RANKS, {})
    classifier = load_classifier(tmp_path)
    explainer = Explainer.like(classifier.network, 1, tracks)
    torch.nn.init.normal_(explainer.head.weight)
    explainer.need.fill_(0.7)
    round_to_half(explainer)
    digest = save_explainer(tmp_path, explainer, classifier, 0.375, "blend", {"steps": 7})
    found = load_model(tmp_path)
    assert (found.threshold, found.operator, found.settings, found.path) == (0.375, "blend", {"steps": 7}, tmp_path)
    assert found.sha256 == digest == file_sha256(tmp_path / "explainer.safetensors")
    assert found.classifier.sha256 == classifier.sha256
    assert found.explainer.tracks == tracks
    assert not found.explainer.training
    assert weights_sha256(found.explainer) == weights_sha256(explainer)
    ids = torch.arange(5, 15)[None]
    with torch.inference_mode():
        logits = [model.eval()(ids, torch.ones_like(ids, dtype=torch.bool)) for model in (explainer, found.explainer)]
    assert logits[0].shape == (1, 10, tracks)
    torch.testing.assert_close(*logits, rtol=0, atol=0)


def test_a_directory_of_before_masks_grew_with_need(tmp_path: Path) -> None:
    save_classifier(tmp_path, network(), TOKENIZER, RANKS, {})
    classifier = load_classifier(tmp_path)
    explainer = Explainer.like(classifier.network, 1, 2)
    explainer.need.fill_(0.7)
    round_to_half(explainer)
    save_explainer(tmp_path, explainer, classifier, 0.5, "blend", {})
    weights = tmp_path / "explainer.safetensors"
    save_file({name: tensor for name, tensor in load_file(weights).items() if name != "need"}, weights)
    found = load_model(tmp_path).explainer
    assert found.need.tolist() == [0, 0]
    assert found.mix.equal(explainer.mix)


def test_fewer_frames_have_thresholds_of_their_own(tmp_path: Path) -> None:
    save_classifier(tmp_path, network(), TOKENIZER, RANKS, {})
    classifier = load_classifier(tmp_path)
    explainer = Explainer.like(classifier.network, 1, 2)
    torch.nn.init.normal_(explainer.head.weight)
    thresholds = {1: [0.2, 0.7], 2: [0.4, 0.4]}
    save_explainer(tmp_path, explainer, classifier, 0.5, "blend", {}, 3, thresholds)
    ids = torch.randint(5, 25, (8, 15))
    with torch.inference_mode():
        before = torch.sigmoid(load_model(tmp_path).explainer(ids, None))
        for frames, levels in ((0, [0.5, 0.5]), *thresholds.items(), (3, [0.5, 0.5]), (6, [0.5, 0.5])):
            model = load_model(tmp_path)
            assert (model.frames, model.fewer) == (3, thresholds)
            model.read_in(frames)
            kept = before >= torch.tensor(levels)
            assert torch.equal(torch.sigmoid(model.explainer(ids, None)) >= 0.5, kept), frames
            assert kept.any()
            assert not kept.all()


@pytest.mark.usefixtures("usual_umask")
def test_files_can_be_read_by_others(tmp_path: Path) -> None:
    """safetensors writes 0600, which the users of an installed package could not read."""
    save_classifier(tmp_path, network(), TOKENIZER, RANKS, {})
    classifier = load_classifier(tmp_path)
    save_explainer(tmp_path, Explainer.like(classifier.network, 1), classifier, 0.5, "blend", {})
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(MODEL_FILES, "0o644"), "and no temporary file is left"


def test_another_classifier_under_the_explainer(copy: Path, tiny_model: Path) -> None:
    own = load_model(tiny_model)
    with torch.no_grad():
        own.classifier.network.head.bias += 1
    other = save_classifier(copy, own.classifier.network, own.classifier.tokenizer, own.classifier.ranks, {})
    with pytest.raises(InputError) as caught:
        load_model(copy)
    assert str(caught.value) == (
        f"{copy / 'explainer.json'}: the Explainer was trained for classifier {own.classifier.sha256[:12]}, "
        f"the directory holds classifier {other[:12]}; train an Explainer for this classifier"
    )


def test_another_tokenizer_under_the_explainer(copy: Path) -> None:
    before, after = KmerTokenizer(6, 6), KmerTokenizer(6, 3)
    write_json(copy / "tokenizer.json", after.to_json())
    with pytest.raises(InputError, match=f"tokenizer {before.sha256[:12]}.* tokenizer {after.sha256[:12]}"):
        load_model(copy)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(InputError, match="no such file") as caught:
        load_model(copy)
    assert str(caught.value).startswith(str(copy / name))


@pytest.mark.parametrize("load", [load_model, load_classifier])
def test_a_missing_directory(tmp_path: Path, load: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match=r"no such (model )?directory"):
        load(tmp_path / "none")


@pytest.mark.parametrize("text", ["", "{", '{"format_version": 1,}', "\xff"])
@pytest.mark.parametrize("name", [name for name in MODEL_FILES if name.endswith(".json")])
def test_broken_json(copy: Path, name: str, text: str) -> None:
    (copy / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="not readable as JSON") as caught:
        load_model(copy)
    assert str(caught.value).startswith(str(copy / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"format_version": 1}'])
@pytest.mark.parametrize("name", [name for name in MODEL_FILES if name.endswith(".json")])
def test_json_of_something_else(copy: Path, name: str, text: str) -> None:
    """One error that says which file it is, not a KeyError."""
    (copy / name).write_text(text)
    with pytest.raises(SeqmaskError) as caught:
        load_model(copy)
    assert str(copy / name) in str(caught.value)


def test_an_explainer_that_does_not_say_its_frames(copy: Path) -> None:
    path = copy / "explainer.json"
    data = json.loads(path.read_text())
    del data["frames"]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"explainer\.json.*frames"):
        load_model(copy)


@pytest.mark.parametrize("name", ["classifier.json", "explainer.json"])
def test_a_later_format(copy: Path, name: str) -> None:
    edit(copy / name, format_version=2)
    with pytest.raises(InputError, match="format version 2; expected 1; update seqmask"):
        load_model(copy)


@pytest.mark.parametrize("name", ["classifier.safetensors", "explainer.safetensors"])
@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_damaged_weights(copy: Path, name: str, damage: str) -> None:
    data = (copy / name).read_bytes()
    (copy / name).write_bytes({"text": b"not weights" * 100, "cut": data[: len(data) // 2], "empty": b""}[damage])
    with pytest.raises(SeqmaskError) as caught:
        load_classifier(copy) if name.startswith("classifier") else load_model(copy)
    assert str(caught.value).startswith(str(copy / name))
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit(copy: Path) -> None:
    data = json.loads((copy / "explainer.json").read_text())
    edit(copy / "explainer.json", encoder=data["encoder"] | {"hidden_size": 32})
    with pytest.raises(SeqmaskError, match="weights do not fit") as caught:
        load_model(copy)
    assert str(caught.value).startswith(str(copy / "explainer.safetensors"))
    assert "\n" not in str(caught.value), "an error is one line"


def test_weights_that_are_missing_or_too_many(copy: Path) -> None:
    weights = load_file(copy / "classifier.safetensors")
    for changed in ({**weights, "extra": torch.zeros(1)}, {k: v for k, v in weights.items() if k != "head.bias"}):
        save_file(changed, copy / "classifier.safetensors")
        with pytest.raises(SeqmaskError, match="weights do not fit"):
            load_classifier(copy)


def test_labels_that_do_not_fit(copy: Path) -> None:
    write_json(copy / "labels.json", RANKS.to_json())
    with pytest.raises(InputError, match=r"classes \(2, 3\); expected \(4, 5, 5\)") as caught:
        load_classifier(copy)
    assert str(caught.value).startswith(str(copy / "labels.json"))


def test_labels_that_cannot_be_understood_name_their_file(copy: Path) -> None:
    write_json(copy / "labels.json", {"ranks": [{"name": "genus", "classes": ["a", "a"]}]})
    with pytest.raises(InputError, match="a class twice") as caught:
        load_classifier(copy)
    assert str(caught.value).startswith(str(copy / "labels.json"))


def test_json_is_never_half_written(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": "é"})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "é"}
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_weights_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    """What safetensors raises, on a full disk too, is no OSError."""
    with pytest.raises(SeqmaskError, match=r"absent/w: cannot be written"):
        write_tensors(tmp_path / "absent" / "w", {"a": torch.zeros(3)}, {})
