"""Nine surface counts of a text, character n-grams, and the planted blank: controls for every shift result.

Automatic labels come from emoticons that were then removed, and the removal left traces. A classifier on these
counts shows how much of a shift is such an artifact.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import linalg
from sklearn.feature_extraction.text import TfidfVectorizer

CUES = (
    "url",
    "mention",
    "hashtag",
    "emoticon",
    "trailing_blank",
    "characters",
    "words",
    "exclaim_question",
    "capitals",
)
_URL = re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<!\w)@\w+")
_HASHTAG = re.compile(r"(?<!\w)#\w+")
_EMOTICON = re.compile(r"[:;=8xX][-o^']?[)(\]\[dDpP/\\|*@3]+|[)(\]\[]+[-o^']?[:;=]|<3|\^_+\^|[:;]['`]\(")


def cue_features(texts: Sequence[str]) -> Float[np.ndarray, "n 9"]:
    """Count URLs, mentions, hashtags, emoticons, a trailing blank, characters, words, !/?, and capitals.

    Parameters
    ----------
    texts : sequence of str
        As delivered: any normalization beforehand removes what is measured here.

    Returns
    -------
    ndarray, shape (n, 9)
        Columns in the order of `CUES`. Emoticons are counted outside URLs; capitals are a share of letters.
    """
    rows = np.empty((len(texts), len(CUES)))
    for i, text in enumerate(texts):
        bare = _URL.sub(" ", text)
        letters = sum(map(str.isalpha, text))
        rows[i] = (
            len(_URL.findall(text)),
            len(_MENTION.findall(bare)),
            len(_HASHTAG.findall(bare)),
            len(_EMOTICON.findall(bare)),
            float(text != text.rstrip()),
            len(text),
            len(text.split()),
            text.count("!") + text.count("?"),
            sum(map(str.isupper, text)) / max(letters, 1),
        )
    return rows


def cue_rates(texts: Sequence[str]) -> dict[str, float]:
    """Share of texts with each mark, and means of the lengths and the share of capitals.

    Examples
    --------
    >>> from analysis.shift import cue_rates
    >>> rates = cue_rates(["@ann see http://t.co/a :)", "so tired ", "GREAT!"])
    >>> {name: round(rates[name], 2) for name in ("url", "emoticon", "trailing_blank", "capitals")}
    {'url': 0.33, 'emoticon': 0.33, 'trailing_blank': 0.33, 'capitals': 0.33}
    """
    if not texts:
        raise ValueError("cue rates need at least one text.")
    rows = cue_features(texts)
    means = {"characters", "words", "capitals"}
    return {
        name: float(column.mean() if name in means else np.mean(column > 0))
        for name, column in zip(CUES, rows.T, strict=True)
    }


def character_ngrams(
    a: Sequence[str], b: Sequence[str], *, longest: int = 3, most: int = 20_000
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "m k"]]:
    """TF-IDF of character 1- to 3-grams of both samples, rotated to at most n + m dense columns.

    Vocabulary and weights are fitted on the pooled texts without looking at the sides, so tests on them stay
    valid. The rotation keeps all inner products: an L2 classifier without column scaling is unchanged.

    Parameters
    ----------
    a, b : sequence of str
    longest : int
        Largest n of the n-grams.
    most : int
        Size of the vocabulary.

    Returns
    -------
    a, b : ndarray, shape (n, k) and (m, k)
    """
    vectorizer = TfidfVectorizer(
        analyzer="char", ngram_range=(1, longest), max_features=most, lowercase=False, sublinear_tf=True
    )
    table = vectorizer.fit_transform([*a, *b])
    return rotated((table @ table.T).toarray(), len(a))


def rotated(
    products: Float[np.ndarray, "rows rows"], first: int
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "m k"]]:
    """Give dense columns, at most one a row, with the inner products of two samples; one has ``first`` rows."""
    values, vectors = linalg.eigh(products)
    kept = values > len(values) * 2.0**-52 * values[-1]
    dense = vectors[:, kept] * np.sqrt(values[kept])
    return dense[:first], dense[first:]


def plant_trailing_blank(texts: Sequence[str], share: float, generator: np.random.Generator) -> list[str]:
    """Append one blank to a share of the texts, as removed emoticons do: a shift that normalizing undoes."""
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must be within 0..1, got {share}.")
    marked = generator.random(len(texts)) < share
    return [text + " " if mark else text for text, mark in zip(texts, marked, strict=True)]
