"""What the report reads of attributions: sparsity, the gallery, and how planted points are ranked."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np

from pipeline.engine.artifacts import Artifact

TOP = "top.safetensors"
SPARSITY = "sparsity.safetensors"
GALLERY_IMAGES = "gallery.safetensors"
GALLERY_TEXTS = "gallery.parquet"
TOKENS = "tokens.parquet"
TOKEN_PAIRS = "token_pairs.parquet"
MASKS = "masks.parquet"
MASK_ARRAYS = "masks.safetensors"


class MaskRow(TypedDict):
    """How one method ranks the marked points of one mask; None where a measure does not apply."""

    method: str
    mask: str
    precision: float | None
    recall: float
    auprc: float | None
    roc_auc: float | None
    prevalence: float | None
    n: int
    marked: int


GalleryText = TypedDict(
    "GalleryText",
    {
        "test": str,
        "label": int,
        "attributed": int,
        "rank": int,
        "score": float,
        "training text": str,
        "training label": int,
        "injected": bool,
    },
)
"""One test text with one of its most supporting training texts."""


def read_sparsity(attribution: Artifact) -> dict[str, np.ndarray]:
    """Read, by split, the sparsity of each test point and the curves over all of them."""
    return attribution.arrays(SPARSITY)


def read_gallery_images(attribution: Artifact) -> dict[str, np.ndarray] | None:
    """Read test images and their most supporting training images; None where the data are not images."""
    return attribution.arrays(GALLERY_IMAGES) if attribution.has(GALLERY_IMAGES) else None


def read_gallery_texts(attribution: Artifact) -> list[GalleryText] | None:
    """Read test texts and their most supporting training texts; None where the data are not texts."""
    return attribution.rows(GALLERY_TEXTS) if attribution.has(GALLERY_TEXTS) else None


def read_tokens(attribution: Artifact) -> list[dict[str, Any]]:
    """Read the value of every token of the split texts; empty where ``attribution.tokens`` is 0."""
    return attribution.rows(TOKENS, optional=True)


def read_token_pairs(attribution: Artifact) -> list[dict[str, Any]]:
    """Read the strongest pairs of tokens of the split texts; empty where ``attribution.tokens`` is 0."""
    return attribution.rows(TOKEN_PAIRS, optional=True)


def read_masks(attribution: Artifact) -> list[MaskRow]:
    """Read one row per method and mask; empty where no points were planted."""
    return attribution.rows(MASKS, optional=True)


def read_mask_arrays(attribution: Artifact) -> dict[str, np.ndarray]:
    """Read ``injected`` (n,) and ``score.METHOD`` (n,) of the training points, where points were planted."""
    return attribution.arrays(MASK_ARRAYS)
