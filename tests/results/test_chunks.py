"""Chunks that are filtered here, against those that HDF5 filters."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from seqmask.results.chunks import append, filtered, fletcher32
from seqmask.results.hdf5 import FILTERS

DTYPES = ["u1", "<u4", "<i8", "<f4", "S1", "S24"]


def rows(rng: np.random.Generator, n: int, dtype: str, wide: tuple[int, ...] = ()) -> np.ndarray:
    numbers = rng.integers(0, 200, (n, *wide))
    return numbers.astype(dtype) if dtype[0] != "S" else np.char.mod("%d", numbers).astype(dtype)


@pytest.mark.parametrize("wide", [(), (3,)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_hdf5_reads_what_was_appended(tmp_path: Path, dtype: str, wide: tuple[int, ...]) -> None:
    """HDF5 undoes its filters and compares its own checksums; appends end before, at and behind a chunk's end."""
    rng, all_rows = np.random.default_rng(3), [np.zeros((0, *wide), dtype)]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset(
            "x", (0, *wide), maxshape=(None, *wide), chunks=(100, *wide), dtype=dtype, **FILTERS
        )
        for n in (0, 1, 98, 1, 100, 1, 250, 0, 149, 1, 700):
            all_rows.append(rows(rng, n, dtype, wide))
            append(dataset, all_rows[-1])
            np.testing.assert_array_equal(dataset[:], np.concatenate(all_rows))
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["x"][:], np.concatenate(all_rows))
        properties = file["x"].id.get_create_plist()
        assert [properties.get_filter(i)[3] for i in range(3)] == [b"shuffle", b"deflate", b"fletcher32"]
        masks = [file["x"].id.get_chunk_info(i).filter_mask for i in range(file["x"].id.get_num_chunks())]
        assert set(masks) == {0}, "no filter is left out"


@pytest.mark.parametrize("size", [1, 2, 3, 359 * 2, 360 * 2, 361 * 2 + 1, 99_999])
@pytest.mark.parametrize("byte", [None, 0, 255])
def test_checksum_is_that_of_hdf5(tmp_path: Path, size: int, byte: int | None) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    if byte is not None:
        data[:] = byte
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("x", data=data, chunks=(size,), fletcher32=True)
        _, stored = dataset.id.read_direct_chunk((0,))
    assert stored[:-4] == data.tobytes()
    assert fletcher32(data.tobytes()) == int.from_bytes(stored[-4:], "little")


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    chunk = np.arange(50, dtype="<i4")
    damaged = bytearray(filtered(chunk))
    damaged[len(damaged) // 2] ^= 1
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("x", (50,), chunks=(50,), dtype="<i4", **FILTERS)
        dataset.id.write_direct_chunk((0,), bytes(damaged))
        with pytest.raises(OSError, match=r"filter|Fletcher32"):
            dataset[:]
