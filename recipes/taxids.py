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

from seqmask.errors import InputError, SeqmaskError
from seqmask.labels.ranks import UNKNOWN, Ranks, fit_ranks
from seqmask.labels.tables import read_labels
from seqmask.models.storage import read_json, write_json


def fill(model: Path, labels: Path, taxonomy: Path) -> Ranks:
    """The ranks of a model directory with taxids, written there."""
    path = model / "labels.json"
    known = Ranks.from_json(read_json(path), path)
    table = read_labels(labels, taxonomy, known.names)
    found = fit_ranks(
        (table.row(name) for name in (table.select("train") if table.has_splits else table.ids)), known.names, 1
    )
    filled = []
    for rank, of_table in zip(known.ranks, found.ranks, strict=True):
        named = set(rank.classes) & set(of_table.classes)
        if len(named) < len(rank.classes):
            raise InputError(
                labels,
                f"names {len(named)} of the model's {len(rank.classes)} classes at {rank.name}",
                expected="the table that it was trained on",
            )
        taxids = dict(zip(of_table.classes, of_table.taxids, strict=True))
        filled.append(replace(rank, taxids=tuple(taxids[name] for name in rank.classes)))
    write_json(path, Ranks(tuple(filled)).to_json())
    return Ranks(tuple(filled))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model or classifier directory")
    parser.add_argument("-l", "--labels", type=Path, required=True, help="the label table that it was trained on")
    parser.add_argument("--taxonomy", type=Path, required=True, help="folder of an NCBI taxdump")
    options = parser.parse_args(argv)
    try:
        ranks = fill(options.model, options.labels, options.taxonomy).ranks
    except SeqmaskError as error:
        raise SystemExit(f"error: {error}") from error
    for rank in ranks:
        without = [name for name, taxid in zip(rank.classes, rank.taxids, strict=True) if taxid == UNKNOWN]
        shown = f"; without: {', '.join(without)}" if without else ""
        print(f"{rank.name}: {len(rank.classes) - len(without)} of {len(rank.classes)} classes have a taxid{shown}")


if __name__ == "__main__":
    main()
