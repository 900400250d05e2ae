"""What `--json-report` says of a run of `seqmask mask`."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, Final

from seqmask.config import MaskOptions, to_json
from seqmask.results.report import Counts, render

PACKAGES: Final = ("torch", "transformers", "numpy", "h5py", "dnaio")
MODEL: Final = ("classifier_sha256", "explainer_sha256", "tokenizer_sha256", "operator", "threshold")


def mask_report(
    options: MaskOptions, model: str, facts: Mapping[str, Any], counts: Counts, seconds: float, records: int
) -> dict[str, Any]:
    """JSON-ready. facts: those of the HDF5 file. seconds, records: of this process; a resumed run has counted more."""
    parameters = to_json(options)
    parameters.pop("besides")
    return {
        "tool": facts["tool"],
        "seqmask_version": facts["tool_version"],
        "report": "mask",
        "command": list(facts["command"]),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "model": {"name": model, **{key: facts[key] for key in MODEL}},
        "parameters": parameters,
        "device": facts["device"],
        "precision": facts["dtype"],
        "shard": options.shard,
        **counts.to_json(),
        "resumed_after": counts.records - records,
        "seconds": round(seconds, 3),
        "records_per_second": round(records / seconds, 3),
    }


def small_files(
    options: MaskOptions, report: Callable[[Counts], Mapping[str, Any]] = lambda counts: {}
) -> dict[str, Callable[[Counts], bytes]]:
    """The files that are written beside the outputs, by name, each with what makes its content."""

    def constant(content: bytes) -> Callable[[Counts], bytes]:
        return lambda counts: content

    files = {name: constant(content) for name, content in options.besides.items()}
    name = options.json_report
    if name is not None:
        files[name] = lambda counts: render(name, report(counts))
    return files
