import bz2
import gzip
import io
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser
from Bio.SeqIO.QualityIO import FastqGeneralIterator
from xopen import xopen

from seqmask.errors import InputError, UsageError
from seqmask.sequences import parse, records
from seqmask.sequences.records import CHECKED, Record, check_nucleotides, checked, read

FASTA = b""">s1 Acidianus  manzaensis, 16S
CCGTAGTTCAGCGGTAGAGC
ggtcnrysa
>s2
ACGTacgu-N.*
"""
FASTQ = b"@r1 first read\nACGTN\n+\nIIII#\n@r2\nacgt\n+r2\n!!~~\n"


@pytest.fixture
def write(tmp_path):
    """Bytes to a file, compressed as asked, under any name."""

    def write(data: bytes, name: str = "reads", kind: str = "") -> Path:
        path = tmp_path / name
        if kind:
            with xopen(path, "wb", format=kind.removeprefix("."), threads=0) as stream:
                stream.write(data)
        else:
            path.write_bytes(data)
        return path

    return write


def everything(*paths) -> tuple[list[Record], InputError | None]:
    """The records before the error, and the error."""
    records: list[Record] = []
    try:
        for record in read(paths):
            records.append(record)
    except InputError as error:
        return records, error
    return records, None


def names(records) -> list[str]:
    return [record.name for record in records]


def test_fasta(write):
    path = write(FASTA)
    assert list(read([path])) == [
        Record("s1", "s1 Acidianus  manzaensis, 16S", "CCGTAGTTCAGCGGTAGAGCggtcnrysa", None, 1, str(path)),
        Record("s2", "s2", "ACGTacgu-N.*", None, 4, str(path)),
    ]


def test_fastq(write):
    path = write(FASTQ)
    assert list(read([path])) == [
        Record("r1", "r1 first read", "ACGTN", "IIII#", 1, str(path)),
        Record("r2", "r2", "acgt", "!!~~", 5, str(path)),
    ]


@pytest.mark.parametrize("name", ["honest", "reads", "lies.fa.gz", "lies.fastq.zst", "lies.bz2", "lies.xz"])
@pytest.mark.parametrize("kind", [".gz", ".bz2", ".xz", ".zst", ""])
@pytest.mark.parametrize("data", [FASTA, FASTQ], ids=["fasta", "fastq"])
def test_compression_is_decided_by_content(write, data, kind, name):
    path = write(data, "reads.fa" + kind if name == "honest" else name, kind)
    plain = write(data, "plain")
    assert [(r.description, r.sequence, r.qualities, r.line) for r in read([path])] == [
        (r.description, r.sequence, r.qualities, r.line) for r in read([plain])
    ]


@pytest.mark.parametrize("kind", [".gz", ".bz2", ".xz", ".zst"])
def test_members_of_a_concatenated_file_are_all_read(write, kind):
    one = write(FASTA, "one", kind).read_bytes()
    assert names(read([write(one + one, "two")])) == ["s1", "s2", "s1", "s2"]


def test_several_files_in_order_and_duplicate_names(write):
    paths = [write(FASTA, "a", ".gz"), write(b"", "empty"), write(FASTQ, "b"), write(FASTA, "c", ".xz")]
    records = list(read(paths))
    assert names(records) == ["s1", "s2", "r1", "r2", "s1", "s2"]
    assert [record.path for record in records] == [str(paths[i]) for i in (0, 0, 2, 2, 3, 3)]


def test_a_file_given_twice_is_read_twice(write):
    path = write(FASTA)
    assert names(read([path, str(path)])) == ["s1", "s2", "s1", "s2"]


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\r\n \n\n", gzip.compress(b"", mtime=0), gzip.compress(b"\n\n", mtime=0)]
)
def test_no_records(write, data):
    assert everything(write(data)) == ([], None)


def test_no_files():
    assert list(read([])) == []


def test_empty_records_are_records(write):
    fasta = list(read([write(b">a\n>b\n\n>c\nAC\n>d")]))
    assert [(r.name, r.sequence) for r in fasta] == [("a", ""), ("b", ""), ("c", "AC"), ("d", "")]
    for end in (b"\n\n", b"\n\n\n"):
        fastq = list(read([write(b"@a\n\n+\n\n@b\nAC\n+\nII\n@c\n\n+" + end)]))
        assert [(r.name, r.sequence, r.qualities) for r in fastq] == [("a", "", ""), ("b", "AC", "II"), ("c", "", "")]


