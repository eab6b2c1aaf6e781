"""Answers made visible: boxes on pictures, and HTML that carries nothing live."""

import pytest
from PIL import Image

from bot import Answer, Citation
from bot.show import BOX_COLOUR, answer_html, plain, source_name, with_box
from retrievers.evidence import Box
from retrievers.imaging import encode

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    '"><svg onload=alert(1)>',
    "![x](https://example.com/leak.png)",
]


def test_a_box_is_drawn_where_it_is_and_nowhere_else() -> None:
    picture = Image.new("RGB", (200, 100), "white")
    drawn = with_box(picture, Box(0.5, 0.5, 0.9, 0.9))
    red = [(x, y) for x in range(200) for y in range(100) if drawn.getpixel((x, y)) == BOX_COLOUR]
    assert min(x for x, _ in red) == 96
    assert min(y for _, y in red) == 46
    assert picture.getpixel((100, 50)) == (255, 255, 255)


@pytest.mark.parametrize("box", [Box(0, 0, 1, 1), Box(0.5, 0.5, 0.5, 0.5), Box(2, 2, 3, 3)])
def test_a_box_at_or_beyond_the_edge_harms_nothing(box: Box) -> None:
    assert with_box(Image.new("RGB", (30, 20)), box).size == (30, 20)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_are_text_in_html(text: str) -> None:
    citation = Citation(1, "passage", "passage:1", f"/x/{text}", quote=text)
    html = answer_html(Answer(f"So {text} [1].", citations=(citation,), notices=(text,)))
    for tag in ("<script", "<img", "<svg", "' onmouseover"):
        assert tag not in html.lower()


def test_a_cited_picture_is_inside_the_html_with_its_box() -> None:
    data = encode(Image.new("RGB", (60, 40), "white"))
    citation = Citation(1, "picture", "picture:1", "/p/a.png", box=Box(0.2, 0.2, 0.8, 0.8))
    html = answer_html(Answer("Here [1].", citations=(citation,), media=lambda _: data))
    assert "src='data:image/jpeg;base64," in html


def test_control_characters_never_reach_a_terminal() -> None:
    assert plain("a\x1b[2Jb\x07c\x9bd\u202ee\nf\tg") == "a[2Jbcde\nf\tg"


def test_a_source_is_shown_by_its_last_part_on_one_line() -> None:
    assert source_name("/a/b/evil\nname.pdf") == "evil name.pdf"
    assert source_name("C:\\docs\\x.md") == "x.md"
