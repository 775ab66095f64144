"""Attribution of texts by the words that they share, without a network: BM25."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from kernels.arrays import as_array


def bm25_scores(
    test: Sequence[Any], train: Sequence[Any], *, k1: float = 1.5, b: float = 0.75
) -> Float[np.ndarray, "m n"]:
    """Score training texts for each test text as a search engine does, over tokens.

    Σ over tokens q of the test text: log(1 + (n - n_q + 1/2) / (n_q + 1/2)) f (k1 + 1) / (f + k1 (1 - b + b l / l̄))
    with f the count of q in the training text, l the length of that text, l̄ the mean length, n the number of training
    texts and n_q the number of those that hold q.

    Parameters
    ----------
    test, train : sequence of array of int
        Tokens of each text, without padding.
    k1, b : float
        Saturation of counts, and how far long texts are held back.

    Raises
    ------
    ValueError
        If a text is given in place of its tokens, there are no training texts, or k1 or b are not possible.

    References
    ----------
    Robertson and Zaragoza (2009), "The probabilistic relevance framework: BM25 and beyond".

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import bm25_scores
    >>> train = [np.array([1, 2]), np.array([1, 1]), np.array([3, 4])]
    >>> bm25_scores([np.array([2, 9])], train).round(2)  # only the first text holds token 2
    array([[0.98, 0.  , 0.  ]])
    """
    if k1 < 0 or not 0 <= b <= 1:
        raise ValueError(f"k1={k1:g} must be at least 0, and b={b:g} between 0 and 1.")
    if not len(train):
        raise ValueError("train holds no texts.")
    asked, held_texts = (_tokens(texts, name) for texts, name in ((test, "test"), (train, "train")))
    counts = [Counter(text.tolist()) for text in held_texts]
    lengths = np.array([len(text) for text in held_texts], np.float64)
    holders: dict[int, list[int]] = {}
    for place, count in enumerate(counts):
        for token in count:
            holders.setdefault(token, []).append(place)
    held = k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-300))
    scores = np.zeros((len(test), len(train)))
    for row, text in zip(scores, asked, strict=True):
        for token in text.tolist():
            if (places := holders.get(token)) is not None:
                rarity = np.log1p((len(train) - len(places) + 0.5) / (len(places) + 0.5))
                f = np.array([counts[place][token] for place in places], np.float64)
                row[places] += rarity * f * (k1 + 1) / (f + held[places])
    return scores


def _tokens(texts: Sequence[Any], name: str) -> list[Int[np.ndarray, " _"]]:
    """Tokens of each text as whole numbers."""
    found = []
    for place, text in enumerate(texts):
        if isinstance(text, str):
            raise ValueError(f"{name}[{place}] is a text: give the whole numbers that a tokenizer makes of it.")
        tokens = as_array(text, f"{name}[{place}]")
        if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
            raise ValueError(f"{name}[{place}] must hold the tokens of one text, as whole numbers.")
        found.append(tokens)
    return found
