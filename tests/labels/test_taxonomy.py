"""Taxids for ranks, by an excerpt of NCBI's taxdump of September 2024 (examples/small/taxdump)."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seqmask.errors import InputError, UsageError
from seqmask.labels.ranks import fit_ranks
from seqmask.labels.tables import read_labels
from seqmask.labels.taxonomy import read_lineages

SMALL = Path(__file__).resolve().parents[2] / "examples" / "small"
TAXDUMP = SMALL / "taxdump"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "labels.tsv"
        path.write_text(text)
        return path

    return write


def dump(directory: Path, nodes: str, names: dict[int, str], merged: str = "") -> Path:
    """A taxdump of `taxid parent rank` lines."""
    directory.mkdir()
    lines = [line.split(maxsplit=2) for line in nodes.strip().splitlines()]
    (directory / "nodes.dmp").write_text("".join(f"{a}\t|\t{b}\t|\t{c}\t|\n" for a, b, c in lines))
    text = "".join(f"{taxid}\t|\t{name}\t|\t\t|\tscientific name\t|\n" for taxid, name in names.items())
    (directory / "names.dmp").write_text(text)
    if merged:
        (directory / "merged.dmp").write_text(merged)
    return directory


def test_taxids_give_the_ranks_of_a_real_table() -> None:
    """Every sequence of examples/small has the superkingdom, phylum and genus that its table of ranks says."""
    by_name, by_taxid = read_labels(SMALL / "small.tsv"), read_labels(SMALL / "taxids.tsv", TAXDUMP)
    assert by_taxid.ids == by_name.ids
    for rank in ("superkingdom", "phylum", "genus", "split"):
        assert by_taxid.column(rank) == by_name.column(rank)
    row = by_taxid.row("EF645682")
    assert (row["genus"], row["genus_taxid"]) == ("Haloarcula", "2237")
    assert row["superkingdom_taxid"] == row["domain_taxid"] == "2157"
    assert list(by_taxid.columns).index("superkingdom") < list(by_taxid.columns).index("genus")
    ranks = fit_ranks([by_taxid.row(name) for name in by_taxid.ids], ["domain", "genus"], 20)
    assert dict(zip(ranks.ranks[0].classes, ranks.ranks[0].taxids, strict=True)) == {
        "Archaea": 2157,
        "Bacteria": 2,
        "Eukaryota": 2759,
    }
    assert all(taxid > 0 for taxid in ranks.ranks[1].taxids)


def test_the_taxdump_stays(tmp_path: Path) -> None:
    copy = tmp_path / "taxdump"
    shutil.copytree(TAXDUMP, copy)
    assert read_lineages(copy, [2237])[2237]["genus"] == ("Haloarcula", 2237)
    assert sorted(path.name for path in copy.iterdir()) == ["names.dmp", "nodes.dmp"]


def test_viruses_have_a_domain(tmp_path: Path) -> None:
    """NCBI of March 2025 and later: `domain`, and `acellular root` for viruses; either name of the rank is found."""
    nodes = "1 1 no rank\n10239 1 acellular root\n2732408 10239 phylum\n131567 1 cellular root\n2 131567 domain"
    names = {1: "root", 10239: "Viruses", 2732408: "Pisuviricota", 131567: "cellular organisms", 2: "Bacteria"}
    folder = dump(tmp_path / "new", nodes, names)
    path = tmp_path / "labels.tsv"
    path.write_text("id\ttaxid\na\t2732408\nb\t2\n")
    table = read_labels(path, folder)
    assert table.column("superkingdom") == table.column("domain") == ["Viruses", "Bacteria"]
    assert table.column("domain_taxid") == ["10239", "2"]
    assert table.column("phylum") == ["Pisuviricota", ""]
    assert table.column("phylum_taxid") == ["2732408", ""]


def test_a_taxid_of_old_is_found(tmp_path: Path) -> None:
    nodes, names = "1 1 no rank\n561 1 genus\n562 561 species", {1: "root", 561: "Escherichia", 562: "Escherichia coli"}
    folder = dump(tmp_path / "new", nodes, names, merged="1637691\t|\t562\t|\n")
    found = read_lineages(folder, [1637691, 562])
    assert found[1637691] == found[562] == {"species": ("Escherichia coli", 562), "genus": ("Escherichia", 561)}


def test_a_rank_under_both_names(write: Write) -> None:
    """Each has its own taxid, or none."""
    row = read_labels(write("id\tsuperkingdom\tdomain\ttaxid\na\tMine\tArchaea\t2237\n"), TAXDUMP).row("a")
    assert (row["superkingdom"], row["domain"]) == ("Mine", "Archaea")
    assert row.get("superkingdom_taxid", "") == ""


def test_ranks_that_were_asked_for(tmp_path: Path) -> None:
    """A taxdump has some forty; a table gets the usual ones, and those that are asked for."""
    folder = dump(tmp_path / "new", "1 1 no rank\n2 1 phylum\n3 2 subphylum", {1: "root", 2: "A", 3: "B"})
    path = tmp_path / "labels.tsv"
    path.write_text("id\ttaxid\na\t3\n")
    assert read_labels(path, folder).row("a") == {"taxid": "3", "phylum": "A", "phylum_taxid": "2"}
    assert read_labels(path, folder, ["subphylum"]).column("subphylum") == ["B"]


def test_clades_are_no_rank(tmp_path: Path) -> None:
    """A lineage may have several of them."""
    nodes = "1 1 no rank\n2 1 domain\n3 2 clade\n4 3 clade\n5 4 phylum"
    folder = dump(tmp_path / "new", nodes, dict(zip(range(1, 6), ["root", *"ABCD"], strict=True)))
    assert read_lineages(folder, [5]) == {5: {"phylum": ("D", 5), "domain": ("A", 2)}}


def test_a_rank_of_its_own_is_kept(write: Write) -> None:
    """The table's taxon counts; it has the taxid of the taxonomy only where that names it alike."""
    table = read_labels(write("id\tgenus\ttaxid\na\tHaloarcula\t2237\nb\tMine\t2237\nc\t\t2237\n"), TAXDUMP)
    assert table.column("genus") == ["Haloarcula", "Mine", ""]
    assert table.column("genus_taxid") == ["2237", "", ""]
    assert table.column("superkingdom") == ["Archaea"] * 3


