"""What a run found, in numbers: counted batch by batch, as JSON and as a table for MultiQC."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from seqmask.results.annotated import Annotated
from seqmask.results.predictions import UNCLASSIFIED, VERDICTS, verdicts
from seqmask.sequences.explanations import Status

MULTIQC: Final = "_mqc.json"


@dataclass(slots=True)
class Counts:
    """Counts of records: statuses; classes and verdicts by rank; inconsistent: with ranks that contradict each other.

    nucleotides: of all records; covered: by tokens; kept: of these.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    nucleotides: int = 0
    covered: int = 0
    kept: int = 0
    inconsistent: int = 0
    classes: dict[str, Counter[str]] = field(default_factory=dict)
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Records so far."""
        return sum(self.statuses.values())

    def add(self, batch: Annotated) -> None:
        """Count a batch."""
        self.statuses.update(_counted(batch.explanations.status, [status.name for status in Status]))
        self.nucleotides += int((batch.stops - batch.starts).sum())
        self.covered += int(batch.covered.sum())
        self.kept += int(batch.kept_count.sum())
        if batch.inconsistent is not None:
            self.inconsistent += int(batch.inconsistent.any(axis=1).sum())
        for i, rank in enumerate(batch.ranks.ranks):
            names = [*rank.classes, UNCLASSIFIED, ""]
            self.classes.setdefault(rank.name, Counter()).update(_counted(batch.named[:, i], names))
            if batch.masked is not None and batch.inverse is not None:
                codes = verdicts(batch.explained[:, i], batch.masked.classes[:, i], batch.inverse.classes[:, i])
                self.verdicts.setdefault(rank.name, Counter()).update(_counted(codes, VERDICTS))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; classes by falling count."""

        def plain(counter: Counter[str]) -> dict[str, int]:
            return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))

        return {
            "records": self.records,
            "statuses": {status.name: self.statuses[status.name] for status in Status},
            "nucleotides": self.nucleotides,
            "covered": self.covered,
            "kept": self.kept,
            "inconsistent": self.inconsistent,
            "classes": {rank: plain(counter) for rank, counter in self.classes.items()},
            "verdicts": {rank: plain(counter) for rank, counter in self.verdicts.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Counts:
        """What `to_json` gave; an empty mapping gives zero counts."""
        counts = cls()
        for name in ("nucleotides", "covered", "kept", "inconsistent"):
            setattr(counts, name, int(data.get(name, 0)))
        counts.statuses.update(data.get("statuses", {}))
        counts.classes = {rank: Counter(found) for rank, found in data.get("classes", {}).items()}
        counts.verdicts = {rank: Counter(found) for rank, found in data.get("verdicts", {}).items()}
        return counts


def _counted(values: Any, names: Any) -> dict[str, int]:
    """Counts by name of an integer array (n,); negative ones count from the end of the names, '' is left out."""
    found, counts = np.unique(values, return_counts=True)
    return {names[value]: count for value, count in zip(found.tolist(), counts.tolist(), strict=True) if names[value]}


def render(path: str | Path, report: Mapping[str, Any]) -> bytes:
    """The report as a file of that name is to hold it: for MultiQC if it ends in `_mqc.json`, else all of it."""
    name = Path(path).name
    data = multiqc(name.removesuffix(MULTIQC), report) if name.endswith(MULTIQC) else report
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")


def multiqc(sample: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """A row of one table, for MultiQC's custom content: several samples' files become one table there."""
    row: dict[str, Any] = {"records": report["records"]}
    headers = {"records": _header("Records", "Sequences in the input", "{:,.0f}")}

    def share(key: str, title: str, description: str, part: int, whole: int) -> None:
        row[key] = 100 * part / whole if whole else 0.0
        headers[key] = _header(title, description, "{:,.1f}") | {"suffix": "%", "min": 0, "max": 100}

    share("read", "Read", "Sequences that could be classified", report["statuses"]["ok"], report["records"])
    share("kept", "Kept", "Nucleotides that the classification rests on", report["kept"], report["covered"])
    for rank, classes in report["classes"].items():
        name, count = next(iter(classes.items()), ("", 0))
        row[rank] = name
        headers[rank] = _header(f"Most frequent {rank}", f"The {rank} of most sequences", None)
        share(f"{rank}_share", f"its share, {rank}", f"Sequences of that {rank}", count, sum(classes.values()))
    for rank, found in report["verdicts"].items():
        told = f"Masks that alone give the {rank}, and without which it is not found"
        share(f"{rank}_holds", f"Holds, {rank}", told, found.get("holds", 0), sum(found.values()))
    return {
        "tool": report["tool"],
        "id": "seqmask",
        "section_name": "seqmask",
        "description": f"What the classification of sequences rests on (model {report['model']['name']}).",
        "plot_type": "table",
        "pconfig": {"id": "seqmask_table", "title": "seqmask"},
        "headers": headers,
        "data": {sample: row},
    }


def _header(title: str, description: str, form: str | None) -> dict[str, Any]:
    return {"title": title, "description": description} | ({"format": form} if form else {"scale": False})
