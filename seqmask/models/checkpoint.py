"""Model directories: safetensors and JSON, no pickle.

A classifier directory holds classifier.safetensors, classifier.json, tokenizer.json, labels.json. A model directory,
which `seqmask mask` reads, holds the same of its classifier and explainer.safetensors, explainer.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from seqmask.errors import InputError, SeqmaskError
from seqmask.labels.ranks import Ranks
from seqmask.models.classifier import Classifier
from seqmask.models.explainer import Explainer
from seqmask.models.storage import file_sha256, read_json, write_json
from seqmask.sequences.tokenizer import Tokenizer, tokenizer_of

FORMAT_VERSION = 1
CLASSIFIER_FILES = ("classifier.safetensors", "classifier.json", "tokenizer.json", "labels.json")


@dataclass(slots=True)
class ClassifierModel:
    """A classifier with what is needed to use it. sha256: of classifier.safetensors."""

    network: Classifier
    tokenizer: Tokenizer
    ranks: Ranks
    sha256: str
    settings: dict[str, Any]


@dataclass(slots=True)
class Model:
    """Classifier and Explainer. threshold: the Explainer's own tau; operator: the one it was trained with.

    frames: k-mer frames of a record that are read and averaged unless the user says otherwise. fewer: of each smaller
    number of frames the thresholds of the tracks, in (0, 1): see `read_in`.
    """

    classifier: ClassifierModel
    explainer: Explainer
    threshold: float
    operator: str
    frames: int
    sha256: str
    settings: dict[str, Any]
    path: Path
    fewer: dict[int, list[float]] = field(default_factory=dict)

    def read_in(self, frames: int) -> None:
        """Shift the masks so that the threshold is right where records are read in fewer frames; once, after loading.

        A nucleotide is kept where the tokens of any frame keep it, so fewer frames keep less at the same threshold.
        Nothing changes for the model's own number of frames (0 is that, too) and for larger ones.
        """
        if frames in self.fewer:  # a threshold is the m of some token, which rounding must not take away
            self.explainer.centre([tau * (1 - 1e-5) for tau in self.fewer[frames]])


def weights_sha256(module: nn.Module) -> str:
    """Digest of a module's weights (names, shapes, bytes), wherever they are."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write safetensors; what goes wrong, as on a full disk, is one line and leaves nothing."""
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        path.unlink(missing_ok=True)
        raise SeqmaskError(f"{path}: cannot be written: {error}") from error


