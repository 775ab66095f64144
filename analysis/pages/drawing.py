"""A figure of a page as bytes: the slow part of a page, which knows nothing of the rest of it."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.pages.blocks import Picture


@dataclass(frozen=True)
class Drawn:
    """What a page needs of a figure.

    Attributes
    ----------
    png, svg : bytes
        The whole figure, in the forms that were asked for.
    panels : tuple of bytes
        SVG of each panel by itself.
    legend : bytes
        SVG of the legend that panels share; empty where there is none.
    csv : str
        The numbers that it draws.
    words : tuple of str
        What each panel shows, for those who cannot see it.
    note : str
        What is said about it after its caption.
    nothing : bool
        Whether none of its panels has anything to show.
    """

    png: bytes = b""
    svg: bytes = b""
    panels: tuple[bytes, ...] = ()
    legend: bytes = b""
    csv: str = ""
    words: tuple[str, ...] = ()
    note: str = ""
    nothing: bool = False


def draw(block: Picture, *, png: bool = False) -> Drawn:
    """Draw a figure, as SVG in whole and by panels, or as PNG where its block asks for that.

    Parameters
    ----------
    block : Picture
        The figure; it is left as it was.
    png : bool
        Whether a PNG is wanted as well.
    """
    from analysis.figure_data import figure_rows, rows_csv
    from analysis.panel_words import panel_words
    from analysis.panels import groups, panel_svgs, void_panels
    from analysis.style import png_bytes, svg_bytes, undrawn_names

    void = void_panels(block.figure)
    note = f" Not drawn, since every value is 0: {', '.join(f'“{name}”' for name in void)}." if void else ""
    if void and len(void) >= len(groups(block.figure)):
        return Drawn(note=note, nothing=True)
    # before it is rendered, which makes the names on its axes literal
    rows = figure_rows(block.figure)
    words = tuple(panel_words(block.figure, rows))
    pixels = png_bytes(block.figure) if png or block.raster else b""
    svg = b"" if block.raster else svg_bytes(block.figure)
    panels, legend = ([], b"") if block.raster else panel_svgs(block.figure)
    lacking = ", ".join(f"{mark} is {written}" for mark, written in undrawn_names(block.figure).items())
    note += f" The figure's font lacks some characters: in it, {lacking}." if lacking else ""
    return Drawn(pixels, svg, tuple(panels), legend, rows_csv(rows), words, note)