@pytest.mark.parametrize("data", [FASTA, FASTQ], ids=["fasta", "fastq"])
@pytest.mark.parametrize(
    ("change", "shift"),
    [
        (lambda data: data.removesuffix(b"\n"), 0),
        (lambda data: data.replace(b"\n", b"\r\n"), 0),
        (lambda data: data.replace(b"\n", b"\r\n").removesuffix(b"\r\n"), 0),
        (lambda data: b"\n\r\n \n" + data, 3),
        (lambda data: data + b"\n\n", 0),
        (lambda data: b"\xef\xbb\xbf" + data, 0),
    ],
    ids=["no final newline", "CRLF", "CRLF, no final newline", "leading blank lines", "trailing blank lines", "BOM"],
)
def test_line_ends_and_blank_lines_change_nothing_but_line_numbers(write, data, change, shift):
    expected = [(r.description, r.sequence, r.qualities, r.line + shift) for r in read([write(data)])]
    found = [(r.description, r.sequence, r.qualities, r.line) for r in read([write(change(data), "changed")])]
    assert found == expected


def test_blank_lines_within(write):
    assert [(r.name, r.sequence, r.line) for r in read([write(b">a\n\nAC\n\n  \nGT\n\n>b\nA\n")])] == [
        ("a", "ACGT", 1),
        ("b", "A", 8),
    ]
    assert [(r.name, r.line) for r in read([write(FASTQ + b"\n\n" + FASTQ)])] == [
        ("r1", 1),
        ("r2", 5),
        ("r1", 11),
        ("r2", 15),
    ]


def test_comments_in_fasta(write):
    assert [(r.name, r.sequence, r.line) for r in read([write(b"# made by\n;old\n>a\nAC\n;more\nGT\n")])] == [
        ("a", "ACGT", 3)
    ]


def test_many_blank_lines_before_the_first_record(write):
    assert [r.line for r in read([write(b"\n" * 300_000 + FASTA)])] == [300_001, 300_004]


def test_names_are_cut_at_white_space(write):
    records = list(read([write(">a\tb c\n>  d  e \n>tö\u00a0x y\n".encode())]))
    assert [(r.name, r.description) for r in records] == [
        ("a", "a\tb c"),
        ("d", "  d  e"),
        ("tö\u00a0x", "tö\u00a0x y"),
    ]


@pytest.mark.parametrize("blank", [b"\v", b"\f", b"\t", b" "])
def test_names_are_cut_alike_whichever_way_they_are_read(write, blank):
    """Sequences of one line each, and of two: only the first are read by the shorter way."""
    for text in (b">a%sb\nACGT\n>c\nACGT\n>d\nACGT\n", b">a%sb\nAC\nGT\n>c\nACGT\n>d\nACGT\n"):
        assert names(read([write(text % blank)])) == ["a", "c", "d"]


def test_long_sequence(write):
    sequence = "ACGT" * 500_000
    lines = "\n".join(sequence[i : i + 60] for i in range(0, len(sequence), 60))
    assert [r.sequence for r in read([write(f">chr\n{lines}\n>one line\n{sequence}\n".encode(), kind=".gz")])] == [
        sequence
    ] * 2


@pytest.mark.parametrize("before", [0, 3])
def test_a_record_that_positions_can_not_count(write, monkeypatch, before):
    monkeypatch.setattr(records, "LONGEST", 40)
    path = write(b">ok\n" * before + b">fits\n" + b"A" * 40 + b"\n>long\n" + b"ACGTN" * 9 + b"\n")
    found = []
    with pytest.raises(InputError, match=r"record 'long' has 45 letters.*at most 40 nt") as caught:
        found.extend(checked(read([path])))
    assert caught.value.line == before + 3


def test_agrees_with_biopython(write):
    rng = random.Random(1)
    records = [(f"r{i} {i}", "".join(rng.choices("ACGTNacgtn", k=rng.randrange(1, 400)))) for i in range(300)]
    fasta = "".join(f">{name}\n" + re.sub("(.{1,60})", r"\1\n", sequence) for name, sequence in records)
    fastq = "".join(f"@{name}\n{s}\n+\n{''.join(rng.choices('!I@>+~', k=len(s)))}\n" for name, s in records)
    assert [(r.description, r.sequence) for r in read([write(fasta.encode())])] == list(
        SimpleFastaParser(io.StringIO(fasta))
    )
    assert [(r.description, r.sequence, r.qualities) for r in read([write(fastq.encode())])] == list(
        FastqGeneralIterator(io.StringIO(fastq))
    )


