"""`benchmarks/frontier.py` draws what stands in the report."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "models" / "genomes" / "rivals.json"

pytest.importorskip("matplotlib")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("frontier", ROOT / "benchmarks" / "frontier.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["frontier"] = module
    spec.loader.exec_module(module)
    return module


frontier = load()


def test_lines_are_the_report() -> None:
    report = json.loads(REPORT.read_text()) | {"frames": 3}
    axes = frontier.figure(report).axes
    assert len(axes) == 2 * len(report["ranks"])
    genus = report["ranks"]["genus"]
    drawn = {line.get_label(): line for line in axes[2].get_lines()}
    shares = genus["fractions"]["seqmask"]
    assert list(drawn["seqmask"].get_xdata()) == [100 * float(share) for share in shares]
    assert list(drawn["seqmask"].get_ydata()) == [of["kept"] for of in shares.values()]
    assert "inverse, own threshold" not in drawn, "of three frames an area is not a share of the tokens"
    rivals = {line.get_label(): line for line in axes[5].get_lines()}
    assert [name for name in rivals if not name.startswith("_")] == list(report["rivals"]["methods"])
    theirs = report["rivals"]["methods"]["occlusion-odds"]["per_rank"]["ranks"]["genus"]["fractions"]
    assert list(rivals["occlusion-odds"].get_ydata()) == [of["kept"] for of in theirs.values()]


def test_in_one_frame_the_hard_mask_stands_at_its_area() -> None:
    report = json.loads(REPORT.read_text())
    assert report["frames"] == 1
    genus = report["ranks"]["genus"]
    drawn = {line.get_label(): line for line in frontier.figure(report).axes[2].get_lines()}
    own = drawn["inverse, own threshold"]
    assert list(own.get_xdata()) == [100 * genus["mask"]["area"]["mean"]]
    assert list(own.get_ydata()) == [genus["rows"]["seqmask"]["inverse"]["accuracy"]]


def test_a_figure_is_written(tmp_path: Path) -> None:
    frontier.main([str(REPORT), "-o", str(tmp_path / "frontier.png")])
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_without_rivals_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(json.loads(REPORT.read_text()) | {"rivals": None}))
    with pytest.raises(SystemExit):
        frontier.main([str(path), "-o", str(tmp_path / "x.png")])
    assert "no rivals in it; run seqmask evaluate with --rivals" in capsys.readouterr().err
