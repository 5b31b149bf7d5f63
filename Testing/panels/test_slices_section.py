"""The section that shows a volume's result slice by slice: what it says, and what a click and a choice give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cadx.slicer.slice_shares import MOST, NEUTRAL, OTHER, negative_classes, slice_shares

CLASSES = ("glioma", "meningioma", "no tumour")
NEGATIVE = ("no tumour",)


def document(
    probabilities: Sequence[Sequence[float]],
    classes: Sequence[str] = CLASSES,
    negative: Sequence[str] = NEGATIVE,
    plane: str = "axial",
    empty: Sequence[int] = (),
) -> dict[str, Any]:
    """Slices 10, 11, ... at -40 mm and every 2 mm from there."""
    table = []
    for number, values in enumerate(probabilities):
        shares = dict(zip(classes, values, strict=True))
        row = {"slice": 10 + number, "position_mm": 2.0 * number - 40, "center_ras": [0.0, 0.0, 2.0 * number - 40]}
        row |= {"label": max(shares, key=lambda name: shares[name]), "probabilities": shares}
        if negative:
            row["suspicion"] = sum(value for name, value in shares.items() if name not in negative)
        table.append(row)
    slices = {"plane": plane, "shown": 10, "empty": list(empty), "table": table}
    if negative:
        slices["suspicious"] = [row["slice"] for row in sorted(table, key=lambda row: -row["suspicion"])]
    return {"schema": "cadx.result/1", "slices": slices}


def rising(count: int) -> list[list[float]]:
    """The last slice is the most suspicious one."""
    shares = [(number + 1) / (count + 1) for number in range(count)]
    return [[0.75 * share, 0.25 * share, 1 - share] for share in shares]


@pytest.fixture
def made() -> Iterator[Any]:
    """The section, the widget that it is in, and the rows that were jumped to."""
    from slicer_host import Host

    host = Host()
    import qt

    from cadx.slicer.panel.slices_section import SlicesSection

    parent, rows = qt.QWidget(), []
    section = SlicesSection(parent, rows.append)
    yield SimpleNamespace(section=section, parent=parent, rows=rows, host=host, qt=qt)
    parent.deleteLater()
    assert host.errors == []
    host.reset()
    host.detach()


def chart(made: Any) -> Any:
    return next(label for label in made.parent.findChildren("QLabel") if not label.pixmap.isNull())


def table(made: Any) -> Any:
    return made.parent.findChild("QTableWidget")


def mouse(made: Any, kind: str, x: int, button: str = "LeftButton") -> None:
    """A real event on the chart."""
    from PySide6.QtCore import QPointF

    qt, label = made.qt, chart(made)
    which = getattr(qt.Qt, button)
    event = qt.QMouseEvent(getattr(qt.QEvent, kind), QPointF(x, 40), QPointF(x, 40), which, which, qt.Qt.NoModifier)
    qt.QApplication.sendEvent(label, event)


def colours_of(made: Any, y: int) -> list[str]:
    """Of the chart's pixels at a height, from the left."""
    image = chart(made).pixmap.toImage()
    return [image.pixelColor(x, y).name() for x in range(image.width())]


def lines(made: Any, column: int = 0) -> list[str]:
    return [table(made).item(line, column).text() for line in range(table(made).rowCount)]


