"""Makes the data files of this folder: `python examples/make_examples.py DATA [--taxonomy TAXDUMP]`.

DATA holds genomes.fasta.gz, genomes.tsv.gz, ssu.fasta.gz, ssu.tsv.gz and ssu-variable-regions.bed.gz (README.md says
what they are). The same data
give the same records. The printed sums are of the uncompressed text: gzip's bytes depend on the zlib at hand.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from Bio.Seq import reverse_complement

from seqmask.labels.tables import LabelTable, read_labels
from seqmask.sequences.records import read

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
SEED = 20
RANKS = ("superkingdom", "phylum", "genus")

# reads.fasta.gz: held-out sequences, so many of each superkingdom, at most four of a genus
READS = {"Bacteria": 190, "Archaea": 110, "Eukaryota": 120, "Viruses": 80}
PER_GENUS = 4
SHORTEST, LONGEST = 150, 1500

# small/: phyla whose 16S or 18S genes differ much, their four best covered genera, at most so many of a split
PHYLA = ("Euryarchaeota", "Pseudomonadota", "Cyanobacteriota", "Bacillota", "Apicomplexa", "Rhodophyta", "Euglenozoa")
GENERA = 4
LIMITS = {"train": 60, "val": 15, "test_species": 15}
SMALL_LENGTH = 600
SMALL_TRAIN = 20  # a genus with fewer training sequences is no class by default

# 16s/: E. coli's whole gene, and one gene of a phylum with known variable regions, a few without
ECOLI = "AP009048"
GENES = {"Bacteria": 15, "Archaea": 3, "Eukaryota": 2}


def main() -> None:
    """Write both sets and print what they hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with genomes.* and ssu.*")
    parser.add_argument("--taxonomy", type=Path, help="folder of an NCBI taxdump, for small/taxids.tsv and its taxdump")
    parser.add_argument("--output", type=Path, default=HERE, help="folder to write to (default: this one)")
    options = parser.parse_args()
    (options.output / "small").mkdir(parents=True, exist_ok=True)
    make_reads(options.data, options.output)
    make_small(options.data, options.output / "small")
    if options.taxonomy:
        make_taxids(options.data, options.output / "small", options.taxonomy)
    (options.output / "16s").mkdir(exist_ok=True)
    make_16s(options.data, options.output / "16s")


def make_reads(data: Path, output: Path) -> None:
    """Held-out reads of 150 to 1,500 nt with their true lineage in the header."""
    rng = random.Random(SEED)
    table, sequences = load(data, "genomes")
    chosen = choose_reads(rng, table, sequences)
    fasta, rows = [], []
    for i, name in enumerate(chosen, start=1):
        row, whole = table.row(name), sequences[name]
        longest = min(LONGEST, len(whole))
        length = round(SHORTEST * (longest / SHORTEST) ** rng.random())
        start = int(rng.random() * (len(whole) - length + 1))
        sequence, strand = whole[start : start + length], "+"
        if rng.random() < 0.5:
            sequence, strand = reverse_complement(sequence), "-"
        lineage = ";".join(f"{rank}:{row[rank]}" for rank in RANKS)
        origin = f"source={name}:{start}-{start + length}({strand}) split={row['split']}"
        fasta.append(f">read{i:03d} {origin} tax={lineage}\n{wrapped(sequence)}")
        rows.append((f"read{i:03d}", *(row[rank] for rank in RANKS)))
    write(output / "reads.fasta.gz", "".join(fasta))
    write(output / "reads.tsv", tsv(("id", *RANKS), rows))
    report(rows)


def choose_reads(rng: random.Random, table: LabelTable, sequences: dict[str, str]) -> list[str]:
    """So many ids of each superkingdom as READS says, in random order."""
    left, genera = Counter(READS), Counter[str]()
    chosen = []
    for name in shuffled(rng, table.select("test_species", "test_gene")):
        row = table.row(name)
        known = all(row[rank] for rank in RANKS) and len(sequences[name]) >= SHORTEST
        if known and left[row["superkingdom"]] and genera[row["genus"]] < PER_GENUS:
            left[row["superkingdom"]] -= 1
            genera[row["genus"]] += 1
            chosen.append(name)
    return chosen


