import bz2
import csv
import gzip
import io
import random
import time
from pathlib import Path

import pytest
from xopen import xopen

from seqmask.errors import InputError
from seqmask.labels.ranks import fit_ranks
from seqmask.labels.tables import LabelTable, parse_lineage, read_labels

# Two lines of a real table (NCBI lineage), and one sequence whose genus is not known.
TSV = """\
id\tsuperkingdom\tphylum\tgenus\tspecies\ttaxid\tsplit
AB182498\tArchaea\tThermoproteota\tAcidianus\tAcidianus manzaensis\t282676\ttrain
AF226987\tArchaea\tThermoproteota\tAcidianus\tAcidianus tengchongensis\t146920\tval
X1\tBacteria\tPseudomonadota\t\t\t\ttrain
"""


@pytest.fixture
def write(tmp_path):
    def write(data: str | bytes, name: str = "labels.tsv") -> Path:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


def failure(path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_labels(path)
    assert "\n" not in str(caught.value)
    assert caught.value.path == str(path)
    return caught.value


def test_tsv(write):
    path = write(TSV)
    table = read_labels(path)
    assert table.path == str(path)
    assert table.ids == ["AB182498", "AF226987", "X1"]
    assert len(table) == 3
    assert "X1" in table
    assert "X2" not in table
    assert list(table.columns) == ["superkingdom", "phylum", "genus", "species", "taxid", "split"]
    assert table.column("genus") == ["Acidianus", "Acidianus", ""]
    assert table.row("AB182498") == {
        "superkingdom": "Archaea",
        "domain": "Archaea",
        "phylum": "Thermoproteota",
        "genus": "Acidianus",
        "species": "Acidianus manzaensis",
        "taxid": "282676",
        "split": "train",
    }
    assert [table.split(name) for name in table.ids] == ["train", "val", "train"]
    assert table.select("train") == ["AB182498", "X1"]
    assert table.select("train", "val") == table.ids
    assert table.select("test") == []


@pytest.mark.parametrize("name", ["labels.tsv", "labels", "lies.gz", "lies.csv"])
@pytest.mark.parametrize("kind", [None, "gz", "bz2", "xz", "zst"])
def test_plain_or_compressed_by_content(tmp_path, write, kind, name):
    path = tmp_path / name
    if kind is None:
        write(TSV, name)
    else:
        with xopen(path, "wb", format=kind, threads=0) as stream:
            stream.write(TSV.encode())
    table = read_labels(path)
    assert table.ids == ["AB182498", "AF226987", "X1"]
    assert table.column("genus") == ["Acidianus", "Acidianus", ""]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\t", ","),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.removesuffix("\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n\n# made by a person\n" + text,
        lambda text: text + "\n\n\t\t\t\t\t\t\n",
        lambda text: text.replace("\t", " \t "),
        lambda text: text.replace("\t\t", "\tNA\t").replace("\t\t", "\tunclassified\t"),
        lambda text: "#" + text,
        lambda text: text + "X1\tBacteria\tPseudomonadota\t\t\t\ttrain\n",
        lambda text: text.replace("superkingdom\tphylum", "Superkingdom\tPHYLUM"),
    ],
    ids=[
        *("CSV", "CRLF", "CR", "no final newline", "BOM", "comment", "blank lines", "spaces", "NA", "hash"),
        *("same line twice", "upper case"),
    ],
)
def test_same_table_in_other_dress(write, change):
    expected, table = read_labels(write(TSV)), read_labels(write(change(TSV), "changed"))
    assert (table.ids, table.columns) == (expected.ids, expected.columns)


def test_quoted_fields(write):
    """As R's write.table and write.csv do it; in unquoted TSV a quotation mark is part of the name."""
    for separator in "\t,":
        text = io.StringIO()
        rows = [["id", "genus"], ["a", "Genus, with comma"], ["b", 'say "x"'], ["c", "two\nlines"]]
        csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(rows)
        assert read_labels(write(text.getvalue())).column("genus") == [row[1] for row in rows[1:]]
    assert read_labels(write('id\tgenus\na\t"Candidatus" X\n')).column("genus") == ['"Candidatus" X']


def test_names_beyond_ascii_and_odd_line_separators(write):
    table = read_labels(write("id\tspecies\nä\tBorrelia bü\u2028rgdorferi\x85\n"))
    assert table.row("ä")["species"] == "Borrelia bü\u2028rgdorferi"