def test_taxids_of_ranks_in_the_table_need_no_taxonomy(write: Write) -> None:
    """Several taxa of one name have no taxid, and neither has a taxon of which none is said."""
    table = read_labels(
        write(
            "id\tsuperkingdom\tsuperkingdom_taxid\tgenus\tgenus_taxid\n"
            "a\tBacteria\t2.0\tBacillus\t1386\nb\tEukaryota\t2759\tBacillus\t55087\nc\tBacteria\t\tX\tNA\n"
            "d\tBacteria\t0\tY\t0\n"
        )
    )
    domain, genus = fit_ranks([table.row(name) for name in table.ids], ["domain", "genus"], 1).ranks
    assert (domain.classes, domain.taxids) == (("Bacteria", "Eukaryota"), (2, 2759))
    assert (genus.classes, genus.taxids) == (("Bacillus", "X", "Y"), (-1, -1, -1))


def test_taxids_that_are_not_there_are_counted(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """As numbers beside empty fields are written by pandas; unknown at every rank, and that is said."""
    path = write("id\tncbi_taxid\na\t2237.0\nb\t999999999\nc\t\nd\t0\n")
    with caplog.at_level(logging.WARNING, logger="seqmask"):
        table = read_labels(path, TAXDUMP)
    assert table.column("genus") == ["Haloarcula", "", "", ""]
    assert caplog.messages == [f"{path}: 1 of 2 taxids are not in {TAXDUMP}: 999999999"]


def test_a_table_that_cannot_be_named(write: Write) -> None:
    with pytest.raises(InputError, match="no column of taxids; expected one of taxid, tax_id, ncbi_taxid"):
        read_labels(write("id\tgenus\na\tA\n"), TAXDUMP)
    for text in ("E. coli", "-1", "2" * 20):
        with pytest.raises(InputError, match=rf"'{text}' in column 'taxid' of 'b'; expected an NCBI taxid"):
            read_labels(write(f"id\ttaxid\na\t2237\nb\t{text}\n"), TAXDUMP)
    with pytest.raises(InputError, match="no column 'genus'; expected one of taxid; with --taxonomy DIR"):
        read_labels(write("id\ttaxid\na\t2237\n")).column("genus")
    with pytest.raises(InputError, match=r"no column 'kingdom'; expected one of taxid, superkingdom, [a-z, ]*$"):
        read_labels(write("id\ttaxid\na\t2237\n"), TAXDUMP).column("kingdom")
    with pytest.raises(InputError, match=f"none of its 1 taxids is in {TAXDUMP}: 999999999"):
        read_labels(write("id\ttaxid\na\t999999999\n"), TAXDUMP)


def test_a_folder_that_is_no_taxdump(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no nodes.dmp and no names.dmp; expected .*; unpack taxdump.tar.gz there"):
        read_lineages(tmp_path, [2])
    with pytest.raises(InputError, match=r"nodes\.dmp: no folder; expected a folder with nodes.dmp"):
        read_lineages(TAXDUMP / "nodes.dmp", [2])
    for name in ("nodes.dmp", "names.dmp"):
        (tmp_path / name).write_text("nothing of the kind\n")
    with pytest.raises(InputError, match="a taxdump that cannot be understood"):
        read_lineages(tmp_path, [2])
    cut = dump(tmp_path / "cut", "562 561 species", {562: "Escherichia coli"})
    with pytest.raises(InputError, match="a taxdump that cannot be understood"):
        read_lineages(cut, [562])


def test_without_taxopy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taxopy", None)
    with pytest.raises(UsageError, match=r"--taxonomy needs taxopy: .*pip install '.\[taxonomy\]'"):
        read_lineages(TAXDUMP, [2])