def make_small(data: Path, output: Path) -> None:
    """A labelled set that a tiny model learns in a minute or two: pieces of rRNA genes of 23 genera."""
    rng = random.Random(SEED)
    table, sequences = load(data, "ssu")
    members: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: {split: [] for split in LIMITS})
    for name in table.ids:
        row = table.row(name)
        if row["genus"] and row["phylum"] in PHYLA and len(sequences[name]) >= SMALL_LENGTH // 2:
            members[row["phylum"], row["genus"]][row["split"]].append(name)
    fasta, rows = [], []
    for phylum in PHYLA:
        enough = {
            genus: by_split
            for (of, genus), by_split in members.items()
            if of == phylum and len(by_split["train"]) >= SMALL_TRAIN and all(by_split.values())
        }
        best = sorted(enough, key=lambda genus: (-coverage(enough[genus]), genus))[:GENERA]
        for genus in best:
            for split, limit in LIMITS.items():
                for name in shuffled(rng, enough[genus][split])[:limit]:
                    whole, row = sequences[name], table.row(name)
                    start = int(rng.random() * (len(whole) - SMALL_LENGTH + 1)) if len(whole) > SMALL_LENGTH else 0
                    fasta.append(f">{name} {row['species']}\n{wrapped(whole[start : start + SMALL_LENGTH])}")
                    rows.append((name, *(row[rank] for rank in RANKS), split))
    write(output / "small.fasta.gz", "".join(fasta))
    write(output / "small.tsv", tsv(("id", *RANKS, "split"), rows))
    report(rows)


def make_taxids(data: Path, output: Path, taxonomy: Path) -> None:
    """A label table of `small` with taxids for ranks, and the lines of a taxdump that these stand on."""
    small, whole = read_labels(output / "small.tsv"), read_labels(data / "ssu.tsv.gz")
    rows = [(name, whole.row(name)["taxid"], small.split(name)) for name in small.ids]
    write(output / "taxids.tsv", tsv(("id", "taxid", "split"), rows))
    nodes = {line.split("\t", 1)[0]: line for line in lines(taxonomy / "nodes.dmp")}
    wanted = {"1"}
    for _, taxid, _ in rows:
        while taxid and taxid not in wanted:
            wanted.add(taxid)
            taxid = nodes[taxid].split("\t")[2]
    (output / "taxdump").mkdir(exist_ok=True)
    write(output / "taxdump" / "nodes.dmp", "".join(nodes[taxid] for taxid in sorted(wanted, key=int)))
    names = (line for line in lines(taxonomy / "names.dmp") if "\tscientific name\t" in line)
    write(output / "taxdump" / "names.dmp", "".join(line for line in names if line.split("\t", 1)[0] in wanted))


def lines(path: Path) -> list[str]:
    """The lines of a text, ends included."""
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def make_16s(data: Path, output: Path) -> None:
    """Whole rRNA genes that training never saw, the variable regions of the bacterial ones, and E. coli's gene."""
    rng = random.Random(SEED)
    table, sequences = load(data, "ssu")
    regions: dict[str, list[str]] = defaultdict(list)
    with gzip.open(data / "ssu-variable-regions.bed.gz", "rt") as file:
        for line in file:
            regions[line.split("\t")[0]].append(line)
    left, phyla, fasta, bed = Counter(GENES), set(), [], []
    for name in shuffled(rng, table.select("test_species")):
        row = table.row(name)
        domain, phylum = row["superkingdom"], row["phylum"]
        if left[domain] and phylum not in phyla and (domain != "Bacteria" or name in regions):
            left[domain] -= 1
            phyla.add(phylum)
            fasta.append(f">{name} {row['species']}\n{wrapped(sequences[name])}")
            bed += regions[name]
    write(output / "ecoli.fasta", f">{ECOLI} {table.row(ECOLI)['species']}\n{wrapped(sequences[ECOLI])}")
    write(output / "genes.fasta.gz", "".join(fasta))
    write(output / "variable-regions.bed", "".join(bed))
    print(f"  {len(fasta)} records, wanted and not found: {dict(+left)}")


def coverage(by_split: dict[str, list[str]]) -> int:
    """How much of the limits a genus fills; held-out sequences are scarce and count double."""
    return sum((1 if split == "train" else 2) * min(len(by_split[split]), limit) for split, limit in LIMITS.items())


def load(data: Path, stem: str) -> tuple[LabelTable, dict[str, str]]:
    """The label table and the sequences by id."""
    table = read_labels(data / f"{stem}.tsv.gz")
    return table, {record.name: record.sequence for record in read([data / f"{stem}.fasta.gz"])}


def shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    """Random order by `random()` alone, the one method that Python keeps the same from version to version."""
    keys = [rng.random() for _ in items]
    return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]


def wrapped(sequence: str) -> str:
    """Lines of 60."""
    return "".join(sequence[i : i + 60] + "\n" for i in range(0, len(sequence), 60))


def tsv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of a table."""
    return "".join("\t".join(row) + "\n" for row in (header, *rows))


def write(path: Path, text: str) -> None:
    """Write text, compressed if the name says so, and print its sum."""
    data = text.encode()
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes, sha256 of the text {hashlib.sha256(data).hexdigest()}")


def report(rows: Sequence[Sequence[str]]) -> None:
    """Print how many records there are of each superkingdom and split."""
    print(f"  {len(rows)} records, {len({row[2] for row in rows})} phyla, {len({row[3] for row in rows})} genera")
    print(f"  superkingdoms: {dict(Counter(row[1] for row in rows))}")
    if len(rows[0]) > 4:
        print(f"  splits: {dict(Counter(row[4] for row in rows))}")


if __name__ == "__main__":
    main()