@pytest.mark.parametrize(
    "name", ["seq_id", "id", "ID", "accession", "ident", "name", "sequence_id", "Feature ID", "#OTU ID", "OTU ID"]
)
def test_id_columns(write, name):
    assert read_labels(write(f"genus\t{name}\nA\tx\n")).row("x")["genus"] == "A"


def test_the_most_specific_id_column_wins(write):
    table = read_labels(write("name\taccession\tseq_id\nn\ta\ts\n"))
    assert table.ids == ["s"]
    assert table.row("s") == {"name": "n", "accession": "a"}


@pytest.mark.parametrize(("has", "asked"), [("superkingdom", "domain"), ("domain", "superkingdom")])
def test_superkingdom_and_domain_are_aliases(write, has, asked):
    table = read_labels(write(f"id\t{has}\na\tBacteria\n"))
    table.require([asked, has])
    assert table.column(asked) == table.column(has) == ["Bacteria"]
    assert table.row("a")[asked] == "Bacteria"
    ranks = fit_ranks([table.row("a")], [asked], 1)
    assert ranks.names == (asked,)
    assert ranks.encode(table.row("a")).tolist() == [0]


def test_superkingdom_and_domain_both_in_one_table_are_kept_apart(write):
    table = read_labels(write("id\tsuperkingdom\tdomain\na\tS\tD\n"))
    assert table.row("a") == {"superkingdom": "S", "domain": "D"}


# Lineages

FULL = {
    "domain": "Bacteria",
    "phylum": "Pseudomonadota",
    "class": "Gammaproteobacteria",
    "order": "Enterobacterales",
    "family": "Enterobacteriaceae",
    "genus": "Escherichia",
    "species": "Escherichia coli",
}


@pytest.mark.parametrize(
    "text",
    [
        "d__Bacteria;p__Pseudomonadota;c__Gammaproteobacteria;o__Enterobacterales;f__Enterobacteriaceae;g__Escherichia;"
        "s__Escherichia coli",
        "d__Bacteria; p__Pseudomonadota; c__Gammaproteobacteria; o__Enterobacterales; f__Enterobacteriaceae; "
        "g__Escherichia; s__Escherichia coli",
        "D_0__Bacteria;D_1__Pseudomonadota;D_2__Gammaproteobacteria;D_3__Enterobacterales;D_4__Enterobacteriaceae;"
        "D_5__Escherichia;D_6__Escherichia coli",
        "Bacteria;Pseudomonadota;Gammaproteobacteria;Enterobacterales;Enterobacteriaceae;Escherichia;Escherichia coli",
        "Bacteria; Pseudomonadota; Gammaproteobacteria; Enterobacterales; Enterobacteriaceae; Escherichia; "
        "Escherichia coli;",
    ],
    ids=["GTDB", "QIIME 2", "old QIIME", "SILVA", "SILVA with spaces"],
)
def test_lineages(text):
    assert parse_lineage(text) == FULL


@pytest.mark.parametrize(
    ("text", "lineage"),
    [
        ("", {}),
        ("Unassigned", {}),
        ("Bacteria;Bacillota;", {"domain": "Bacteria", "phylum": "Bacillota"}),
        ("d__Bacteria;p__;g__Bacillus", {"domain": "Bacteria", "genus": "Bacillus"}),
        ("sk__Viruses;r__Riboviria;x__odd;t__strain", {"superkingdom": "Viruses", "realm": "Riboviria"}),
        ("k__Fungi;p__Ascomycota", {"kingdom": "Fungi", "phylum": "Ascomycota"}),
        ("Bacteria;;Bacilli", {"domain": "Bacteria", "class": "Bacilli"}),
        (";".join("ABCDEFGHIJ"), dict(zip(FULL, "ABCDEFG", strict=True))),
        ("D_0__A;D_14__B", {"domain": "A"}),
    ],
)
def test_partial_and_odd_lineages(text, lineage):
    assert parse_lineage(text) == lineage


@pytest.mark.parametrize("name", ["lineage", "taxonomy", "Taxon", "TAXONOMY"])
def test_lineage_column(write, name):
    table = read_labels(
        write(
            f"Feature ID\t{name}\tConfidence\na\td__Bacteria; p__Bacillota\t0.9\nb\td__Archaea\t1\nc\tUnassigned\t1\n"
        )
    )
    assert table.column("superkingdom") == ["Bacteria", "Archaea", ""]
    assert table.column("phylum") == ["Bacillota", "", ""]
    assert list(table.columns) == ["confidence", "domain", "phylum"]


