"""Invented rows: no real text or image enters the repository."""

import io

import numpy as np
from PIL import Image

WORDS = "the old cat sat on a warm mat and saw two small birds fly over that red barn".split()


def sentences(n, seed=0):
    """Invented sentences, all different."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, 5)) + f" {row}" for row in range(n)]


def image_columns(n, n_classes=4, size=8, channels=1, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, channels, size, size), dtype=np.uint8)
    return {"image": images, "label": np.arange(n, dtype=np.int64) % n_classes}


def text_columns(n, n_classes=2, seed=0, domain="p"):
    labels = np.arange(n, dtype=np.int64) % n_classes
    return {"text": sentences(n, seed), "label": labels, "domain": [domain] * n}


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
