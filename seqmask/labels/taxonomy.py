"""Lineages of NCBI taxids, by the files of a taxdump that the user has (taxopy reads them)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seqmask.errors import InputError, UsageError, install

NODES, NAMES, MERGED = "nodes.dmp", "names.dmp", "merged.dmp"
# Since NCBI's change of March 2025 viruses stand under this, cellular life under domains of the same level.
SAME_RANK = {"acellular root": "domain"}

Lineage = dict[str, tuple[str, int]]
"""Rank to the name and the taxid of the taxon there, fine to coarse; `no rank` is left out."""


def read_lineages(directory: str | Path, taxids: Iterable[int]) -> dict[int, Lineage]:
    """The lineage of each taxid that the taxdump in a folder knows; merged.dmp, if it is there, finds those of old.

    Raises InputError where nodes.dmp or names.dmp is missing or cannot be understood, UsageError without taxopy.
    """
    try:
        import taxopy
    except ImportError as error:
        raise UsageError(f"--taxonomy needs taxopy: {install('taxonomy')}") from error
    paths = {name: Path(directory) / name for name in (NODES, NAMES, MERGED)}
    there = {name: str(path) for name, path in paths.items() if path.is_file()}
    if missing := [name for name in (NODES, NAMES) if name not in there]:
        raise InputError(
            directory,
            f"no {' and no '.join(missing)}",
            expected=f"{NODES} and {NAMES} of an NCBI taxdump",
            remedy="unpack taxdump.tar.gz there",
        )
    try:
        # Given by name, the files stay: taxopy downloads what is missing and deletes what it has read
        taxa = taxopy.TaxDb(
            nodes_dmp=there[NODES], names_dmp=there[NAMES], merged_dmp=there.get(MERGED), keep_files=True
        )
        return {taxid: _lineage(taxopy.Taxon(taxid, taxa)) for taxid in taxids if taxid in taxa.taxid2name}
    except (IndexError, KeyError, ValueError) as error:
        raise InputError(
            directory,
            f"a taxdump that cannot be understood ({type(error).__name__}: {error})",
            remedy="unpack taxdump.tar.gz there again",
        ) from error


def _lineage(taxon: Any) -> Lineage:
    names, taxids = taxon.rank_name_dictionary, taxon.rank_taxid_dictionary
    found = {rank: (name, taxids[rank]) for rank, name in names.items()}
    return {SAME_RANK[rank]: found[rank] for rank in SAME_RANK if rank in found} | found
