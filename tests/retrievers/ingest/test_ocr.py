"""Writing in pictures is read with boxes, in reading order."""

import threading
from collections.abc import Callable

import pytest
from PIL import Image

from retrievers.evidence import Box, Line
from retrievers.ingest.ocr import read_lines, read_query_picture, rows, tidy

Draw = Callable[..., Image.Image]


def test_lines_come_row_by_row_with_boxes_as_fractions(written: Draw) -> None:
    image = written(
        [(30, 40, "Green tea"), (480, 42, "3.20"), (30, 140, "Cake"), (480, 140, "14.10")]
    )
    lines = read_lines(image)
    assert [line.text for line in lines] == ["Green tea", "3.20", "Cake", "14.10"]
    first = lines[0].box
    assert first.left == pytest.approx(30 / 640, abs=0.03)
    assert first.top == pytest.approx(45 / 400, abs=0.04)
    assert all(0 <= v <= 1 for line in lines for v in line.box.to_json())
    assert all(0.6 <= line.confidence <= 1 for line in lines)


def test_words_of_a_question_picture_keep_their_rows(written: Draw) -> None:
    words, lines = read_query_picture(written([(30, 40, "Total"), (480, 42, "57.30")]))
    assert words == "Total 57.30"
    assert len(lines) == 2


@pytest.mark.parametrize("size", [(8, 200), (20, 20), (300, 300)])
def test_pictures_that_hold_no_writing_give_no_lines(size: tuple[int, int]) -> None:
    assert read_lines(Image.new("RGB", size, "white")) == ()


def test_a_photograph_without_writing_gives_no_lines(photo: Draw) -> None:
    assert read_lines(photo()) == ()


def test_large_pictures_are_read_like_small_ones(written: Draw) -> None:
    image = written([(300, 400, "Granite quay")], (4000, 3000), 220)
    (line,) = read_lines(image)
    assert line.text == "Granite quay"
    assert line.box.left == pytest.approx(0.08, abs=0.02)


def test_several_threads_may_read_at_once(written: Draw) -> None:
    texts = ["North pier", "South pier", "East gate", "West gate"]
    found: dict[str, str] = {}

    def read(text: str) -> None:
        found[text] = read_query_picture(written([(40, 60, text)], (360, 160)))[0]

    threads = [threading.Thread(target=read, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {text: text for text in texts}


def test_wide_signs_become_narrow_ones() -> None:
    assert tidy("ＴＯＴＡＬ：（３）　 5") == "TOTAL:(3) 5"


def test_rows_follow_a_slanted_page_and_keep_lines_apart() -> None:
    lines = [
        Line(f"r{row}c{column}", Box(column * 0.3, top, column * 0.3 + 0.2, top + 0.04))
        for row in range(3)
        for column in range(3)
        for top in [0.1 + row * 0.06 + column * 0.015]
    ]
    found = rows(lines[::-1])
    assert [[line.text for line in row] for row in found] == [
        [f"r{row}c{column}" for column in range(3)] for row in range(3)
    ]
