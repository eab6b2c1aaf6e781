"""The embedded picture encoder, on pictures drawn here."""

import io
import random
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from retrievers.encoders.descriptor import DescriptorEncoder
from retrievers.evidence import Vectors

COUNT = 60


def scenery(seed: int) -> Image.Image:
    """Return a made-up picture: a sky or wall that shades off, and things in front of it."""
    rng = random.Random(seed)

    def colour() -> tuple[int, int, int]:
        return rng.randrange(256), rng.randrange(256), rng.randrange(256)

    width, height = rng.choice([(320, 240), (240, 320), (300, 300)])
    top, bottom = Image.new("RGB", (1, 1), colour()), Image.new("RGB", (1, 1), colour())
    picture = Image.new("RGB", (1, 2))
    picture.paste(top, (0, 0))
    picture.paste(bottom, (0, 1))
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.randrange(4, 12)):
        x, y = rng.randrange(width), rng.randrange(height)
        across, down = rng.randrange(15, 140), rng.randrange(15, 140)
        shape = rng.choice([pen.rectangle, pen.ellipse])
        shape((x - across // 2, y - down // 2, x + across // 2, y + down // 2), fill=colour())
    for _ in range(rng.randrange(6)):
        ends = [(rng.randrange(width), rng.randrange(height)) for _ in range(2)]
        pen.line(ends, fill=colour(), width=rng.randrange(2, 9))
    return picture.filter(ImageFilter.GaussianBlur(0.8))


def jpeg(picture: Image.Image) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=30)
    return Image.open(out).convert("RGB")


def cropped(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    box = (round(width * 0.07), round(height * 0.03), round(width * 0.97), round(height * 0.93))
    return picture.crop(box)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda p: p.resize((p.width // 2, p.height // 2)),
    "twice the size": lambda p: p.resize((p.width * 2, p.height * 2)),
    "JPEG of quality 30": jpeg,
    "cropped by 10 %": cropped,
    "brighter by 30 %": lambda p: ImageEnhance.Brightness(p).enhance(1.3),
    "darker by 30 %": lambda p: ImageEnhance.Brightness(p).enhance(0.7),
    "turned by 4 degrees": lambda p: p.rotate(4, Image.Resampling.BICUBIC),
    "all at once, a little": lambda p: jpeg(
        ImageEnhance.Brightness(cropped(p).resize((200, 200))).enhance(1.15)
    ),
}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [scenery(seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def encoder() -> DescriptorEncoder:
    return DescriptorEncoder()


@pytest.fixture(scope="module")
def kept(encoder: DescriptorEncoder, pictures: list[Image.Image]) -> Vectors:
    return encoder.encode_pictures(pictures)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_first_among_sixty(
    change: str, encoder: DescriptorEncoder, pictures: list[Image.Image], kept: Vectors
) -> None:
    copies = encoder.encode_pictures([CHANGES[change](picture) for picture in pictures])
    nearest = (copies @ kept.T).argmax(axis=1)
    assert (nearest == np.arange(COUNT)).mean() >= 0.98


def test_different_pictures_are_apart(kept: Vectors) -> None:
    cosines = kept @ kept.T - 2 * np.eye(COUNT, dtype=np.float32)
    assert cosines.max() < 0.95
    assert np.median(cosines) < 0.75


def disc(colour: str, place: tuple[int, int], ground: str = "white") -> Image.Image:
    picture = Image.new("RGB", (120, 120), ground)
    x, y = place
    ImageDraw.Draw(picture).ellipse((x - 25, y - 25, x + 25, y + 25), fill=colour)
    return picture


def test_colour_tells_pictures_apart(encoder: DescriptorEncoder) -> None:
    asked, same, other = encoder.encode_pictures(
        [disc("#d02020", (40, 40)), disc("#b82a2a", (44, 38)), disc("#2040d0", (40, 40))]
    )
    assert asked @ same > asked @ other


def test_layout_tells_pictures_apart(encoder: DescriptorEncoder) -> None:
    asked, same, other = encoder.encode_pictures(
        [disc("red", (35, 35)), disc("red", (39, 33)), disc("red", (85, 85))]
    )
    assert asked @ same > asked @ other


def test_a_palette_is_recognised_in_another_arrangement(encoder: DescriptorEncoder) -> None:
    def tiles(colours: tuple[str, str], seed: int) -> Image.Image:
        rng = random.Random(seed)
        picture = Image.new("RGB", (120, 120))
        for i in range(64):
            colour = colours[i % 2] if rng.random() < 0.5 else colours[1 - i % 2]
            picture.paste(colour, (i % 8 * 15, i // 8 * 15, i % 8 * 15 + 15, i // 8 * 15 + 15))
        return picture

    red_cyan, greys = ("#d03030", "#30d0d0"), ("#747474", "#bcbcbc")
    asked, same, other = encoder.encode_pictures(
        [tiles(red_cyan, 1), tiles(red_cyan, 2), tiles(greys, 3)]
    )
    assert asked @ same > asked @ other + 0.15


def test_where_it_is_light_counts_where_colours_and_edges_are_the_same(
    encoder: DescriptorEncoder,
) -> None:
    def waves(sign: int) -> Image.Image:
        across = np.cos(5 * np.pi * (np.arange(120) + 0.5) / 120)
        values = np.tile(128 + sign * 70 * across, (120, 1)).astype(np.uint8)
        return Image.fromarray(values).convert("RGB")

    asked, same, other = encoder.encode_pictures([waves(1), jpeg(waves(1)), waves(-1)])
    assert asked @ same > asked @ other + 0.2


def test_edges_tell_pictures_apart(encoder: DescriptorEncoder) -> None:
    def stripes(upright: bool, first: int) -> Image.Image:
        picture = Image.new("RGB", (120, 120), "white")
        pen = ImageDraw.Draw(picture)
        for at in range(first, 120, 12):
            box = (at, 0, at + 5, 120) if upright else (0, at, 120, at + 5)
            pen.rectangle(box, fill="black")
        return picture

    asked, same, other = encoder.encode_pictures(
        [stripes(True, 0), stripes(True, 5), stripes(False, 0)]
    )
    assert asked @ same > asked @ other + 0.1


def test_the_picture_s_own_size_and_shape_do_not_matter(encoder: DescriptorEncoder) -> None:
    picture = scenery(5)
    wide = picture.resize((picture.width * 2, picture.height))
    first, second = encoder.encode_pictures([picture, wide])
    assert first @ second > 0.98


def test_flat_pictures_differ_by_their_colour_alone(encoder: DescriptorEncoder) -> None:
    red, wine, green = encoder.encode_pictures(
        [Image.new("RGB", (64, 64), c) for c in ("#d02020", "#c02828", "#20c040")]
    )
    assert red @ wine > red @ green
