"""Line plots as SVG: every point where the axes say it is, and nothing that is not a number."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from seqmask.results.curves import COLOURS, HEIGHT, Panel, draw, ticks

SVG = "{http://www.w3.org/2000/svg}"
NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 600, [0, 200, 400, 600]),
        (-0.3, 0.25, [-0.4, -0.2, 0, 0.2, 0.4]),
        (0.1, 0.13, [0.1, 0.11, 0.12, 0.13]),
        (3, 3, [3, 4]),
        (0, 0, [0, 0.2]),
    ],
)
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 0.7, 1, 12, 3e5])
@pytest.mark.parametrize("low", [-1, 0, 0.13])
def test_ticks_cover_the_range_in_even_steps(scale: float, low: float) -> None:
    found = ticks(low * scale, scale)
    assert found[0] <= (low + 1e-6) * scale
    assert found[-1] >= (1 - 1e-6) * scale
    assert 2 <= len(found) <= 8
    steps = [b - a for a, b in pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps))


def lines(text: str) -> list[list[tuple[float, float]]]:
    """Points of every polyline that is a line of data, not of the grid or legend."""
    found = [
        element
        for element in ElementTree.fromstring(text).iter(f"{SVG}polyline")
        if element.get("stroke-width") == "1.5"
    ]
    return [[tuple(map(float, point.split(","))) for point in (e.get("points") or "").split()] for e in found]  # type: ignore[misc]


def labels(text: str) -> dict[str, tuple[float, float]]:
    return {
        e.text or "": (float(e.get("x", 0)), float(e.get("y", 0)))
        for e in ElementTree.fromstring(text).iter(f"{SVG}text")
    }


def test_points_are_where_the_axes_say() -> None:
    text = draw([Panel("loss", {"a": [(0, 0.0), (300, 1.0), (600, 0.5)], "b": [(0, 1.0), (600, 1.0)]})], "step")
    where = labels(text)
    assert {"loss", "step", "a", "b", "0", "200", "400", "600", "0.2", "0.8", "1"} <= set(where)
    first, second = lines(text)
    x = {number: where[str(number)][0] for number in (200, 400, 600)}
    assert [point[0] for point in first][1:] == pytest.approx([(x[200] + x[400]) / 2, x[600]], abs=0.2)
    level = {number: where[number][1] - 4 for number in ("0.2", "0.8", "1")}  # the text stands 4 below its line
    assert first[1][1] == second[0][1] == second[1][1] == pytest.approx(level["1"], abs=0.2)
    assert first[2][1] == pytest.approx((level["0.2"] + level["0.8"]) / 2, abs=0.2)
    assert first[0][1] > first[2][1] > first[1][1], "up is more"


def test_panels_stand_one_above_the_other_on_one_axis() -> None:
    text = draw([Panel("one", {"a": [(0, 1), (10, 2)]}), Panel("two", {"b": [(0, 5), (5, 6)]})], "step")
    root = ElementTree.fromstring(text)
    assert [g.get("transform") for g in root.iter(f"{SVG}g")] == ["translate(0,0)", f"translate(0,{HEIGHT})"]
    assert root.get("height") == str(2 * HEIGHT)
    whole, half = lines(text)
    assert half[1][0] - half[0][0] == pytest.approx((whole[1][0] - whole[0][0]) / 2, abs=0.2)


def test_what_is_no_number_is_left_out() -> None:
    text = draw([Panel("p", {"gap": [(0, 1.0), (1, NAN), (2, 3.0)], "none": [(0, NAN)], "empty": []})], "x")
    assert "nan" not in text
    assert [len(line) for line in lines(text)] == [2, 0, 0]
    assert {"gap", "none", "empty"} <= set(labels(text))


def test_a_single_point_is_a_dot() -> None:
    text = draw([Panel("p", {"one": [(0, 1.0)]})], "x")
    assert len(list(ElementTree.fromstring(text).iter(f"{SVG}circle"))) == 1


def test_nothing_to_draw() -> None:
    for panels in ([], [Panel("p", {})]):
        ElementTree.fromstring(draw(panels, "x"))


def test_names_are_text() -> None:
    """Ranks are data: a name must not become markup."""
    text = draw([Panel("<b>&", {'a"<script>': [(0, 1), (1, 2)]})], "x<y")
    assert {"<b>&", 'a"<script>', "x<y"} <= set(labels(text))


def test_more_lines_than_colours_can_be_told_apart() -> None:
    many = {f"line {i}": [(0.0, float(i)), (1.0, float(i))] for i in range(2 * len(COLOURS))}
    root = ElementTree.fromstring(draw([Panel("p", many)], "x"))
    looks = [
        (e.get("stroke"), e.get("stroke-dasharray"))
        for e in root.iter(f"{SVG}polyline")
        if e.get("stroke-width") == "2"
    ]
    assert len(set(looks)) == len(looks) == len(many)
    names = {name: y for name, (_, y) in labels(draw([Panel("p", many)], "x")).items() if name in many}
    assert len(set(names.values())) == len(many)
    assert max(names.values()) < float(root.get("height", 0)), "the panel is as high as its legend"
