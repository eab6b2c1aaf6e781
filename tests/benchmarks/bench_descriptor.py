"""How well the visual descriptor finds a changed copy of a photograph, and how fast it is.

Run ``python tests/benchmarks/bench_descriptor.py [--data ../shared/data]``. Every photograph of the
``coco`` folder is changed in one way at a time and looked up among all the unchanged ones.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from retrievers.encoders.descriptor import DescriptorEncoder
from retrievers.evidence import Vectors

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
Change = Callable[[Image.Image], Image.Image]


def crop(share: float) -> Change:
    """Cut ``share`` of width and height away, more on one side than on the other."""

    def change(image: Image.Image) -> Image.Image:
        width, height = image.size
        left, top = round(width * share * 0.7), round(height * share * 0.3)
        return image.crop(
            (left, top, left + round(width * (1 - share)), top + round(height * (1 - share)))
        )

    return change


def resize(share: float) -> Change:
    """Scale both sides by ``share``."""
    return lambda image: image.resize(
        (max(1, round(image.width * share)), max(1, round(image.height * share)))
    )


def jpeg(quality: int) -> Change:
    """Compress as JPEG of that quality and read it back."""

    def change(image: Image.Image) -> Image.Image:
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        return Image.open(out).convert("RGB")

    return change


def brighten(factor: float) -> Change:
    """Multiply every value by ``factor``."""
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


CHANGES: dict[str, Change] = {
    "unchanged": lambda image: image,
    "resize 50 %": resize(0.5),
    "resize 15 %": resize(0.15),
    "JPEG q30": jpeg(30),
    "JPEG q10": jpeg(10),
    "crop 10 %": crop(0.10),
    "crop 25 %": crop(0.25),
    "crop 40 %": crop(0.40),
    "brightness x1.3": brighten(1.3),
    "brightness x0.6": brighten(0.6),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "turned 5 degrees": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
    "mirrored": ImageOps.mirror,
    "screenshot with a border": lambda image: ImageOps.expand(
        image, round(0.06 * max(image.size)), "white"
    ),
}


def row(name: str, kept: Vectors, found: Vectors) -> str:
    """Return a line: recall@1, recall@5, median cosine to the original and to the best other."""
    cosines = found @ kept.T  # (changed, kept)
    own = np.diag(cosines)
    others = cosines - 2 * np.eye(len(kept), dtype=np.float32)
    rank = (cosines > own[:, None]).sum(axis=1)
    return (
        f"{name:26s} {(rank == 0).mean():8.3f} {(rank < 5).mean():8.3f}"
        f" {np.median(own):8.3f} {np.median(others.max(axis=1)):10.3f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="near-duplicate retrieval by the descriptor")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds coco/")
    folder = parser.parse_args().data / "coco"
    paths = sorted(folder.rglob("*.jpg"))
    if not paths:
        raise SystemExit(f"{folder}: no *.jpg there; give the folder that holds coco/ with --data")
    photos = [Image.open(path).convert("RGB") for path in paths]
    encoder = DescriptorEncoder()
    kept = encoder.encode_pictures(photos)
    began = time.perf_counter()
    encoder.encode_pictures(photos)
    each = (time.perf_counter() - began) / len(photos) * 1000
    print(
        f"{len(photos)} photographs, {encoder.name}, {encoder.dimension} dimensions,"
        f" {each:.1f} ms each"
    )
    off = (kept @ kept.T)[~np.eye(len(kept), dtype=bool)]
    print(
        f"cosine of two different photographs: median {np.median(off):.3f},"
        f" 99 % below {np.quantile(off, 0.99):.3f}, most {off.max():.3f}"
    )
    print(f"{'change':26s} {'recall@1':>8s} {'recall@5':>8s} {'own cos':>8s} {'other cos':>10s}")
    for name, change in CHANGES.items():
        print(row(name, kept, encoder.encode_pictures([change(photo) for photo in photos])))


if __name__ == "__main__":
    main()
