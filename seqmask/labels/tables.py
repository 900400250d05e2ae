"""Label tables: sequences by id, with a taxon for each rank."""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xopen import xopen

from seqmask.errors import InputError, brief
from seqmask.labels.ranks import ALIASES, UNKNOWN, taxid_in, taxids_of
from seqmask.labels.taxonomy import Lineage, read_lineages

log = logging.getLogger(__name__)

ID_COLUMNS = ("seq_id", "sequence_id", "id", "feature id", "otu id", "ident", "accession", "name")
LINEAGE_COLUMNS = ("lineage", "taxonomy", "taxon")
TAXID_COLUMNS = ("taxid", "tax_id", "ncbi_taxid")
NO_TAXON = ("", "0", "0.0")  # in a column of taxids; 0 is what classifiers write for "unclassified"
SPLIT_COLUMN = "split"
# Prefixes of one lineage text: `d__Bacteria;p__Bacillota` (GTDB, QIIME 2, UNITE), `D_0__Bacteria;D_1__...` (old QIIME).
PREFIXES = {
    "d": "domain",
    "sk": "superkingdom",
    "r": "realm",
    "k": "kingdom",
    "p": "phylum",
    "c": "class",
    "o": "order",
    "f": "family",
    "g": "genus",
    "s": "species",
}
# Without prefixes (SILVA) the position is the rank.
LEVELS = ("domain", "phylum", "class", "order", "family", "genus", "species")
# What is written where a taxon is not known. `uncultured` and the like stand in SILVA and QIIME tables at any rank, and
# under many taxa.
_NOTHING = re.compile(
    r"[-.?*]*|na|n/a|nan|none|null|unassigned|undefined|undetermined"
    r"|(unknown|unclassified|uncultured|unidentified|environmental)"
    r"([ _](archaeon|bacterium|eukaryote|fungus|microorganism|organism|prokaryote|samples?|virus))?"
    r"|ambiguous[ _]taxa|incertae[ _]sedis|([a-z]+[ _])*metagenome",
    re.IGNORECASE,
)
_LEVEL_ENDS = re.compile(r"[;|]|,(?=\s*[A-Za-z]{1,2}__)")  # of `d__A;p__B`, MetaPhlAn's `k__A|p__B`, `d__A,p__B`


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels of sequences by id, as columns; a taxon that is not known is the empty text.

    columns: every column of the table but the id, by its lower-case name; a lineage is split into its ranks. RANK_taxid
    is the NCBI taxid of the taxon in column RANK, where it is known.
    """

    path: str
    ids: list[str]
    columns: dict[str, list[str]]
    _rows: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rows", {name: i for i, name in enumerate(self.ids)})

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    @property
    def has_splits(self) -> bool:
        """Whether the table says which split a sequence is of."""
        return SPLIT_COLUMN in self.columns

    def has(self, rank: str) -> bool:
        """Whether there is a column of this name or its alias."""
        return rank in self.columns or ALIASES.get(rank, rank) in self.columns

    def column(self, rank: str, asked: bool = False) -> list[str]:
        """One column (N,), by its name or its alias. asked: --ranks names it, which the error says."""
        for candidate in (rank, ALIASES.get(rank, rank)):
            if candidate in self.columns:
                return self.columns[candidate]
        named = any(taxids_of(name) in self.columns for name in self.columns)
        by_taxid = not named and rank != SPLIT_COLUMN and any(name in self.columns for name in TAXID_COLUMNS)
        others = [
            name
            for name in self.columns
            if name in TAXID_COLUMNS or (name != SPLIT_COLUMN and not name.endswith(taxids_of("")))
        ]
        remedy = f"name the columns to train on, as in --ranks {','.join(others[:3])}" if asked and others else ""
        raise InputError(
            self.path,
            f"no column {rank!r}",
            expected=f"one of {', '.join(others)}" if others else "a column beside the id",
            remedy="with --taxonomy DIR, an NCBI taxdump, taxids name taxa" if by_taxid else remedy,
        )

    def require(self, ranks: Iterable[str], asked: bool = False) -> None:
        """Raise an `InputError` unless every rank is a column and names at least one taxon. asked: as for `column`."""
        for rank in ranks:
            if not any(self.column(rank, asked)):
                raise InputError(self.path, f"column {rank!r} is empty", remedy="leave this rank out")

    def require_ids(self, names: Iterable[str], all_of_them: bool = False) -> None:
        """Raise one `InputError` that counts the names without a label and shows the first five; and, where there are
        no others, what ids look like in the table.
        """
        missing = [name for name in names if name not in self._rows]
        if missing:
            shown = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
            first = {words[0]: name for name in self.ids if len(words := name.split()) > 1}
            remedy = "add them to the table or take them out of the sequence file"
            if missing[0] in first:
                remedy = f"a name is the first word of a header: cut {brief(first[missing[0]])} in the table"
            raise InputError(
                self.path,
                f"no label for {len(missing)} sequence{'s' if len(missing) > 1 else ''}: {shown}",
                expected=f"names as in the table, such as {brief(self.ids[0])}" if all_of_them else "",
                remedy=remedy,
            )

    def row(self, name: str) -> dict[str, str]:
        """All columns of one id, aliases included, so that `Ranks.encode` finds its ranks."""
        i = self._find(name)
        row = {column: values[i] for column, values in self.columns.items()}
        for alias, column in ALIASES.items():
            if column in row and alias not in row:
                row[alias] = row[column]
                if taxids_of(column) in row:
                    row[taxids_of(alias)] = row[taxids_of(column)]
        return row

    def split(self, name: str) -> str:
        """The split of one id, e.g. `train`; empty where the table has no such column."""
        i = self._find(name)
        return self.columns[SPLIT_COLUMN][i] if self.has_splits else ""

    def select(self, *splits: str) -> list[str]:
        """The ids of some splits, in the order of the table."""
        column = self.column(SPLIT_COLUMN)
        return [name for name, split in zip(self.ids, column, strict=True) if split in splits]

    def _find(self, name: str) -> int:
        try:
            return self._rows[name]
        except KeyError:
            raise InputError(self.path, f"no label for sequence {name!r}", remedy="add it to the table") from None


def read_labels(path: str | Path, taxonomy: Path | None = None, ranks: Iterable[str] = ()) -> LabelTable:
    """A TSV or CSV table with a header, plain or compressed (by content): an id column and ranks, a lineage or taxids.

    taxonomy: the folder of an NCBI taxdump, by which taxids name taxa: at the ranks of PREFIXES, and at `ranks`.
    """
    text = _read_text(path)
    lines = _rows(path, text)
    header_line, header = next(lines, (1, []))
    names = [name.strip().lstrip("#").strip().casefold() for name in header]
    key = next((name for name in ID_COLUMNS if name in names), None)
    if key is None:
        raise InputError(
            path,
            f"no id column in the header ({', '.join(header)[:80]!r})" if header else "an empty file",
            expected=f"a header with one of {', '.join(ID_COLUMNS)}",
            remedy="add a header line",
            line=header_line if header else None,
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(path, f"column {twice!r} twice", remedy="rename one of them", line=header_line)
    rows = _unique(path, lines, len(names), names.index(key))
    if not rows:
        raise InputError(path, "a header and no rows", expected="one line a sequence")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    ids = columns.pop(key)
    for name in list(columns):
        columns[name] = _clean(columns[name])
    columns = _with_lineage(columns)
    if taxonomy is not None:
        columns = _with_taxonomy(path, ids, columns, taxonomy, {*PREFIXES.values(), *ranks})
    return LabelTable(str(path), ids, columns)


def _read_text(path: str | Path) -> str:
    try:
        with xopen(io.BytesIO(Path(path).read_bytes()), "rb", threads=0) as stream:
            data = stream.read()
    except FileNotFoundError as error:
        raise InputError(path, "no such file", remedy="check the path") from error
    except EOFError as error:
        raise InputError(path, "file is truncated", remedy="copy or download it again") from error
    except Exception as error:  # every decompressor has error types of its own
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(path, f"cannot be read: {reason}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "latin1"
        raise InputError(
            path,
            f"text that is not UTF-8 ({data[error.start : error.start + 4]!r})",
            remedy=f"save it as UTF-8, for example with 'iconv -f {encoding} -t utf-8'",
            line=data.count(b"\n", 0, error.start) + 1,
        ) from error


def _rows(path: str | Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of every line that holds something; comments ('# ') before the header are skipped."""
    skipped = 0
    lines = list(io.StringIO(text, newline=""))
    while skipped < len(lines) and (not lines[skipped].strip() or lines[skipped].startswith("# ")):
        skipped += 1
    header = lines[skipped] if skipped < len(lines) else ""
    tabs = "\t" in header or "," not in header
    # In TSV a quotation mark is a character, unless the writer (R, Excel) quoted the header itself.
    plain = tabs and '"' not in header
    reader = csv.reader(
        lines[skipped:],
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
        strict=True,
    )
    try:
        for fields in reader:
            if fields and (fields[0] or any(fields)):
                yield skipped + reader.line_num, fields
    except csv.Error as error:
        raise InputError(path, str(error), expected="TSV or CSV", line=skipped + reader.line_num) from error


