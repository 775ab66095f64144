"""Small files of one's own, made up: images by class, and tables."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "emu")


def picture(label: int, row: int = 0, side: int = 8) -> Image.Image:
    """A color image whose class is its brightest channel."""
    pixels = np.random.default_rng(1000 * label + row).integers(0, 60, (side, side, 3), dtype=np.uint8)
    pixels[..., label] = 250
    return Image.fromarray(pixels)


def write_photos(folder: Path, train: int = 4, test: int = 2, classes: tuple[str, ...] = CLASSES) -> Path:
    """Write FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png."""
    for split, rows in (("train", train), ("test", test)):
        for label, name in enumerate(classes):
            place = folder / split / name
            place.mkdir(parents=True)
            for row in range(rows):
                picture(label, row + 100 * (split == "test")).save(place / f"{row:03d}.png")
    return folder


def flowers(rows: int = 60) -> str:
    """A table of two columns of numbers and a word."""
    lines = [f"{row % 3 * 10 + row * 0.1:.1f},{row % 7},{('iris', 'rose', 'tulip')[row % 3]}" for row in range(rows)]
    return "\n".join(["height,width,species", *lines, ""])


def verdicts(rows: int = 40, between: str = ",") -> str:
    """A table of texts and words for labels."""
    words = ("bad", "no"), ("good", "yes")
    lines = [f"a {words[row % 2][0]} sentence number {row}{between}{words[row % 2][1]}" for row in range(rows)]
    return "\n".join([f"sentence{between}verdict", *lines, ""])