def line_by_line(data: bytes) -> list[tuple[str, str, str, int]]:
    """Name, description, sequence and line of FASTA records, by the plainest of parsers."""
    found: list[list] = []
    for number, text in enumerate(data.split(b"\n"), 1):
        if text[:1] == b">":
            description = text[1:].rstrip().decode()
            found.append([description.split()[0], description, "", number])
        elif text[:1] not in (b"#", b";") and found:
            found[-1][2] += "".join(text.decode().split())
    return [tuple(record) for record in found]


PIECES = ["A", "ACGT", "acgtn-", "GT ", "AC GT\t", "", "# note", ";note", "\r", "AC\r"]


@pytest.mark.parametrize("block", [1, 2, 7, 64, 1 << 16])
def test_fasta_of_any_shape_and_blocks_of_any_size(write, monkeypatch, block):
    """One plain line a record is read another way than the rest: both must agree with a third."""
    monkeypatch.setattr(parse, "BLOCK", block)
    rng = random.Random(block)
    for _ in range(150):
        odd, most = rng.random() ** 3, rng.choice([1, 1, 3])
        text = ""
        for i in range(rng.randrange(1, 9)):
            header = rng.choice([f"r{i}", f"r{i} x", f"r{i}\tx>y", f"r{i} ", f" r{i}", "ü", f"r{i}\r"])
            text += ">" + (header if rng.random() < odd else f"r{i} some > text") + "\n"
            lines = rng.randrange(most + 1) if rng.random() < odd else most
            text += "".join((rng.choice(PIECES) if rng.random() < odd else "ACGTN") + "\n" for _ in range(lines))
        data = text.encode()
        data = data.removesuffix(b"\n") if rng.random() < 0.3 else data
        expected = line_by_line(data)
        assert [(r.name, r.description, r.sequence, r.line) for r in read([write(data)])] == expected


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_fastq_with_blank_lines_in_blocks_of_any_size(end):
    """Blank lines are left out where a record starts, and only there: an empty read has blank lines of its own."""
    rng = random.Random(len(end))
    for _ in range(200):
        lines: list[bytes] = []
        expected = []
        for i in range(rng.randrange(1, 7)):
            lines += [b""] * rng.choice([0, 0, 1, 3])
            sequence = "ACGT"[: rng.randrange(5)]
            expected.append((f"r{i}", sequence, "I" * len(sequence), len(lines) + 1))
            lines += [f"@r{i}".encode(), sequence.encode(), b"+", b"I" * len(sequence)]
        lines += [b""] * rng.choice([0, 0, 1, 3])
        reader, writer = os.pipe()
        data, step = b"".join(line + end for line in lines), rng.choice([1, 2, 3, 50])
        thread = feed(writer, (data[i : i + step] for i in range(0, len(data), step)))
        assert [(r.name, r.sequence, r.qualities, r.line) for r in read([f"/dev/fd/{reader}"])] == expected
        thread.join()
        os.close(reader)


# Standard input, pipes, FIFOs

SCRIPT = """
import sys
from seqmask.sequences.records import read
for record in read(sys.argv[1:]):
    print(record.name, record.sequence, record.line, record.path, flush=True)
"""


