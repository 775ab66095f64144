"""Words for outcomes: they depend on whether the runs were made at the published setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from analysis.verdicts.rules import FAILS, HOLDS, OPEN, Decided, Outcome

PUBLISHED_WORDS: dict[Outcome, str] = {HOLDS: "reproduced", FAILS: "not reproduced", OPEN: "undecided"}
OTHER_WORDS: dict[Outcome, str] = {HOLDS: "holds here", FAILS: "does not hold here", OPEN: "open here"}
SOURCES = ("published", "authors' code", "second-hand", "memory", "derived", "ours")


@dataclass(frozen=True)
class Setting:
    """How the setting of a run compares with the published one.

    Attributes
    ----------
    kind : {"published", "other", "ours", "tiny"}
        At the published setting, off it, without one (the study is ours), or shrunk by debug=tiny.
    differences : tuple of str
        What differs and by how much, such as "1,000 of 10,000 rows"; at the published setting, a smaller number of
        seeds that still suffices for a verdict.
    unknown : str
        What the publication does not say; for a study of our own, why it has no published setting.

    Examples
    --------
    >>> from analysis.verdicts import Setting
    >>> Setting("published").line
    'tested at the published setting'
    """

    kind: Literal["published", "other", "ours", "tiny"]
    differences: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def line(self) -> str:
        """One line for the page.

        Examples
        --------
        >>> from analysis.verdicts import Setting
        >>> Setting("other", ("1,000 of 10,000 rows", "10 of 200 epochs")).line
        'not tested at the published setting: 1,000 of 10,000 rows, 10 of 200 epochs'
        """
        if self.kind == "published":
            seeds = f", on {', '.join(self.differences)}" if self.differences else ""
            left_open = f" (not published: {self.unknown})" if self.unknown else ""
            return f"tested at the published setting{seeds}{left_open}"
        if self.kind == "ours":
            return "no published study is repeated" + (f": {self.unknown}" if self.unknown else "")
        if self.kind == "tiny":
            return "debug=tiny: nothing is tested"
        return f"not tested at the published setting: {', '.join(self.differences)}"


def word(outcome: Outcome, setting: Setting, source: str = "published") -> str:
    """Word for an outcome at a setting; the empty word under debug=tiny.

    Only what somebody else has claimed can be reproduced: a claim of our own holds here or does not, also at the
    published setting.

    Examples
    --------
    >>> from analysis.verdicts import Setting, word
    >>> word("holds", Setting("published")), word("holds", Setting("ours")), word("holds", Setting("tiny"))
    ('reproduced', 'holds here', '')
    >>> word("fails", Setting("published"), "ours")
    'does not hold here'
    """
    if setting.kind == "tiny":
        return ""
    return (PUBLISHED_WORDS if is_of_publication(setting, source) else OTHER_WORDS)[outcome]


def is_of_publication(setting: Setting, source: str) -> bool:
    """Whether an outcome says something of a publication: at its setting, of a claim that is not ours.

    Examples
    --------
    >>> from analysis.verdicts import Setting, is_of_publication
    >>> is_of_publication(Setting("published"), "authors' code"), is_of_publication(Setting("published"), "ours")
    (True, False)
    """
    return setting.kind == "published" and source != "ours"


@dataclass(frozen=True)
class Standing:
    """Where a published number comes from, and what it is about.

    Attributes
    ----------
    source : str
        published, authors' code, second-hand, memory, derived or ours.
    band : str
        Who derived the band or bound around it; empty where the authors printed it.
    measure : str
        Name of the measure that the number belongs to, such as tau_published_glm.

    Raises
    ------
    ValueError
        If the source is none of these.

    Examples
    --------
    >>> from analysis.verdicts import Standing
    >>> str(Standing("published"))
    'published'
    """

    source: str
    band: str = ""
    measure: str = ""

    def __post_init__(self) -> None:
        """Refuse a source that is no standing."""
        if self.source not in SOURCES:
            raise ValueError(f"standing {self.source!r} is none of: {', '.join(SOURCES)}.")

    def __str__(self) -> str:
        """Words for the page.

        Examples
        --------
        >>> from analysis.verdicts import Standing
        >>> str(Standing("authors' code", band="ours", measure="tau_published_glm"))
        "authors' code; band: ours; measure: tau_published_glm"
        """
        parts = [self.source, self.band and f"band: {self.band}", self.measure and f"measure: {self.measure}"]
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class Claim:
    """A claim of a study with what the runs say about it; the report finds its word.

    Attributes
    ----------
    name : str
        Identifier, such as L1.
    statement : str
        The claim in one sentence; begins with the group of cells where there are several.
    decided : Decided
        Outcome and evidence.
    fields : tuple of str
        Settings that matter to it and must be the published ones, such as "training.epochs"; "seeds" stands for the
        number of seeds, "data" and "model" for everything in these sections, "cells" for the axes.
    published : str
        The published number or words, where there are any.
    standing : Standing
        Where they come from.
    keys : sequence of str
        Keys of the artifacts behind the evidence; without them, all of the section that makes the claim.

    Examples
    --------
    >>> from analysis.verdicts import OPEN, Claim, Decided
    >>> str(Claim("L1", "a few components suffice", Decided(OPEN, "n = 2 seeds; 5 are needed.")).standing)
    'ours'
    """

    name: str
    statement: str
    decided: Decided
    fields: tuple[str, ...] = ()
    published: str = ""
    standing: Standing = field(default_factory=lambda: Standing("ours"))
    keys: Sequence[str] = ()