def test_lineage_in_csv(write):
    table = read_labels(write('accession,lineage,taxid\nx,"d__Bacteria;p__Bacillota",1239\n'))
    assert table.row("x") == {"domain": "Bacteria", "superkingdom": "Bacteria", "phylum": "Bacillota", "taxid": "1239"}


def test_a_column_of_its_own_goes_before_the_lineage(write):
    table = read_labels(write("id\tlineage\tsuperkingdom\na\tBacteria;Bacillota\tEubacteria\n"))
    assert table.row("a") == {"superkingdom": "Eubacteria", "domain": "Eubacteria", "phylum": "Bacillota"}


def test_single_taxa_in_a_column_named_taxon_are_no_lineage(write):
    table = read_labels(write("id\ttaxon\na\tEscherichia coli\nb\tunknown\n"))
    assert table.columns == {"taxon": ["Escherichia coli", ""]}


# Failures


def test_missing_id_names_path_and_id(write):
    path = write(TSV)
    table = read_labels(path)
    for ask in (table.row, table.split):
        with pytest.raises(InputError, match="no label for sequence 'X2'") as caught:
            ask("X2")
        assert caught.value.path == str(path)


def test_missing_ids_are_counted(write):
    table = read_labels(write(TSV))
    table.require_ids(["X1", "AB182498"])
    with pytest.raises(InputError, match="no label for 1 sequence: 'Y';"):
        table.require_ids(["X1", "Y"])
    with pytest.raises(InputError, match=r"no label for 7 sequences: 'a', 'b', 'c', 'd', 'e', \.\.\.;"):
        table.require_ids("abcdefg")


def test_ids_with_descriptions_are_told_as_such(write):
    table = read_labels(write("id\tgenus\nX1 some strain\tA\nX2 another\tB\n"))
    with pytest.raises(InputError, match=r"such as 'X1 some strain'; a name is the first word .* cut 'X1 some strain'"):
        table.require_ids(["X1", "X2"], all_of_them=True)


def test_ranks_that_were_asked_for_are_named_by_an_option(write):
    with pytest.raises(InputError, match=r"no column 'tribe'; .*--ranks domain,genus"):
        read_labels(write("id\tdomain\tgenus\tsplit\na\tA\tB\ttrain\n")).require(["tribe"], asked=True)


@pytest.mark.parametrize(("encoding", "told"), [("utf-16", "utf-16"), ("latin-1", "latin1")])
def test_other_encodings(tmp_path, encoding, told):
    path = tmp_path / "labels.tsv"
    path.write_bytes("id\tgenus\na\tBé\n".encode(encoding))
    with pytest.raises(InputError, match=f"iconv -f {told} -t utf-8"):
        read_labels(path)


@pytest.mark.parametrize(
    "text",
    [
        *("uncultured", "Uncultured bacterium", "uncultured_archaeon", "-", ".", "null", "unidentified"),
        *("metagenome", "human gut metagenome", "Incertae Sedis", "Ambiguous_taxa", "environmental samples"),
    ],
)
def test_names_for_nothing_are_no_taxa(write, text):
    table = read_labels(write(f"id\tphylum\tgenus\na\tBacillota\t{text}\nb\tBacillota\tBacillus\n"))
    assert table.column("genus") == ["", "Bacillus"]
    assert parse_lineage(f"p__Bacillota;g__{text}") == {"phylum": "Bacillota"}


@pytest.mark.parametrize(
    "text",
    ["unclassified Siphoviridae", "uncultured Clostridium sp.", "Nanoarchaeum", "Clostridiales incertae sedis XI"],
)
def test_names_that_say_something_are(write, text):
    assert read_labels(write(f"id\tgenus\na\t{text}\n")).column("genus") == [text]


@pytest.mark.parametrize("between", ["|", ";", "; ", ","])
def test_lineages_are_split_at_what_tools_write(write, between):
    lineage = between.join(["k__Bacteria", "p__Bacillota", "g__Bacillus"])
    table = read_labels(write(f"id\tlineage\na\t{lineage}\n"))
    assert table.columns == {"kingdom": ["Bacteria"], "phylum": ["Bacillota"], "genus": ["Bacillus"]}


