"""How much of the input is done, by bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from seqmask.commands.portion import portion, share_of
from seqmask.errors import InputError
from seqmask.results.journal import Checkpoint
from seqmask.results.shard import Shard
from seqmask.sequences import meter
from seqmask.sequences.meter import Meter
from seqmask.sequences.records import read


@pytest.fixture(autouse=True)
def every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "EVERY", 1)


def test_over_several_files(tmp_path: Path) -> None:
    """Never falling, by file at least, and all of it at the end."""
    text = "".join(f">{i}\n{'ACGTTGCA' * 40}\n" for i in range(2000))
    (tmp_path / "a.fasta").write_text(text)
    (tmp_path / "b.fasta.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (tmp_path / "c.fasta").write_text(text)
    paths = [str(tmp_path / name) for name in ("a.fasta", "b.fasta.gz", "c.fasta")]
    found = Meter(paths)
    shares = []
    for number, _ in enumerate(found.counted(read(paths, found.opened)), 1):
        shares.append(found.share(number - 1))
    assert shares == sorted(shares)
    sizes = [Path(path).stat().st_size for path in paths]
    assert shares[1999] == pytest.approx(sizes[0] / sum(sizes))
    assert shares[2000] == pytest.approx((sizes[0] + sizes[1]) / sum(sizes), abs=0.01), "read at once: it is small"
    assert shares[-1] == pytest.approx(1)
    assert len(set(shares)) > 10


def test_what_is_read_ahead_is_not_done(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("".join(f">{i}\n{'ACGT' * 100}\n" for i in range(1000)))
    found = Meter([str(tmp_path / "a")])
    assert len(list(found.counted(read([tmp_path / "a"], found.opened)))) == 1000
    first, half, last = found.share(0), found.share(500), found.share(1000)
    assert first is not None
    assert half is not None
    assert first < half < 1
    assert last == 1


def test_a_pipe_has_no_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(">a\nACGT\n")
    assert Meter([str(tmp_path / "a"), "-"]).share(0) is None
    assert Meter(["/dev/null"]).share(0) is None
    (tmp_path / "empty").write_text("")
    assert Meter([str(tmp_path / "empty")]).share(0) is None


def test_the_share_of_what_is_left_of_a_run(tmp_path: Path) -> None:
    """Asked again and again, as progress is: true each time, also where a stopped run had done a part."""
    (tmp_path / "a").write_text("".join(f">{i:04d}\n{'ACGT' * 100}\n" for i in range(1000)))
    for skipped in (0, 400):
        found = Meter([str(tmp_path / "a")])
        share = share_of(found, None, skipped)
        assert share(0) == 0, "nothing is read yet"
        shares = {}
        for number, _ in enumerate(found.counted(read([tmp_path / "a"], found.opened))):
            done = number - skipped
            if done > 0 and done % 100 == 0:
                shares[done] = share(done)
        assert set(shares) == set(range(100, 1000 - skipped, 100))
        for done, seen in shares.items():
            assert seen == pytest.approx(done / (1000 - skipped), abs=0.2), "a block is read at once"
        assert sorted(shares.values()) == list(shares.values())


def test_a_shard_with_fewer_records_than_were_counted(tmp_path: Path) -> None:
    """The input was replaced, or drained, after it was counted: no part may pass for whole."""
    (tmp_path / "a").write_text(">a\nACGT\n>b\nACGT\n")
    shard = Shard(1, 1, 0, 3, 3, "", {})
    numbered = portion(read([tmp_path / "a"]), shard, Checkpoint())
    with pytest.raises(InputError, match=r"1 records fewer than were counted for shard 1/1"):
        list(numbered)
