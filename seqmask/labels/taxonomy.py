"""Lineages of NCBI taxids, by the files of a taxdump that the user has (taxopy reads them)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from seqmask.errors import InputError, UsageError, install

FILES = NODES, NAMES, MERGED = "nodes.dmp", "names.dmp", "merged.dmp"
# Since NCBI's change of March 2025 viruses stand under this, cellular life under domains of the same level.
SAME_RANK = {"acellular root": "domain"}
SEVERAL = "clade"  # of these a lineage may have many: no rank

Lineage = dict[str, tuple[str, int]]
"""Rank to the name and the taxid of the taxon there, fine to coarse; `no rank` and clades are left out."""


def files_of(directory: Path) -> list[Path]:
    """The files of a taxdump that are read. Raises InputError where one is missing; merged.dmp may be."""
    paths = [directory / name for name in FILES]
    if missing := [path.name for path in paths[:2] if not path.is_file()]:
        found = f"no {' and no '.join(missing)}" if directory.is_dir() else "no folder"
        raise InputError(
            directory,
            found,
            expected=f"a folder with {NODES} and {NAMES} of an NCBI taxdump",
            remedy="unpack taxdump.tar.gz there",
        )
    return [path for path in paths if path.is_file()]


def read_lineages(directory: Path, taxids: Iterable[int]) -> dict[int, Lineage]:
    """The lineage of each taxid that the taxdump in a folder knows; merged.dmp, if it is there, finds those of old.

    Raises InputError where nodes.dmp or names.dmp is missing or cannot be understood, UsageError without taxopy.
    """
    try:
        import taxopy
    except ImportError as error:
        raise UsageError(f"--taxonomy needs taxopy: {install('taxonomy')}") from error
    nodes, names, *merged = files_of(directory)
    try:
        # Given by name, the files stay: taxopy downloads what is missing and deletes what it has read. To it a taxid of
        # old would be a taxon beside the one that it was merged into
        taxa = taxopy.TaxDb(nodes_dmp=str(nodes), names_dmp=str(names), keep_files=True)
        of_old = {old: new for path in merged for old, new in _merged(path)}
        now = {taxid: of_old.get(taxid, taxid) for taxid in taxids}
        return {taxid: _lineage(taxopy.Taxon(new, taxa)) for taxid, new in now.items() if new in taxa.taxid2name}
    except (IndexError, KeyError, ValueError) as error:
        raise InputError(
            directory,
            f"a taxdump that cannot be understood ({type(error).__name__}: {error})",
            remedy="unpack taxdump.tar.gz there again",
        ) from error


def _merged(path: Path) -> Iterator[tuple[int, int]]:
    """Old and new taxid, of lines `old | new |`."""
    with path.open() as lines:
        for line in lines:
            old, new = line.split("\t")[:3:2]
            yield int(old), int(new)


def _lineage(taxon: Any) -> Lineage:
    names, taxids = taxon.rank_name_dictionary, taxon.rank_taxid_dictionary
    found = {rank: (name, taxids[rank]) for rank, name in names.items() if rank != SEVERAL}
    return found | {own: found[rank] for rank, own in SAME_RANK.items() if rank in found and own not in found}