def test_missing_rank_lists_what_there_is(write):
    table = read_labels(write(TSV))
    table.require(["domain", "genus"])
    with pytest.raises(InputError, match="no column 'tribe'; expected one of superkingdom, phylum, genus, species"):
        table.require(["genus", "tribe"])
    with pytest.raises(InputError, match="no column 'family'"):
        table.column("family")


def test_empty_rank(write):
    with pytest.raises(InputError, match="column 'genus' is empty"):
        read_labels(write("id\tgenus\na\tNA\nb\t\n")).require(["genus"])


def test_no_split_column(write):
    table = read_labels(write("id\tgenus\na\tA\n"))
    assert table.split("a") == ""
    with pytest.raises(InputError, match="no column 'split'; expected one of genus"):
        table.select("train")


def test_only_ids(write):
    with pytest.raises(InputError, match="a column beside the id"):
        read_labels(write("id\na\nb\n")).column("genus")


@pytest.mark.parametrize(
    ("data", "found", "line"),
    [
        ("", "an empty file", None),
        ("\n\n", "an empty file", None),
        ("# only a comment\n", "an empty file", None),
        ("id\tgenus\n", "a header and no rows", None),
        ("a\tBacteria\nb\tArchaea\n", "no id column in the header", 1),
        ("\n# note\nseq\tgenus\na\tA\n", "no id column in the header", 3),
        (">a\nACGT\n", "no id column in the header", 1),
        ("id\tgenus\tgenus\na\tA\tB\n", "column 'genus' twice", 1),
        ("id\tgenus\na\tA\nb\n", "1 fields; expected 2 as in the header", 3),
        ("id\tgenus\na\tA\n\nb\tB\tC\n", "3 fields; expected 2", 4),
        ("id,genus\na,A,\n", "3 fields; expected 2", 2),
        ("id\tgenus\na\tA\n \tB\n", "an empty id", 3),
        ("id\tgenus\na\tA\nb\tB\na\tC\n", "id 'a' again, with other labels", 4),
        ('id,genus\na,"A\nb,B\n', "unexpected end of data", 3),
        ('id,genus\na,"A"B\n', "expected after", 2),
        (b"id\tgenus\na\tA\nb\tM\xfcller\n", "not UTF-8", 3),
        ("id\tgenus\na\tA\n".encode("utf-16"), "not UTF-8", 1),
        (gzip.compress(TSV.encode(), mtime=0)[:-12], "truncated", None),
        (bz2.compress(TSV.encode())[:-12], "truncated", None),
        (b"\x1f\x8b\x08\x00" + b"\xff" * 40, "cannot be read", None),
    ],
)
def test_broken_tables(write, data, found, line):
    error = failure(write(data))
    assert found in str(error)
    assert error.line == line


def test_line_numbers_count_lines_within_quotes(write):
    assert failure(write('id,genus\na,"two\nlines"\nb\n')).line == 4


def test_huge_field(write):
    assert "field larger than field limit" in str(failure(write("id\tgenus\na\t" + "A" * 200_000 + "\n")))


def test_random_bytes_never_escape_as_another_error(write):
    rng = random.Random(4)
    for start in (b"", b"id\tgenus\n", b"\x1f\x8b\x08\x00", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"id,x\n\0"):
        for size in (1, 10, 1000):
            with pytest.raises(InputError):
                read_labels(write(start + rng.randbytes(size) + b"\xff"))


def test_files_that_cannot_be_opened(tmp_path):
    assert "no such file" in str(failure(tmp_path / "nowhere.tsv"))
    assert "cannot be read" in str(failure(tmp_path))
    assert "null byte" in str(failure("a\0b"))


def test_a_large_table_is_read_quickly(write):
    """122,000 rows of 14 columns take about half a second; ten times that would be a quadratic step."""
    header = "id\t" + "\t".join(f"rank{i}" for i in range(12)) + "\tsplit\n"
    path = write(header + "".join(f"s{i}\t" + "\t".join([f"taxon {i % 97}"] * 12) + "\ttrain\n" for i in range(60_000)))
    begin = time.process_time()
    table = read_labels(path)
    assert time.process_time() - begin < 5
    assert isinstance(table, LabelTable)
    assert len(table) == len(table.select("train")) == 60_000