def _unique(path: str | Path, lines: Iterator[tuple[int, list[str]]], width: int, key: int) -> list[tuple[str, ...]]:
    """The rows, each as wide as the header, each id once; a line that repeats another exactly is dropped."""
    seen: dict[str, tuple[str, ...]] = {}
    for line, fields in lines:
        if len(fields) != width:
            raise InputError(path, f"{len(fields)} fields", expected=f"{width} as in the header", line=line)
        name = fields[key] = fields[key].strip()
        if not name:
            raise InputError(path, "an empty id", remedy="give it the name of its sequence", line=line)
        row = tuple(fields)  # the garbage collector passes over tuples of text, which saves a third of the time
        if seen.setdefault(name, row) != row:
            raise InputError(path, f"id {name!r} again, with other labels", remedy="keep one of the lines", line=line)
    return list(seen.values())


def _clean(values: list[str]) -> list[str]:
    """Trimmed; what means 'not known' becomes the empty text."""
    distinct = dict.fromkeys(values)
    known = {value: "" if _NOTHING.fullmatch(name := value.strip()) else name for value in distinct}
    return [known[value] for value in values]


def _with_lineage(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """Replace a lineage column by the ranks it holds; a rank that has its own column keeps that one.

    A column so named without any ';', '|' or '__' holds single taxa and stays as it is.
    """
    holds = re.compile(r";|\||__").search
    name = next((name for name in LINEAGE_COLUMNS if any(map(holds, columns.get(name, ())))), None)
    if name is None:
        return columns
    values = columns.pop(name)
    parsed = {value: parse_lineage(value) for value in set(values)}
    found = {rank for lineage in parsed.values() for rank in lineage}
    for rank in PREFIXES.values():
        if rank in found and rank not in columns and ALIASES.get(rank) not in columns:
            columns[rank] = [parsed[value].get(rank, "") for value in values]
    return columns


def _with_taxonomy(
    path: str | Path, ids: Sequence[str], columns: dict[str, list[str]], directory: Path, ranks: Collection[str]
) -> dict[str, list[str]]:
    """Add those of the ranks that stand above the taxids, and the taxids there; a rank that has its own column keeps
    that one.
    """
    name = next((name for name in TAXID_COLUMNS if name in columns), None)
    if name is None:
        raise InputError(
            path, "no column of taxids", expected=f"one of {', '.join(TAXID_COLUMNS)}", remedy="or leave out --taxonomy"
        )
    taxids = {text: taxid_in(text) for text in dict.fromkeys(columns[name]) if text not in NO_TAXON}
    if odd := next((text for text, taxid in taxids.items() if taxid == UNKNOWN), ""):
        of = ids[columns[name].index(odd)]
        raise InputError(path, f"{odd!r} in column {name!r} of {of!r}", expected="an NCBI taxid, such as 562")
    known = read_lineages(directory, set(taxids.values()))
    if missing := [text for text, taxid in taxids.items() if taxid not in known]:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        if not known:
            raise InputError(path, f"none of its {len(taxids)} taxids is in {directory}: {shown}")
        log.warning("%s: %d of %d taxids are not in %s: %s", path, len(missing), len(taxids), directory, shown)
    lineages: dict[str, Lineage] = {text: known.get(taxid, {}) for text, taxid in taxids.items()}
    for rank in dict.fromkeys(rank for lineage in known.values() for rank in reversed(lineage) if rank in ranks):
        taxa = {text: lineage[rank] for text, lineage in lineages.items() if rank in lineage}
        names = {text: taxon for text, (taxon, _) in taxa.items()}
        column = next((column for column in (rank, ALIASES.get(rank)) if column in columns), None) or rank
        own = columns.setdefault(column, [names.get(text, "") for text in columns[name]])
        numbers = {text: str(taxid) for text, (_, taxid) in taxa.items()}
        pairs = zip(own, columns[name], strict=True)
        columns.setdefault(
            taxids_of(column), [numbers[text] if label and label == names.get(text) else "" for label, text in pairs]
        )
    return columns


def parse_lineage(text: str) -> dict[str, str]:
    """Ranks of `d__Bacteria; p__Bacillota`, `k__Bacteria|p__Bacillota`, `D_0__Bacteria;D_1__Bacillota`,
    `Bacteria;Bacillota;` (by position).
    """
    lineage: dict[str, str] = {}
    for level, part in enumerate(part.strip() for part in _LEVEL_ENDS.split(text)):
        prefix, mark, taxon = part.partition("__")
        if not mark:
            rank, taxon = (LEVELS[level] if level < len(LEVELS) else None), part
        elif prefix[:2] in ("D_", "d_") and prefix[2:].isdecimal():
            rank = LEVELS[int(prefix[2:])] if int(prefix[2:]) < len(LEVELS) else None
        else:
            rank = PREFIXES.get(prefix.casefold())
        if rank is not None and not _NOTHING.fullmatch(taxon.strip()):
            lineage[rank] = taxon.strip()
    return lineage
