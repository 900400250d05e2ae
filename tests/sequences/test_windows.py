"""Long records to windows and back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from seqmask.sequences.explanations import Status
from seqmask.sequences.records import Record
from seqmask.sequences.spans import spread
from seqmask.sequences.tokens import KmerTokenizer
from seqmask.sequences.windows import count_windows, join, split, tile, tiles


def test_no_more_than_half_a_window_is_shared():
    """Sharing a whole window would be a window each nucleotide."""
    for overlap in (300, 600, 10**6):
        assert tile(6000, 600, overlap).tolist() == [[start, start + 600] for start in range(0, 5401, 300)]


@pytest.mark.parametrize("step", [1, 3, 6])
@pytest.mark.parametrize(("window", "overlap"), [(12, 0), (30, 10), (60, 24), (600, 192), (1536, 192)])
def test_tile(window, overlap, step):
    for length in [1, window - 1, window, window + 1, window + 7, 2 * window - 1, 2 * window, 5 * window + 13, 9_999]:
        spans = tile(length, window, overlap, step)
        starts, stops = spans[:, 0], spans[:, 1]
        assert spans.dtype == np.int32
        assert (starts[0], stops[-1]) == (0, length)
        if length <= window:
            assert spans.tolist() == [[0, length]]
            continue
        assert (stops - starts == window).all()  # no short last window
        assert (stops[:-1] - starts[1:] >= overlap).all()
        assert (starts[:-1] % step == 0).all()
        gaps = np.diff(starts)
        assert (gaps >= 0).all()
        assert gaps.max() - gaps.min() <= 2 * step  # evenly
        # No more windows than their least overlap asks for
        assert len(spans) <= -(-(length - window) // (window - overlap - step + 1)) + 1


def naive_track(windows, masks, length, k):
    total, covering = np.zeros(length), np.zeros(length)
    for window, mask in zip(windows, masks, strict=True):
        for (start, _), value in zip(window.tokens.spans.tolist(), mask[:, 0].tolist(), strict=True):
            total[window.start + start : window.start + start + k] += value
            covering[window.start + start : window.start + start + k] += 1
    return total / covering


@pytest.mark.parametrize(("k", "stride"), [(6, 6), (6, 1), (3, 2)])
@pytest.mark.parametrize("length", [6, 20, 61, 200, 1000])
def test_split_join_and_spread(k, stride, length):
    """Every nucleotide is in a window, each window is tokenised on its own, and overlaps are averaged once."""
    rng = np.random.default_rng(length)
    sequence = "ACGTAC" + "".join(rng.choice(list("ACGTN"), length - 6, p=[0.24] * 4 + [0.04]))
    tokenizer, most, overlap = KmerTokenizer(k, stride), 16, 4
    status, windows = split(Record("x", "x", sequence), tokenizer, most, overlap)
    assert status is Status.ok
    assert (windows[0].start, windows[-1].stop) == (0, length)
    for window in windows:
        assert len(window.tokens) <= most
        alone = tokenizer.encode(sequence[window.start : window.stop])
        assert window.tokens.ids.tolist() == alone.ids.tolist()
        assert window.tokens.spans.tolist() == alone.spans.tolist()
    for left, right in itertools.pairwise(windows):
        assert left.stop - right.start >= overlap

    masks = [rng.random((len(window.tokens), 2), dtype=np.float32) for window in windows]
    spans, values = join(windows, masks)
    assert len(spans) == len(values) == sum(len(window.tokens) for window in windows)
    assert spans.dtype == np.int32
    assert (np.diff(spans[:, 0]) >= 0).all()
    assert spans[:, 1].max() == length
    np.testing.assert_allclose(
        spread(values[:, 0], spans, length), naive_track(windows, masks, length, k), rtol=0, atol=1e-6
    )
    same, _ = join(windows, [np.ones_like(mask) for mask in masks])
    np.testing.assert_array_equal(spread(np.ones(len(same), np.float32), same, length), 1)


@pytest.mark.parametrize("frames", [2, 3, 6])
@pytest.mark.parametrize("length", [1535, 1536, 1537, 1540, 1542, 1545, 2000, 2101, 2500, 5000])
def test_frames_share_no_window(frames, length):
    """A window that two frames read alike would count twice, and what lies in it would be read in fewer frames."""
    found = tiles(length, KmerTokenizer(6, 6), 256, 192, frames)
    if not 1536 < length < 1542:  # the last window of the first frame is the only one of another frame
        assert len(set(found)) == len(found)
    assert len(found) == count_windows(length, KmerTokenizer(6, 6), 256, 192, frames)
    phases = [set() for _ in range(length)]
    for start, stop in found:
        assert 0 <= start < stop <= length
        for place in range(start, start + (stop - start) // 6 * 6):
            phases[place].add(start % 6)
    assert min(map(len, phases[6:-12])) >= frames
    assert max(stop for _, stop in found) == length


def test_tokens_of_neighbouring_windows_coincide():
    """With steps of whole tokens, what two windows share is the same tokens, not the same letters cut otherwise."""
    rng = np.random.default_rng(0)
    sequence = "".join(rng.choice(list("ACGT"), 1000))
    _, windows = split(Record("x", "x", sequence), KmerTokenizer(6, 6), 20, 30)
    assert len(windows) > 3
    assert all(window.start % 6 == 0 for window in windows[:-1])


@pytest.mark.parametrize(
    ("sequence", "status"),
    [
        ("", Status.empty),
        ("ACGTA", Status.too_short),
        ("N" * 100, Status.no_bases),
        ("-" * 6, Status.no_bases),
        ("NNNNNNNNNNNA", Status.no_bases),
        ("ACGTANACGTAC", Status.ok),
        ("ACGTANACGTNC", Status.no_bases),
        ("ACGTAC", Status.ok),
    ],
)
def test_status(sequence, status):
    found, windows = split(Record("x", "x", sequence), KmerTokenizer(6, 6), 16, 4)
    assert found is status
    assert bool(windows) is (status is Status.ok)
