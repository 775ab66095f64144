"""Text that is shown as it is written: no characters that steer a terminal or turn its writing around."""

from __future__ import annotations

import re

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\U000e0000-\U000e007f]"
)
"""Controls, marks of the direction of writing, and characters without width that join no letters."""


def visible(text: object) -> str:
    r"""Write characters that steer a terminal, turn its writing around or are unseen as escapes; lines and tabs stay.

    Examples
    --------
    >>> from analysis.plain_text import visible
    >>> visible("\x1b]0;owned\x07cat")
    '\\x1b]0;owned\\x07cat'
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))
