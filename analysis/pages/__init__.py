"""Blocks, and the self-contained HTML page that shows them: reports of the pipeline and of one's own arrays."""

from __future__ import annotations

from analysis.pages.blocks import (
    Command,
    Finding,
    Gallery,
    Headline,
    MarkedText,
    MarkedTexts,
    Picture,
    Section,
    Shot,
    Table,
    Text,
)
from analysis.pages.estimate import Estimate
from analysis.pages.page import write_page

__all__ = [
    "Command",
    "Estimate",
    "Finding",
    "Gallery",
    "Headline",
    "MarkedText",
    "MarkedTexts",
    "Picture",
    "Section",
    "Shot",
    "Table",
    "Text",
    "write_page",
]