@pytest.mark.parametrize("kind", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_stdin(write, monkeypatch, kind):
    with write(FASTA, kind=kind).open("r", encoding="latin1") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        records = list(read(["-"]))
        assert [(r.name, r.path) for r in records] == [("s1", "-"), ("s2", "-")]
        assert not stdin.closed


def test_empty_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert everything("-") == ([], None)


def test_closed_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert "closed" in str(everything("-")[1])


@pytest.mark.parametrize("again", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_stdin_named_twice(again):
    with pytest.raises(UsageError, match="twice"):
        read(["-", again])


def test_stdin_that_does_not_wait(monkeypatch):
    """As some programs leave the terminal, or a pipe that they share with us."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        late = threading.Timer(0.3, lambda: (os.write(writer, FASTA), os.close(writer)))
        late.start()
        assert names(read(["-"])) == ["s1", "s2"]
        late.join()


@pytest.mark.parametrize("argument", ["-", "/dev/stdin", "/dev/fd/0"])
def test_pipe_into_a_process(argument):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, argument], input=gzip.compress(FASTA, mtime=0), capture_output=True, check=True
    )
    assert done.stdout.decode() == (f"s1 CCGTAGTTCAGCGGTAGAGCggtcnrysa 1 {argument}\ns2 ACGTacgu-N.* 4 {argument}\n")


def test_process_substitution(write):
    path = write(FASTQ)
    command = f'"{sys.executable}" -c "$SCRIPT" <(cat "{path}") <(gzip -c "{path}")'
    done = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "SCRIPT": SCRIPT}, capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["r1", "r2", "r1", "r2"]


def feed(descriptor: int, pieces) -> threading.Thread:
    def run() -> None:
        with suppress(BrokenPipeError), os.fdopen(descriptor, "wb", buffering=0) as stream:
            for piece in pieces:
                stream.write(piece)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["", ".gz", ".xz", ".zst"])
def test_a_pipe_that_gives_one_byte_at_a_time(write, kind):
    data = write(FASTA, kind=kind).read_bytes()
    reader, writer = os.pipe()
    thread = feed(writer, (bytes([byte]) for byte in data))
    assert names(read([f"/dev/fd/{reader}"])) == ["s1", "s2"]
    thread.join()
    os.close(reader)


def test_fifo(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    thread = threading.Thread(target=lambda: fifo.write_bytes(bz2.compress(FASTQ)))
    thread.start()
    assert names(read([fifo])) == ["r1", "r2"]
    thread.join()


def test_records_of_a_live_pipe_come_before_it_ends():
    """A reader in a pipeline must not wait for the end of its input."""
    reader, writer = os.pipe()
    os.write(writer, b">a\nAC\n>b\nGT\n")
    records = read([f"/dev/fd/{reader}"])
    assert next(records).name == "a"
    os.close(writer)
    assert next(records).name == "b"
    os.close(reader)


def test_stopping_early_closes_the_file(write):
    path = write(FASTA * 20_000, kind=".gz")
    records = read([path])
    next(records)
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    records.close()
    after = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    assert len(after) == max(len(before) - 1, 0)


# Failures


def test_missing_file_is_found_before_anything_is_read(write):
    with pytest.raises(InputError, match=r"nowhere\.fa: no such file") as caught:
        read([write(FASTA), "nowhere.fa"])
    assert caught.value.path == "nowhere.fa"


def test_directory(tmp_path):
    with pytest.raises(InputError, match="is a directory"):
        read([tmp_path])


def test_unreadable(write, monkeypatch):
    path = write(FASTA)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read anything
    with pytest.raises(InputError, match="permission denied"):
        read([path])


def test_odd_paths(write):
    with pytest.raises(InputError, match="no such file"):
        read([""])
    with pytest.raises(InputError, match="null byte"):
        read(["a\0b"])
    with pytest.raises(InputError, match="cannot be read: not a directory"):
        read([write(FASTA) / "x"])


def test_a_file_that_vanishes_in_between(write):
    first, second = write(FASTA, "1"), write(FASTA, "2")
    records = read([first, second])
    assert names([next(records), next(records)]) == ["s1", "s2"]
    second.unlink()
    with pytest.raises(InputError, match="no such file"):
        next(records)


@pytest.mark.parametrize("kind", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("cut", [0.9, 0.5, 3])
@pytest.mark.parametrize("data", ["fasta", "fastq"])
def test_truncated_compressed_file(write, kind, cut, data):
    rng = random.Random(2)
    sequences = ["".join(rng.choices("ACGT", k=1000)) for _ in range(600)]
    text = "".join(
        f">s{i}\n{s}\n" if data == "fasta" else f"@s{i}\n{s}\n+\n{'I' * 1000}\n" for i, s in enumerate(sequences)
    )
    whole = write(text.encode(), kind=kind).read_bytes()
    records, error = everything(write(whole[: cut if cut > 1 else int(len(whole) * cut)], "cut"))
    if cut > 1 and kind in (".xz", ".zst"):
        assert error is not None  # too short even for its magic number
        assert records == []
        return
    assert "file is truncated" in str(error)
    assert error.path.endswith("cut")
    assert [r.sequence for r in records] == sequences[: len(records)]
    if cut == 0.9 and kind != ".bz2":  # bz2 has blocks of 900 kB
        assert len(records) > 300


@pytest.mark.parametrize("kind", [".gz", ".bz2", ".xz", ".zst"])
def test_damaged_compressed_file(write, kind):
    whole = bytearray(write(FASTA * 100, kind=kind).read_bytes())
    if kind == ".zst":
        whole[4] |= 8  # a reserved bit: without a checksum, zstd cannot notice damage to its data
    else:
        whole[len(whole) // 2] ^= 0xFF
    _, error = everything(write(bytes(whole), "damaged"))
    assert error is not None
    assert error.path.endswith("damaged")


def test_gzip_with_garbage_behind_it(write):
    _, error = everything(write(gzip.compress(FASTA, mtime=0) + b"garbage"))
    assert error is not None


def test_failing_read(write, monkeypatch):
    class Broken(io.BytesIO):
        def read1(self, size=-1):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Broken()}))
    assert "Input/output error" in str(everything("-")[1])


@pytest.mark.parametrize(
    ("data", "found", "line"),
    [
        (b"ACGTACGT\nACGT\n", "'ACGTACGT'", 1),
        (b"\n\nid\tphylum\n", "'id\\\\tphylum'|'id", 3),
        (b"# comment\nACGT\n", "'ACGT'", 2),
        (b"# comment\n", "comments only", None),
        (b"\x00" * 100, "binary data", 1),
        (b"\x7fELF\x02\x01\x01\x00\xf0\xf1", "binary data", 1),
        (">a\nACGT\n".encode("utf-16"), "binary data", 1),
        (b"BAM\x01\x00\x00", "a BAM file", None),
        (gzip.compress(b"BAM\x01\x00\x00", mtime=0), "a BAM file", None),
        (b"@HD\tVN:1.6\n", "a SAM file", None),
        (b"PK\x03\x04\x00", "a zip archive", None),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file", None),
        (b"LOCUS       SCU49845", "a GenBank file", None),
        (b">a\rACGT\r>b\rAC\r", "line ends of a bare CR", 1),
    ],
)
def test_what_is_no_sequence_file(write, data, found, line):
    path = write(data)
    records, error = everything(path)
    assert records == []
    assert re.search(found, str(error))
    assert (error.path, error.line) == (str(path), line)
    assert error.expected or error.remedy


def test_random_bytes_never_escape_as_another_error(write):
    rng = random.Random(3)
    for start in (b"", b">", b"@", b"\x1f\x8b\x08\x00", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b">a\nAC\n>"):
        for size in (0, 1, 10, 5000):
            everything(write(start + rng.randbytes(size)))


@pytest.mark.parametrize(
    ("bad", "found", "line"),
    [
        (b">\nACGT\n", "without a name", 3),
        (b">  \nACGT\n", "without a name", 3),
        (">Müller\nACGT\n".encode("latin1"), "not UTF-8", 3),
        (b">b\n\xff\xfe\x00\x01\n>c\nA\n", "not text in record 'b'", 3),
    ],
)
def test_bad_fasta_record_comes_after_the_good_ones(write, bad, found, line):
    records, error = everything(write(b">a\nACGT\n" + bad))
    assert names(records) == ["a"]
    assert found in str(error)
    assert "\n" not in str(error)
    assert error.line == line


@pytest.mark.parametrize(
    ("bad", "found", "line"),
    [
        (b"@b\nACGT\n+\nIII\n", "length of sequence and qualities differ", 8),
        (b"@b\nACG\n+\nIIII\n", "length of sequence and qualities differ", 8),
        (b"\n\r\n@b\nACG\n+\nIIII\n", "length of sequence and qualities differ", 10),
        (b"@b\nACGT\nIIII\n@c\n", "to start with '+', but found 'I'", 7),
        (b"@b\nAC\nGT\n+\nII\nII\n", "to start with '+', but found 'G'", 7),
        (b"@b\nACGT\n+c\nIIII\n", "don't match", 7),
        (b"@b\nACGT\n+\n", "premature end of file", 8),
        (b"@b\nACGT\n", "premature end of file", 7),
        (b"@b\nACGT", "premature end of file", 6),
        (b"@b", "premature end of file", 5),
        (b"@b\nACGT\n+\nII", "length of sequence and qualities differ", 8),
        (b">b\nACGT\n>c\nAC\n", "to start with '@', but found '>'", 5),
        (b"garbage\n" * 4, "to start with '@', but found 'g'", 5),
        (b"\xff\xfe\x00" * 10, "not ASCII (b'\\xff\\xfe')", 5),
        (b"@\nACGT\n+\nIIII\n", "without a name", 5),
        (b"@b\nAC\xff\xff\n+\nIIII\n", "not ASCII", 6),
        (b"@b\nACGT\n+\nII\xff\xff\n", "not ASCII", 8),
        (b"\n@b\nACGT\n+\nII\xff\xff\n", "not ASCII", 9),
        ("@Müller\nACGT\n+\nIIII\n".encode("latin1"), "not ASCII", 5),
        ("@Müller\nACGT\n+\nIIII\n".encode(), "not ASCII", 5),  # in FASTA it is a name; dnaio knows no such FASTQ
    ],
)
def test_bad_fastq_record_comes_after_the_good_ones(write, bad, found, line):
    records, error = everything(write(b"@a\nACGT\n+\nIIII\n" + bad))
    assert names(records) == ["a"]
    assert found in str(error)
    assert "\n" not in str(error)
    assert error.line == line


# Alphabet


def test_every_nucleotide_letter_passes():
    check_nucleotides(Record("x", "x", "ACGTUNRYSWKMBDHVacgtunryswkmbdhv-.*"))
    check_nucleotides(Record("x", "x", ""))


@pytest.mark.parametrize("letter", [*"EFIJLOPQXZeflpq", " ", "1", "\0", "!", "ü", "\u2013"])
def test_any_other_letter_is_named(letter):
    record = Record("x", "x y", "ACGT" + letter + "AC", line=7, path="reads.fa")
    with pytest.raises(InputError) as caught:
        check_nucleotides(record)
    assert f"{letter!r} in record 'x' (letter 5)" in str(caught.value)
    assert (caught.value.path, caught.value.line) == ("reads.fa", 7)


def test_fastq_in_fasta_is_recognised(write):
    (record,) = read([write(b">a\nACGTACGT\n@r\nACGT\n+\nIIII\n")])
    with pytest.raises(InputError, match=r"'@' in record 'a' \(letter 9\).*FASTQ in a FASTA file\? give each format"):
        check_nucleotides(record)


def test_protein_is_recognised(write):
    (record,) = read([write(b">sp|P69905|HBA_HUMAN\nMVLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTK\n")])
    with pytest.raises(InputError, match=r"line 1: 'L' in record 'sp\|P69905\|HBA_HUMAN'.*looks like protein"):
        check_nucleotides(record)


def test_long_records_do_not_wait_in_memory_for_each_other() -> None:
    """Records that are read ahead of the one that is handed on: few long ones, many short ones."""
    for length, least, most in ((3 * CHECKED, 1, 2), (CHECKED // 10, 2, 20), (150, 1000, 1024)):
        read_so_far = 0

        def records(length: int = length) -> Iterator[Record]:
            nonlocal read_so_far
            for i in range(3000 if length < 1000 else 40):
                read_so_far += 1
                yield Record(f"r{i}", f"r{i}", "A" * length)

        ahead = [read_so_far - done for done, _ in enumerate(checked(records()))]
        assert least <= max(ahead) <= most


def test_all_records_are_checked_however_long() -> None:
    texts = ["ACGT" * n for n in (1, 70_000, 2, 1, 300_000, *range(1, 40))]
    records = [Record(f"r{i}", f"r{i}", text) for i, text in enumerate(texts)]
    assert list(checked(iter(records))) == records
    for bad in range(len(records)):
        marred = [*records]
        marred[bad] = Record(f"r{bad}", f"r{bad}", texts[bad] + "J")
        with pytest.raises(InputError, match=f"'J' in record 'r{bad}'"):
            list(checked(iter(marred)))


@pytest.mark.parametrize("kind", [".gz", ".bz2", ".xz", ".zst"])
def test_a_damaged_later_stream_is_no_end(write, kind):
    """Python's bz2 and xz readers would end there without a word, and lose all that follows."""
    one = write(FASTA, "one", kind).read_bytes()
    broken = bytearray(one)
    broken[{".gz": 2, ".bz2": 4, ".xz": 8, ".zst": 4}[kind]] ^= 0x55
    records, error = everything(write(one + bytes(broken) + one, "two"))
    assert error is not None
    assert names(records) in ([], ["s1"])  # the second is not known to be whole


def test_xz_may_be_padded(write):
    one = write(FASTA, "one", ".xz").read_bytes()
    assert names(read([write(one + bytes(8) + one + bytes(4), "two")])) == ["s1", "s2", "s1", "s2"]


def test_zstandard_behind_a_skippable_frame(write):
    """As pzstd writes it."""
    one = write(FASTA, "one", ".zst").read_bytes()
    frame = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    assert names(read([write(frame + one + frame + one, "two")])) == ["s1", "s2", "s1", "s2"]
