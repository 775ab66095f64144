"""Text normalization and masking, applied to a view; stored rows keep their text as delivered.

``raw`` matters: a trailing blank is the scar of a removed emoticon in Sentiment140, and a tokenizer keeps it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence

from models.fields import choices_of
from pipeline.config.data import TextConfig
from pipeline.data.errors import DataError

NORMALIZATIONS = choices_of(TextConfig, "normalize")
MASKS = {
    "url": (re.compile(r"(?:https?://|www\.)\S+"), "<url>"),
    "user": (re.compile(r"(?<!\w)@\w+"), "<user>"),
    "hashtag": (re.compile(r"(?<!\w)#\w+"), "<hashtag>"),
    "emoticon": (re.compile(r"(?<!\w)(?:[:;=8xX]['-]?[)(\]\[dDpPoO/\\|*]+|<3|\^_?\^)(?!\w)"), "<emoticon>"),
}


def normalize_texts(texts: Sequence[str], normalize: str, mask: Sequence[str] = ()) -> list[str]:
    """Apply one normalization, then the masks in the order of ``MASKS``.

    Parameters
    ----------
    texts : sequence of str
        As delivered.
    normalize : {"raw", "whitespace", "full"}
        ``whitespace``: runs become one blank, ends are stripped; ``full``: NFKC and decoded HTML entities
        before that (arXiv:2310.13836 reads raw texts; the others are its controls).
    mask : sequence of {"url", "user", "hashtag", "emoticon"}
        Replaced by a placeholder.

    Raises
    ------
    DataError
        If a name is unknown.
    """
    if normalize not in NORMALIZATIONS:
        raise DataError(f"data.text.normalize={normalize} is not one of {', '.join(NORMALIZATIONS)}.")
    unknown = sorted(set(mask) - set(MASKS))
    if unknown:
        raise DataError(f"data.text.mask holds {unknown}; it takes any of {', '.join(MASKS)}.")
    result = list(texts)
    if normalize == "full":
        result = [unicodedata.normalize("NFKC", html.unescape(text)) for text in result]
    if normalize != "raw":
        result = [" ".join(text.split()) for text in result]
    for name, (pattern, placeholder) in MASKS.items():
        if name in mask:
            result = [pattern.sub(placeholder, text) for text in result]
    return result
