"""Fill in the NCBI taxids of a model's classes: `python recipes/taxids.py MODEL -l LABELS --taxonomy TAXDUMP`.

LABELS is the table that the model was trained on, with a column of taxids; TAXDUMP the folder of an NCBI taxdump of
about the same time. `seqmask train-classifier --taxonomy TAXDUMP` does the same while it trains. Only labels.json
changes: weights, and with them the digests of the model, stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from seqmask.labels.ranks import UNKNOWN, Ranks, fit_ranks
from seqmask.labels.tables import read_labels
from seqmask.models.storage import read_json, write_json


def fill(model: Path, labels: Path, taxonomy: Path) -> Ranks:
    """The ranks of a model directory with taxids, written there."""
    path, table = model / "labels.json", read_labels(labels, taxonomy)
    known = Ranks.from_json(read_json(path), path)
    found = fit_ranks((table.row(name) for name in table.select("train")), known.names, 1)
    taxids = [dict(zip(rank.classes, rank.taxids, strict=True)) for rank in found.ranks]
    filled = Ranks(
        tuple(
            replace(rank, taxids=tuple(of_rank.get(name, UNKNOWN) for name in rank.classes))
            for rank, of_rank in zip(known.ranks, taxids, strict=True)
        )
    )
    write_json(path, filled.to_json())
    return filled


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model or classifier directory")
    parser.add_argument("-l", "--labels", type=Path, required=True, help="the label table that it was trained on")
    parser.add_argument("--taxonomy", type=Path, required=True, help="folder of an NCBI taxdump")
    options = parser.parse_args(argv)
    for rank in fill(options.model, options.labels, options.taxonomy).ranks:
        without = [name for name, taxid in zip(rank.classes, rank.taxids, strict=True) if taxid == UNKNOWN]
        shown = f"; without: {', '.join(without)}" if without else ""
        print(f"{rank.name}: {len(rank.classes) - len(without)} of {len(rank.classes)} classes have a taxid{shown}")


if __name__ == "__main__":
    main()
