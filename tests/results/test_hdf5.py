"""The HDF5 file: against its document, against what went in, and against damage."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from seqmask.errors import InputError, UsageError
from seqmask.labels.ranks import Rank, Ranks
from seqmask.results import hdf5
from seqmask.results.annotated import annotate
from seqmask.results.hdf5 import Hdf5Writer, creation_date, id_width
from seqmask.results.reader import read
from seqmask.sequences.explanations import Explanation, Status

Explain = Callable[..., Explanation]
AtRandom = Callable[..., list[Explanation]]
SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schema.md"


def write(
    path: Path, items: list[Explanation], ranks: Ranks, metadata: dict[str, Any], *, size: int = 50, **options: Any
) -> Path:
    writer = Hdf5Writer(path, ranks, metadata, **options)
    for start in range(0, len(items), size):
        writer.append(annotate(items[start : start + size], ranks, 0.5))
    writer.close()
    return path


def datasets(path: Path) -> dict[str, h5py.Dataset]:
    """Every dataset, in memory: name to (dtype, shape, values, creation properties)."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def schema_table(first: str) -> list[list[str]]:
    """Cells of the rows of the table in the document whose header starts so, back quotes and escapes taken away."""
    lines = iter(SCHEMA.read_text().splitlines())
    next(line for line in lines if line.startswith(f"| {first} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
        rows.append([cell.strip().replace("`", "").replace("\\|", "|") for cell in cells])
    return rows


def shape_in_words(dataset: h5py.Dataset, n: int, t: int, k: int, r: int) -> str:
    letters = {n: "N", n + 1: "N + 1", t: "T", k: "K"}
    words = [letters[dataset.shape[0]], *("R" if size == r else "?" for size in dataset.shape[1:])]
    return f"({words[0]},)" if len(words) == 1 else f"({', '.join(words)})"


@pytest.mark.parametrize("tracks", [1, 3])
@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("related", [False, True])
def test_the_file_is_as_the_document_says(
    tmp_path: Path, explain: Explain, metadata: dict[str, Any], tracks: int, check: bool, related: bool
) -> None:
    # N = 5, T = 20, R = 3, K = 10: every letter a number of its own
    parents = {"genus": ((0,),) * 10} if related else {}
    ranks = Ranks(
        tuple(
            Rank(name, tuple(f"{name}{i}" for i in range(10)), parents=parents.get(name, ()))
            for name in ("domain", "phylum", "genus")
        )
    )
    spans = [(i, i + 6) for i in range(4)]
    logits = dict.fromkeys(("logits", "masked", "inverse"), [0.0] * 30)
    items = [explain("ACGTACGTA", spans, [[0.5] * tracks] * 4, targets=(0, 0, 0), **logits) for _ in range(5)]
    path = write(tmp_path / "x.h5", items, ranks, metadata, check=check, token_tracks=tracks)
    documented = {}
    for name, dtype, shape, present, _ in schema_table("dataset"):
        if {"always": True, "with --check": check, "with parents": related}[present]:
            for rank in ranks.names:
                documented[name.replace("<rank>", rank)] = (dtype, shape.split(" or ")[-1 if tracks > 1 else 0])
    found = {}
    with h5py.File(path) as file:
        for name in datasets(path):
            dataset = file[name]
            dtype = "S" if dataset.dtype.kind == "S" else dataset.dtype.str
            found[f"/{name}"] = (dtype, shape_in_words(dataset, 5, 20, 10, 3))
        attributes = {name: kind(value) for name, value in file.attrs.items()}
    assert found == documented
    assert attributes == {name: type_ for name, type_, _ in schema_table("attribute")}


def kind(value: Any) -> str:
    match value:
        case str():
            return "text"
        case bool() | np.bool_():
            return "true or false"
        case _:
            return "number" if np.isscalar(value) else type(value).__name__


def test_the_example_in_the_document_runs(
    tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = at_random(8, 20)
    write(tmp_path / "reads.h5", items, ranks, metadata, full_precision=True)
    monkeypatch.chdir(tmp_path)
    example = SCHEMA.read_text().partition("```python\n")[2].partition("```")[0]
    made: dict[str, Any] = {}
    exec(example, made)
    assert made["names"].tolist() == [item.record.name for item in items]
    assert np.stack([made["start"], made["end"]], axis=1).tolist() == items[5].spans.tolist()
    assert made["importance"].tolist() == items[5].mask[:, 0].tolist()


def test_storage(tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any]) -> None:
    path = write(tmp_path / "x.h5", at_random(0, 300), ranks, metadata, check=True)
    with h5py.File(path) as file:
        for name in datasets(path):
            dataset = file[name]
            assert (dataset.compression, dataset.compression_opts) == ("gzip", 4), name
            assert dataset.shuffle, name
            assert dataset.fletcher32, name
            assert h5py.check_vlen_dtype(dataset.dtype) is None, name
            if name.rpartition("/")[2] in {"classes", "taxid"}:
                continue
            assert dataset.maxshape[0] is None, name
            assert dataset.chunks[0] == (65_536 if name.startswith("tokens/") else 16_384), name
            if dataset.dtype.kind == "S":
                assert h5py.check_string_dtype(dataset.dtype).length is not None
                assert h5py.check_string_dtype(dataset.dtype).encoding == "utf-8"


@pytest.mark.parametrize("tracks", [1, 2])
def test_what_went_in_comes_out(
    tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any], tracks: int
) -> None:
    items = at_random(1, 200, tracks, check=True)
    batch = annotate(items, ranks, 0.5)
    path = write(tmp_path / "x.h5", items, ranks, metadata, check=True, full_precision=True, token_tracks=tracks)
    with read(path) as file:
        assert (file.n_records, file.n_tokens) == (200, sum(len(item.spans) for item in items))
        assert (file.ranks, file.tracks, file.check) == (ranks, tracks, True)
        assert file.ids() == [item.record.name for item in items]
        assert file.ids(3, 5) == ["read3", "read4"]
        assert file.column("records/index").tolist() == list(range(200))
        assert file.column("records/length").tolist() == [len(item.record.sequence) for item in items]
        assert file.column("records/status").tolist() == [item.status for item in items]
        assert np.array_equal(file.column("records/kept_fraction"), batch.kept_fraction, equal_nan=True)
        assert np.array_equal(file.column("records/mean_importance"), batch.mean_importance, equal_nan=True)
        offset = file.column("records/token_offset")
        for item, (start, stop) in zip(items, pairwise(offset.tolist()), strict=True):
            assert file.column("tokens/start", start, stop).tolist() == item.spans[:, 0].tolist()
            assert file.column("tokens/end", start, stop).tolist() == item.spans[:, 1].tolist()
            assert (
                file.column("tokens/importance", start, stop).tolist()
                == item.mask.squeeze(1 if tracks == 1 else ()).tolist()
            )
        assert batch.masked is not None
        assert batch.inverse is not None
        for i, rank in enumerate(ranks.names):
            for prefix, found in (("", batch.predicted), ("masked_", batch.masked), ("inverse_", batch.inverse)):
                assert file.classes(rank, f"{prefix}class").tolist() == found.classes[:, i].tolist()
                share = file.column(f"predictions/{rank}/{prefix}confidence")
                assert np.array_equal(share, found.confidence[:, i], equal_nan=True)
        ok = file.column("records/status") == Status.ok
        assert set(file.column("predictions/genus/class")[~ok].tolist()) == {2**32 - 1}
        assert file.attributes["threshold"] == 0.5
        assert json.loads(file.attributes["command"])[:2] == ["seqmask", "mask"]


def test_importance_is_rounded_to_1024ths(
    tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any]
) -> None:
    items = at_random(2, 100)
    exact = np.concatenate([item.mask[:, 0] for item in items])
    path = write(tmp_path / "x.h5", items, ranks, metadata)
    with read(path) as file:
        stored = file.column("tokens/importance")
    off = np.abs(stored - exact)
    assert (off[np.abs(exact - 0.5) > 1 / 2048] <= 1 / 2048).all()
    assert off.max() <= 1 / 1024
    assert np.array_equal(stored * 1024, np.rint(stored * 1024))