def save_weights(path: Path, tensors: dict[str, Tensor], half: bool = False) -> None:
    """Write tensors as safetensors through a temporary name. half: floating point tensors as float16."""
    stored = {
        name: (
            tensor.detach().cpu().half() if half and tensor.is_floating_point() else tensor.detach().cpu()
        ).contiguous()
        for name, tensor in tensors.items()
    }
    temporary = path.with_name(f".{path.name}.tmp")
    write_tensors(temporary, stored, {"format": "pt"})
    temporary.chmod(0o644)  # safetensors writes 0600, which other users of an installed package could not read
    temporary.replace(path)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; half precision becomes float32."""
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise InputError(path, "no such file", remedy="give a directory that seqmask has written") from error
    except (SafetensorError, OSError) as error:
        raise InputError(path, f"not a safetensors file ({error})") from error
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def round_to_half(module: nn.Module) -> None:
    """Round the weights in place to what float16 storage keeps, so that reports are made from the stored weights."""
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())


def save_classifier(
    directory: Path, network: Classifier, tokenizer: Tokenizer, ranks: Ranks, settings: dict[str, Any]
) -> str:
    """Write a classifier directory; returns the digest of its weights file. Weights are stored as float16."""
    directory.mkdir(parents=True, exist_ok=True)
    save_weights(directory / CLASSIFIER_FILES[0], network.state_dict(), half=True)
    write_json(
        directory / "classifier.json",
        {
            "format_version": FORMAT_VERSION,
            "encoder": network.config,
            "sizes": list(network.sizes),
            "operator": network.operator,
            "settings": settings,
        },
    )
    write_json(directory / "tokenizer.json", tokenizer.to_json())
    write_json(directory / "labels.json", ranks.to_json())
    return file_sha256(directory / CLASSIFIER_FILES[0])


def load_classifier(directory: Path) -> ClassifierModel:
    """Read a classifier directory; the network is in eval mode on the CPU, in float32.

    Raises InputError where a file is missing, unreadable or of a newer format.
    """
    if not directory.is_dir():
        raise InputError(
            directory, "no such directory", expected="a classifier directory", remedy="see train-classifier"
        )
    data = read_json(directory / "classifier.json")
    _check(directory / "classifier.json", data, "encoder", "sizes", "operator", "settings")
    ranks = Ranks.from_json(read_json(directory / "labels.json"), directory / "labels.json")
    tokenizer = _tokenizer(directory / "tokenizer.json")
    with Undrawn():
        network = Classifier(data["encoder"], data["sizes"], data["operator"])
    if ranks.sizes != network.sizes:
        raise InputError(
            directory / "labels.json", f"classes {ranks.sizes}", expected=f"{network.sizes} as in the weights"
        )
    path = directory / CLASSIFIER_FILES[0]
    _load_into(network, path)
    return ClassifierModel(network.eval(), tokenizer, ranks, file_sha256(path), data["settings"])


def save_explainer(
    directory: Path,
    explainer: Explainer,
    classifier: ClassifierModel,
    threshold: float,
    operator: str,
    settings: dict[str, Any],
    frames: int = 1,
    fewer: Mapping[int, Sequence[float]] | None = None,
) -> str:
    """Write explainer.safetensors and explainer.json; returns the digest of the weights file."""
    directory.mkdir(parents=True, exist_ok=True)
    save_weights(directory / "explainer.safetensors", explainer.state_dict(), half=True)
    write_json(
        directory / "explainer.json",
        {
            "format_version": FORMAT_VERSION,
            "encoder": explainer.config,
            "tracks": explainer.tracks,
            "operator": operator,
            "site": "embeddings",
            "threshold": threshold,
            "frames": frames,
            "fewer_frames": {str(number): list(of_tracks) for number, of_tracks in (fewer or {}).items()},
            "classifier_sha256": classifier.sha256,
            "tokenizer_sha256": classifier.tokenizer.sha256,
            "settings": settings,
        },
    )
    return file_sha256(directory / "explainer.safetensors")


def load_model(directory: Path) -> Model:
    """Read a model directory; InputError where classifier or tokenizer are not those the Explainer was trained for."""
    if not directory.is_dir():
        raise InputError(directory, "no such model directory", remedy="see train-explainer")
    path = directory / "explainer.json"
    if not path.exists():
        raise InputError(path, "no such file: no Explainer here", remedy="make one with 'seqmask train-explainer'")
    data = read_json(path)
    digests = "classifier_sha256", "tokenizer_sha256"
    _check(path, data, "encoder", "tracks", "operator", "threshold", "frames", *digests, "settings")
    classifier = load_classifier(directory)
    for name, found in (("classifier", classifier.sha256), ("tokenizer", classifier.tokenizer.sha256)):
        wanted = data[f"{name}_sha256"]
        if found != wanted:
            raise InputError(
                path,
                f"the Explainer was trained for {name} {wanted[:12]}, the directory holds {name} {found[:12]}",
                remedy="train an Explainer for this classifier",
            )
    with Undrawn():
        explainer = Explainer(data["encoder"], classifier.network.sizes, data["tracks"])
    _load_into(explainer, directory / "explainer.safetensors")
    digest = file_sha256(directory / "explainer.safetensors")
    return Model(
        classifier,
        explainer.eval(),
        float(data["threshold"]),
        data["operator"],
        int(data["frames"]),
        digest,
        data["settings"],
        directory,
        {int(number): of_tracks for number, of_tracks in data.get("fewer_frames", {}).items()},
    )


def _check(path: Path, data: Any, *keys: str) -> None:
    """Raise InputError unless the data are of this format version and have these keys."""
    version = data.get("format_version") if isinstance(data, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(path, f"format version {version}", expected=str(FORMAT_VERSION), remedy="update seqmask")
    missing = [key for key in keys if key not in data]
    if missing:
        raise InputError(path, f"no {missing[0]!r}", remedy="give a directory that seqmask has written")


def _tokenizer(path: Path) -> Tokenizer:
    data = read_json(path)
    try:
        return tokenizer_of(data)
    except (SeqmaskError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"a tokenizer that cannot be understood ({error})") from error


DRAWING = (Tensor.normal_, Tensor.uniform_, nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_)


class Undrawn(TorchFunctionMode):
    """Within it no random weights are drawn, which took most of the time of a load: stored ones replace them all."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """As without it, but for what draws."""
        kwargs = kwargs or {}
        return [*args, *kwargs.values()][0] if func in DRAWING else func(*args, **kwargs)  # the tensor is the first


def _load_into(module: nn.Module, path: Path) -> None:
    try:
        module.load_state_dict(load_weights(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise SeqmaskError(f"{path}: weights do not fit the configuration beside them ({reason})") from error