@pytest.mark.parametrize("count", [1, 2, 25, 155, 300])
def test_a_click_on_what_is_drawn_of_a_slice_gives_its_row(made: Any, count: int) -> None:
    for row in {0, count // 3, count - 1}:
        shares = [[0.0, 0.0, 1.0]] * count
        shares[row] = [1.0, 0.0, 0.0]
        made.section.show(document(shares), False)
        alone = slice_shares(document(shares)["slices"]["table"]).colours[0]
        places = [x for x, colour in enumerate(colours_of(made, 30)) if colour == alone]
        assert 1 <= len(places) <= 30
        for x in (places[0], places[-1]):
            mouse(made, "MouseButtonPress", x)
            mouse(made, "MouseButtonRelease", x)
            assert made.rows.pop() == row
        made.section.click(row)
        assert made.rows.pop() == row
    assert made.rows == []
    assert made.section.count == count


def test_dragging_goes_from_bar_to_bar_with_the_left_button_only(made: Any) -> None:
    made.section.show(document(rising(10)), False)
    mouse(made, "MouseMove", 50)
    mouse(made, "MouseButtonPress", 50, "RightButton")
    mouse(made, "MouseMove", 80)
    assert made.rows == []
    mouse(made, "MouseButtonPress", 50)
    for x in (52, 70, 75, 120, -5, 400):
        mouse(made, "MouseMove", x)
    mouse(made, "MouseButtonRelease", 400)
    mouse(made, "MouseMove", 50)
    assert made.rows == [1, 2, 3, 0, 9]


def test_a_press_is_understood_as_qt_5_tells_it(made: Any) -> None:
    """Without ``position``, which came with Qt 6."""
    from cadx.slicer.panel.slice_chart import SliceChart

    chosen, seen = [], SliceChart(lambda row: chosen.append(row))
    seen.show([[1.0]] * 10, ["#000000"], False)
    press = SimpleNamespace(
        type=lambda: made.qt.QEvent.MouseButtonPress,
        button=lambda: made.qt.Qt.LeftButton,
        pos=lambda: made.qt.QPoint(100, 40),
    )
    assert seen._mouse.eventFilter(seen.widget, press)
    assert chosen == [3]


def test_a_chosen_line_gives_its_row_also_by_key_and_when_sorted(made: Any) -> None:
    made.section.show(document(rising(6)), False)
    made.section.select(2)
    made.parent.show()
    key = made.qt.QKeyEvent(made.qt.QEvent.KeyPress, made.qt.Qt.Key_Down, made.qt.Qt.NoModifier)
    made.qt.QApplication.sendEvent(table(made), key)
    assert made.rows == [2, 3]
    made.section.sort(True)
    table(made).selectRow(0)
    made.section.select(4)
    assert made.rows == [2, 3, 5, 4]


def test_tab_leaves_the_table(made: Any) -> None:
    made.section.show(document(rising(6)), False)
    assert not table(made).tabKeyNavigation


def test_marking_selects_without_a_jump(made: Any) -> None:
    made.section.show(document(rising(40)), False)
    before = chart(made).pixmap.toImage()
    made.section.mark(47)
    assert chart(made).pixmap.toImage() != before
    assert table(made).selectedItems()[0].text() == "47"
    made.section.sort(True)
    assert table(made).selectedItems()[0].text() == "47"
    made.section.mark(3)
    assert table(made).selectedItems() == []
    assert chart(made).pixmap.toImage() == before
    made.section.mark(12)
    made.section.mark(None)
    assert table(made).selectedItems() == []
    assert made.rows == []
    made.section.select(2)
    assert made.rows == [2]


def test_another_result_is_not_marked_and_an_outdated_one_still_is(made: Any) -> None:
    first = document(rising(5))
    made.section.show(first, False)
    made.section.mark(12)
    made.section.show(first, True)
    assert table(made).selectedItems()[0].text() == "12"
    made.section.show(document(rising(5)), False)
    assert table(made).selectedItems() == []


def test_most_suspicious_first_and_back(made: Any) -> None:
    made.section.show(document([[0.1, 0.1, 0.8], [0.9, 0.0, 0.1], [0.2, 0.3, 0.5]]), False)
    assert lines(made) == ["10", "11", "12"]
    made.section.sort(True)
    assert lines(made) == ["11", "12", "10"]
    assert lines(made, 3) == ["90 %", "50 %", "20 %"]
    made.section.sort(False)
    assert lines(made) == ["10", "11", "12"]
    assert made.rows == []


def test_what_it_says_with_a_negative_class(made: Any) -> None:
    made.section.show(document([[0.1, 0.1, 0.8], [0.93, 0.0, 0.07], [0.2, 0.3, 0.5]], empty=[13, 14]), False)
    assert made.section.text.split("\n") == [
        "I 40 mm ... inferior to superior ... I 36 mm",
        "glioma, meningioma, no tumour",
        "Most suspicious slices: 11 (93 %), 12 (50 %), 10 (20 %)",
        "2 slices show nothing and were left out.",
        "Slice\tPlace\tLabel\tSuspicion\tglioma\tmeningioma\tno tumour",
        "10\tI 40.0 mm\tno tumour\t20 %\t10 %\t10 %\t80 %",
        "11\tI 38.0 mm\tglioma\t93 %\t93 %\t0 %\t7 %",
        "12\tI 36.0 mm\tno tumour\t50 %\t20 %\t30 %\t50 %",
    ]


def test_without_a_negative_class_it_does_not_rank(made: Any) -> None:
    made.section.show(document(rising(30), negative=(), plane="sagittal", empty=[9]), False)
    text = made.section.text
    assert "No class of this model means that there is no finding, so slices are not ranked." in text
    assert "Most suspicious" not in text and "Suspicion" not in text
    assert "L 40 mm ... left to right ... R 18 mm" in text
    assert "1 slice shows nothing and was left out." in text
    assert made.parent.findChild("QCheckBox").isHidden()
    assert not set(NEUTRAL) & set(colours_of(made, 10))


def test_a_tick_from_before_does_not_sort_what_has_no_suspicion(made: Any) -> None:
    made.section.show(document(rising(3)), False)
    made.section.sort(True)
    made.section.show(document(rising(3), negative=()), False)
    assert lines(made) == ["10", "11", "12"]


def test_an_outdated_result_is_grey_and_a_renewed_one_is_not(made: Any) -> None:
    result = document(rising(20))

    def hues() -> set[str]:
        return {c for y in (5, 40, 80) for c in colours_of(made, y) if not c[1:3] == c[3:5] == c[5:7]}

    made.section.show(result, False)
    assert slice_shares(result["slices"]["table"]).colours[0] in hues()
    made.section.show(result, True)
    assert hues() == set()
    made.section.show(result, False)
    assert hues()


def test_clear_says_why_and_the_same_result_can_come_back(made: Any) -> None:
    result = document(rising(4))
    made.section.show(result, False)
    made.section.clear("Choose a volume.")
    made.section.mark(11)
    assert (made.section.text, made.section.count) == ("Choose a volume.", 0)
    assert table(made).isHidden()
    made.section.show(result, False)
    assert made.section.count == 4
    assert not table(made).isHidden()
    made.section.show({"slices": {}}, False)
    assert (made.section.text, made.section.count) == ("This result is of one picture: it has no slices.", 0)


def test_names_are_no_markup_and_the_panel_stays_narrow(made: Any, tmp_path: Any) -> None:
    classes = ["<b>glioma</b>", "w" * 100, "none " * 20]
    made.section.show(document(rising(300), classes, [classes[2]]), False)
    assert made.host.grab(made.parent, tmp_path / "wide.png", 360)[0] == 360
    labels = [str(label.text) for label in made.parent.findChildren("QLabel")]
    assert any("&lt;b&gt;glioma&lt;/b&gt;" in text for text in labels)
    assert table(made).rowCount == 300
    assert table(made).height < 250


def test_negative_classes_are_grey_and_on_top_wherever_they_are_listed() -> None:
    rows = document([[0.7, 0.1, 0.2], [0.2, 0.5, 0.3]], ["healthy", "glioma", "meningioma"], ["healthy"])
    shares = slice_shares(rows["slices"]["table"])
    assert shares.names == ("glioma", "meningioma", "healthy")
    assert shares.shares == ((0.1, 0.2, 0.7), (0.5, 0.3, 0.2))
    assert shares.colours[2] == NEUTRAL[0] and not set(shares.colours[:2]) & set(NEUTRAL)


def test_two_negative_classes_are_told_and_a_class_never_seen_is_none_of_them() -> None:
    classes = ["a", "b", "c", "d"]
    two = document([[0.1, 0.2, 0.3, 0.4], [0.15, 0.3, 0.5, 0.05]], classes, ["b", "d"])
    assert negative_classes(two["slices"]["table"]) == ("b", "d")
    unseen = document([[0.6, 0.0, 0.3, 0.1], [0.2, 0.0, 0.7, 0.1]], classes, ["a"])
    assert negative_classes(unseen["slices"]["table"]) == ("a",)


def test_of_many_classes_the_most_probable_have_a_place_of_their_own() -> None:
    classes = [f"class {number}" for number in range(200)]
    values = [0.001] * 200
    for number in range(MOST):
        values[190 - 10 * number] = 0.1
    shares = slice_shares(document([values], classes, [])["slices"]["table"])
    assert shares.names == tuple(f"class {number}" for number in range(130, 191, 10))
    assert shares.other and shares.colours[-1] == OTHER and len(set(shares.colours)) == MOST + 1
    assert sum(shares.shares[0]) == pytest.approx(sum(values))