@pytest.mark.parametrize("tau", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_rounding_does_not_cross_the_threshold(tau: float) -> None:
    near = np.float32(tau) + np.linspace(-1 / 512, 1 / 512, 401, dtype=np.float32)
    below = np.nextafter(np.float32(tau), np.float32(0))
    mask = np.clip(np.concatenate([near, [np.float32(tau), below, 0, 1]]), 0, 1).astype(np.float32)
    stored = hdf5.rounded(mask[:, None], np.float32(tau))[:, 0]
    assert np.array_equal(stored >= np.float32(tau), mask >= np.float32(tau))
    assert np.array_equal(stored * 1024, np.rint(stored * 1024))
    assert (stored <= 1).all()
    assert np.abs(stored - mask).max() <= 1 / 1024


def test_any_reader_gets_the_names_at_once(
    tmp_path: Path, explain: Explain, ranks: Ranks, metadata: dict[str, Any]
) -> None:
    items = [explain("ACGTAC", [(0, 6)], [1], name=name) for name in ("r1", "Ébola/β", "x" * 16, "y" * 17)]
    path = write(tmp_path / "x.h5", items, ranks, metadata)
    with h5py.File(path) as file:
        assert file["records/id"].asstr()[:].tolist() == ["r1", "Ébola/β", "x" * 16, "y" * 17]
        assert file["predictions/genus/classes"].asstr()[:].tolist() == list(ranks.ranks[1].classes)
        assert file["predictions/superkingdom/taxid"][:].tolist() == [2, 10239]
        assert file["predictions/genus/taxid"][:].tolist() == [-1, -1, -1]


def test_ids_grow_on_demand_and_leave_no_trace(
    tmp_path: Path, explain: Explain, ranks: Ranks, metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"r{i}" + "x" * (i * i) for i in range(25)]
    items = [explain("ACGTAC", [(0, 6)], [1], name=name) for name in names]
    whole = write(tmp_path / "whole.h5", items, ranks, metadata)
    monkeypatch.setattr(hdf5, "RECORD_CHUNK", 4)
    monkeypatch.setattr(hdf5, "BUFFER_RECORDS", 7)
    parts = write(tmp_path / "parts.h5", items, ranks, metadata, size=1)
    one, other = datasets(whole), datasets(parts)
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype, name
        assert np.array_equal(values, other[name], equal_nan=values.dtype.kind == "f"), name
    with read(parts) as file:
        assert file.ids() == names
        assert file.file["records/id"].dtype.itemsize == 1024


def test_one_long_name_takes_no_more_than_a_chunk_of_memory(
    tmp_path: Path, ranks: Ranks, metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether ids are still held or in the file already: 8 MB in the width of the longest."""
    ids = [b"r%d" % i for i in range(4000)] + [b"x" * 2000]
    monkeypatch.setattr(hdf5, "_ID_CHUNK_BYTES", 1 << 16)
    monkeypatch.setattr(hdf5, "BUFFER_RECORDS", 3000)
    for parts in ([ids], [ids[:3500], ids[3500:]]):
        writer = Hdf5Writer(tmp_path / "x.h5", ranks, metadata)
        tracemalloc.start()
        for part in parts:
            writer.extend(part, 0, [])
        writer._flush(last=True)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 3 << 20
        assert writer._file["records/id"][:].tolist() == ids
        writer.abort()


def test_a_name_that_is_too_long_is_an_input_error(
    tmp_path: Path, explain: Explain, ranks: Ranks, metadata: dict[str, Any]
) -> None:
    items = [explain("ACGTAC", [(0, 6)], [1], name="x" * length) for length in (1 << 16, (1 << 16) + 1)]
    items[1].record.line, items[1].record.path = 3, "reads.fa"
    with pytest.raises(InputError, match=r"reads\.fa, line 3: a name of 65,537 bytes; expected at most 65,536"):
        write(tmp_path / "x.h5", items, ranks, metadata)
    path = write(tmp_path / "x.h5", items[:1], ranks, metadata)
    with read(path) as file:
        assert file.ids() == ["x" * (1 << 16)]


def test_widths_are_powers_of_two() -> None:
    assert [id_width(n) for n in (0, 1, 16, 17, 32, 33, 1024, 1025)] == [16, 16, 16, 32, 32, 64, 1024, 2048]


def test_buffers_do_not_show(
    tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = at_random(4, 150)
    whole = datasets(write(tmp_path / "whole.h5", items, ranks, metadata))
    monkeypatch.setattr(hdf5, "RECORD_CHUNK", 16)
    monkeypatch.setattr(hdf5, "TOKEN_CHUNK", 64)
    monkeypatch.setattr(hdf5, "BUFFER_TOKENS", 100)
    for name, values in datasets(write(tmp_path / "parts.h5", items, ranks, metadata, size=11)).items():
        assert np.array_equal(values, whole[name], equal_nan=values.dtype.kind == "f"), name


def test_every_chunk_is_written_once(
    tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for that of `token_offset`, whose first row, 0, is there from the start."""
    items, written = at_random(4, 150), Counter[str]()
    append = hdf5.append

    def counted(dataset: h5py.Dataset, values: Any) -> None:
        written[dataset.name] += -(-(len(dataset) % dataset.chunks[0] + len(values)) // dataset.chunks[0])
        append(dataset, values)

    monkeypatch.setattr(hdf5, "append", counted)
    for name, value in {"RECORD_CHUNK": 16, "TOKEN_CHUNK": 64, "BUFFER_RECORDS": 20, "BUFFER_TOKENS": 100}.items():
        monkeypatch.setattr(hdf5, name, value)
    path = write(tmp_path / "parts.h5", items, ranks, metadata, size=11)
    with h5py.File(path) as file:
        for name, count in written.items():
            chunks = -(-len(file[name]) // file[name].chunks[0])
            assert count == chunks + (name == "/records/token_offset"), name
    assert len(written) > 10


def test_no_records_make_a_valid_file(tmp_path: Path, ranks: Ranks, metadata: dict[str, Any]) -> None:
    with read(write(tmp_path / "x.h5", [], ranks, metadata, check=True)) as file:
        assert (file.n_records, file.n_tokens, file.ids()) == (0, 0, [])
        assert file.column("records/token_offset").tolist() == [0]
        assert file.classes("genus").tolist() == []


def test_records_without_tokens_only(tmp_path: Path, explain: Explain, ranks: Ranks, metadata: dict[str, Any]) -> None:
    items = [explain("", status=Status.empty), explain("AC", status=Status.too_short)]
    for tracks in (1, 2):
        path = write(tmp_path / f"x{tracks}.h5", items, ranks, metadata, token_tracks=tracks, check=True)
        with read(path) as file:
            assert (file.n_records, file.n_tokens, file.tracks) == (2, 0, tracks)
            assert file.column("records/token_offset").tolist() == [0, 0, 0]
            assert np.isnan(file.column("records/kept_fraction")).all()


def test_the_date_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert creation_date() == "1970-01-02T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        creation_date()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", creation_date())


def test_the_same_bytes_twice(
    tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    files = [write(tmp_path / name, at_random(5, 50), ranks, metadata) for name in ("a.h5", "b.h5")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_wrong_calls_are_refused(tmp_path: Path, explain: Explain, ranks: Ranks, metadata: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="metadata must be exactly"):
        Hdf5Writer(tmp_path / "x.h5", ranks, {"tool": "seqmask"})
    with pytest.raises(UsageError, match="rank name 'a/b'"):
        Hdf5Writer(tmp_path / "x.h5", Ranks((Rank("a/b", ("x",)),)), metadata)
    writer = Hdf5Writer(tmp_path / "x.h5", ranks, metadata, token_tracks=2)
    with pytest.raises(ValueError, match="a mask of 1 tracks in a file of 2"):
        writer.append(annotate([explain("ACGTAC", [(0, 6)], [1])], ranks, 0.5))
    writer.abort()


def test_an_unfinished_file_is_refused(tmp_path: Path, ranks: Ranks, metadata: dict[str, Any]) -> None:
    Hdf5Writer(tmp_path / "x.h5", ranks, metadata).abort()
    with pytest.raises(InputError, match="incomplete file"):
        read(tmp_path / "x.h5")


def damage_format(file: h5py.File) -> None:
    file.attrs["format"] = "other"


def damage_version(file: h5py.File) -> None:
    file.attrs["format_version"] = "2.0"


def damage_dataset(file: h5py.File) -> None:
    del file["tokens/end"]


def damage_length(file: h5py.File) -> None:
    file["predictions/genus/confidence"].resize(3, axis=0)


def damage_attribute(file: h5py.File) -> None:
    del file.attrs["ranks"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_format, "an HDF5 file of another program"),
        (damage_version, "seqmask-hdf5 2.0; expected version 1.0"),
        (damage_dataset, "a damaged seqmask-hdf5 file"),
        (damage_length, "predictions/genus/confidence has 3 rows, expected 20"),
        (damage_attribute, "a damaged seqmask-hdf5 file"),
    ],
)
def test_damage_is_an_input_error(
    tmp_path: Path,
    at_random: AtRandom,
    ranks: Ranks,
    metadata: dict[str, Any],
    damage: Callable[[h5py.File], None],
    message: str,
) -> None:
    path = write(tmp_path / "x.h5", at_random(6, 20), ranks, metadata)
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(InputError, match=message):
        read(path)


def test_a_later_minor_version_is_read(tmp_path: Path, ranks: Ranks, metadata: dict[str, Any]) -> None:
    path = write(tmp_path / "x.h5", [], ranks, metadata)
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = "1.7"
    read(path).close()


def test_what_is_no_hdf5_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("id\tlength\n")
    with pytest.raises(InputError, match="cannot be opened as HDF5"):
        read(tmp_path / "text.h5")
    with pytest.raises(InputError, match="cannot be opened as HDF5"):
        read(tmp_path)


def test_flipped_bits_are_noticed(tmp_path: Path, at_random: AtRandom, ranks: Ranks, metadata: dict[str, Any]) -> None:
    path = write(tmp_path / "x.h5", at_random(6, 20), ranks, metadata)
    with h5py.File(path) as file:
        chunk = file["tokens/importance"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path.write_bytes(data)
    with read(path) as file, pytest.raises(InputError, match="tokens/importance cannot be read"):
        file.column("tokens/importance")
