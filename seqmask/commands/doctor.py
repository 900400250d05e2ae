"""`seqmask doctor`: versions, devices, and a whole run in small on a model built in memory."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from seqmask.commands.mask import metadata as described
from seqmask.errors import SeqmaskError
from seqmask.inference.engine import Engine
from seqmask.inference.explain import explain
from seqmask.labels.ranks import Rank, Ranks
from seqmask.models.checkpoint import ClassifierModel, Model
from seqmask.models.classifier import Classifier
from seqmask.models.encoders import configuration
from seqmask.models.explainer import Explainer
from seqmask.models.selftest import respond
from seqmask.results.reader import read
from seqmask.results.writer import Outputs, Paths, Style
from seqmask.sequences.explanations import Status
from seqmask.sequences.records import Record
from seqmask.sequences.tokens import KmerTokenizer
from seqmask.version import DISTRIBUTION

PACKAGES: Final = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "h5py", "dnaio", "xopen", "typer")
EXTRAS: Final = ("pybigtools", "captum", "lime", "shap", "matplotlib", "taxopy")
OTHER: Final = "seqmask"  # another project's name on PyPI, of the same import name
TOLERANCE: Final = 1e-4


def doctor() -> dict[str, Any]:
    """Versions, devices, and for each device what its self-test found: "ok" or what is wrong."""
    return {
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in (DISTRIBUTION, *PACKAGES)},
        "extras": {name: _version(name) for name in EXTRAS},
        "devices": {str(device): _tried(device) for device in devices()},
        "warnings": list(_warnings()),
    }


def devices() -> list[torch.device]:
    """The CPU, and every accelerator that torch can use."""
    found = [torch.device("cpu")]
    if torch.cuda.is_available():
        found += [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return found


def selftest(device: torch.device) -> None:
    """Mask four sequences with an untrained model and read the outputs back. Raises SeqmaskError if something is wrong.

    The mask must do nothing where it keeps everything, and every record must get a row, on this device as on the CPU.
    """
    model = tiny_model()
    network = model.classifier.network.to(device)
    model.explainer.to(device)
    response = respond(network, model.operator)
    _expect(response.identity < TOLERANCE, f"a mask of ones changes the logits by {response.identity:.2g}")
    rng = np.random.default_rng(1)
    lengths = {"long": 2000, "short": 90, "tiny": 3, "empty": 0}
    records = [Record(name, name, "".join(rng.choice(list("ACGT"), length))) for name, length in lengths.items()]
    engine = Engine(device)
    with tempfile.TemporaryDirectory() as directory:
        paths = Paths.from_prefix(Path(directory) / "selftest")
        facts = described(model, engine, model.threshold, 0)
        with Outputs(paths, model.classifier.ranks, Style(model.threshold), metadata=facts) as outputs:
            for explanation in explain(records, model, engine, overlap=48):
                outputs.write(explanation)
        with read(str(paths.hdf5)) as results:
            statuses = [Status(status).name for status in results.column("records/status")]
            importance = results.column("tokens/importance")
            names = results.ids()
    _expect(names == list(lengths), f"records {names} came out")
    _expect(statuses == ["ok", "ok", "too_short", "empty"], f"statuses are {statuses}")
    _expect(len(importance) > 0, "no token has an importance")
    _expect(bool(((importance >= 0) & (importance <= 1)).all()), "importance outside of 0 to 1")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SeqmaskError(otherwise)


def tiny_model() -> Model:
    """An untrained model of two ranks, in memory."""
    tokenizer = KmerTokenizer()
    ranks = Ranks((Rank("domain", ("a", "b")), Rank("genus", ("c", "d", "e"))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = Classifier(configuration("tiny", tokenizer.vocabulary_size, 64), ranks.sizes, "blend").eval()
        explainer = Explainer.like(network, layers=1).eval()
    classifier = ClassifierModel(network, tokenizer, ranks, "", {})
    return Model(classifier, explainer, 0.5, "blend", 1, "", {}, Path())


def _tried(device: torch.device) -> str:
    try:
        selftest(device)
    except Exception as error:  # whatever it is: the rest of the report is wanted all the more
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    return "ok"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _warnings(version: Callable[[str], str] = _version) -> Iterator[str]:
    if (found := version(OTHER)) != "not installed":
        yield (
            f"the distribution {OTHER!r} {found} is installed as well: another project with the same import name; "
            f"pip uninstall {OTHER}, then install {DISTRIBUTION} again"
        )
