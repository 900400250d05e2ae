"""What a model directory says of itself, read from its JSON files alone: no weights are opened, no torch is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from seqmask.errors import InputError
from seqmask.labels.ranks import Ranks
from seqmask.models.storage import file_sha256, read_json
from seqmask.sequences.tokenizer import tokenizer_of

WEIGHTS: Final = ("classifier.safetensors", "explainer.safetensors")


def describe(directory: Path) -> dict[str, Any]:
    """A JSON-ready description; what the directory does not tell is left out.

    accuracy: of whole sequences, by split and rank. area: share of nt that the stored threshold keeps on split val, one
    number a mask. about: what its makers say of data and licence (about.json). Raises InputError for a directory that
    holds no model, or one of another format.
    """
    try:
        return _described(directory)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        found = f"JSON files that do not fit ({type(error).__name__}: {error})"
        raise InputError(directory, found, expected="a directory that seqmask train-... has written") from error


def _described(directory: Path) -> dict[str, Any]:
    if not (directory / "classifier.json").is_file():
        raise InputError(directory, "no classifier.json", expected="a directory that seqmask train-... has written")
    classifier = read_json(directory / "classifier.json")
    with_explainer = (directory / "explainer.json").is_file()
    tokenizer = tokenizer_of(read_json(directory / "tokenizer.json"))
    ranks = Ranks.from_json(read_json(directory / "labels.json"), directory / "labels.json")
    encoder = classifier["encoder"]
    weights = [directory / name for name in WEIGHTS[: 1 + with_explainer]]
    if missing := [path.name for path in weights if not path.is_file()]:
        raise InputError(directory, f"no {missing[0]}", remedy="copy the directory again")
    report = _optional(directory, "classifier-report.json") or _optional(directory, "report.json")
    return {
        "kind": "classifier and Explainer" if with_explainer else "classifier",
        "name": directory.name,
        "path": str(directory),
        "bytes": sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()),
        "ranks": dict(zip(ranks.names, ranks.sizes, strict=True)),
        "tokens": tokenizer.summary,
        "window_nt": tokenizer.max_length(int(encoder["max_position_embeddings"])),
        "encoder": f"{encoder['model_type']}, {encoder['num_hidden_layers']} layers of width {encoder['hidden_size']}",
        **({"parameters": report["parameters"]} if "parameters" in report else {}),
        "operator": classifier["operator"],
        **(_explainer(directory) if with_explainer else {}),
        "accuracy": {
            split: {rank: row["accuracy"] for rank, row in rows.items()}
            for split, rows in report.get("splits", {}).items()
        },
        "sha256": {path.name: file_sha256(path) for path in weights},
        "data_sha256": classifier["settings"].get("data_sha256", {}),
        "about": _optional(directory, "about.json"),
    }


def _explainer(directory: Path) -> dict[str, Any]:
    data = read_json(directory / "explainer.json")
    points = data["settings"].get("validation", [])
    areas = [point["area"] for point in (points if isinstance(points, list) else [points])]
    return {
        "operator": data["operator"],
        "masks": "one" if data["tracks"] == 1 else "one a rank",
        "threshold": data["threshold"],
        "frames": data["frames"],
        **({"area": areas} if areas else {}),
    }


def _optional(directory: Path, name: str) -> dict[str, Any]:
    path = directory / name
    return dict(read_json(path)) if path.is_file() else {}
