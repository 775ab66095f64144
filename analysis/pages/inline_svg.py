"""SVG of matplotlib inside of a page: colors of the page, letters once for all figures, coordinates as fine as seen."""

from __future__ import annotations

import re

from analysis.style import THEMED

_GLYPH = re.compile(r'<path id="([A-Za-z][\w-]*-[0-9a-f]+)"( d="[^"]*")( transform="scale\([^"]*\)")\s*/>\s*')
_COLOR = re.compile(r"(?<=: )#[0-9a-f]{6}\b")
_PATH = re.compile(r' d="[^"]*"')
_FINE = re.compile(r"(\.\d\d)\d+")
_SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')
_DROPPED = (
    re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL),
    re.compile(r"<!--.*?-->\s*", re.DOTALL),
    re.compile(r"<style [^>]*>.*?</style>\s*", re.DOTALL),
)
_USE = re.compile(r'href="#([^"]*)"')
_EMPTY = re.compile(r"<defs>\s*</defs>\s*")


class InlineSvg:
    """Takes the figures of one page in; afterwards ``glyphs`` holds the letters that they share."""

    def __init__(self) -> None:
        self._glyphs: dict[str, str] = {}

    @property
    def glyphs(self) -> str:
        """Definitions of all letters, for one hidden SVG of the page."""
        return "".join(self._glyphs.values())

    def take(self, svg: bytes, name: str) -> str:
        """Bring a figure into the form in which a page shows it.

        Parameters
        ----------
        svg : bytes
            As :func:`analysis.style.svg_bytes` renders it.
        name : str
            Unique on the page: ids within the figure begin with it.
        """
        text = svg.decode()
        text = text[text.index("<svg") :]
        for dropped in _DROPPED:
            text = dropped.sub("", text)
        for found in _GLYPH.finditer(text):
            drawn = " ".join(found[2].split())
            self._glyphs[found[1]] = f'<path id="{found[1]}" {drawn}{found[3]}/>'
        text = _EMPTY.sub("", _GLYPH.sub("", text))
        text = _PATH.sub(lambda path: _FINE.sub(r"\1", " ".join(path[0].split(" ")).replace("\n", "")), text)
        # what is defined in one figure has the same id in another; letters are the page's
        text = re.sub(r'(\bid="|\burl\(#)', rf"\g<1>{name}-", text)
        text = _USE.sub(lambda use: use[0] if use[1] in self._glyphs else f'href="#{name}-{use[1]}"', text)
        text = _COLOR.sub(lambda color: _themed(color[0]), text)
        size = _SIZE.search(text)
        if size is not None:
            across, up = (f"{float(value) * 4 / 3:.0f}" for value in size.groups())
            text = text.replace(size[0], f'width="{across}" height="{up}" aria-hidden="true" focusable="false"', 1)
        return re.sub(r">\s+<", "><", text).strip()


def _themed(color: str) -> str:
    return f"var({THEMED[color]}, {color})" if color in THEMED else color
