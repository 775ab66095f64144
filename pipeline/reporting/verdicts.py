"""From a page's claims to what it says about them: adjusted over the study, in the words that the setting allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.verdicts import FAILS, HOLDS, Claim, Decided, Setting, adjusted, is_of_publication, word
from pipeline.reporting.setting import Comparison


@dataclass(frozen=True)
class Shown:
    """A claim as the page shows it.

    Attributes
    ----------
    name, statement, evidence, published, standing : str
        Of the claim.
    outcome : str
        holds, fails or open, after the adjustment.
    word : str
        What the setting allows to call it.
    strong : bool
        Whether it is a verdict at the published setting; anything else is never in bold.
    tested : str
        Raw and adjusted p-value.
    setting : str
        Whether the published setting was run, and what differs.
    """

    name: str
    statement: str
    outcome: str
    word: str
    strong: bool
    evidence: str
    tested: str
    setting: str
    published: str
    standing: str


def without_name(name: str, statement: str) -> str:
    """Leave out of a statement what a claim's name before it says already: its group, and its number.

    Examples
    --------
    >>> without_name("R1(a) of ReLU", "ReLU: R1: the CK beats the network"), without_name("A1", "mlp: runs differ")
    ('the CK beats the network', 'mlp: runs differ')
    """
    group = name.partition(" of ")[2]
    statement = statement.removeprefix(f"{group}: ") if group else statement
    number, _, rest = statement.partition(": ")
    return rest if rest and name.startswith(number) else statement


def decide(claims: Sequence[Claim], comparison: Comparison) -> list[Shown]:
    """Adjust the claims of one page together and find their words; nothing is said under debug=tiny.

    Parameters
    ----------
    claims : sequence of Claim
        Of all sections, in the order of the page.
    comparison : Comparison
        The page's cells beside the published ones.
    """
    if comparison.tiny:
        return []
    tested = sum(claim.decided.p is not None for claim in claims)
    found = adjusted([claim.decided for claim in claims])
    return [_shown(claim, one, comparison, tested) for claim, one in zip(claims, found, strict=True)]


def _shown(claim: Claim, decided: Decided, comparison: Comparison, tested: int) -> Shown:
    setting: Setting = comparison.setting(claim.fields)
    evidence = decided.evidence
    if decided.outcome != claim.decided.outcome:
        evidence += f" By itself it {'holds' if claim.decided.outcome == HOLDS else 'fails'}; adjusted it is open."
    return Shown(
        claim.name,
        claim.statement,
        decided.outcome,
        word(decided.outcome, setting, claim.standing.source),
        is_of_publication(setting, claim.standing.source),
        evidence,
        _p_values(claim.decided, decided, tested),
        setting.line,
        claim.published,
        str(claim.standing),
    )


def _p_values(raw: Decided, decided: Decided, tested: int) -> str:
    against = raw.outcome == FAILS
    p = raw.p_against if against else raw.p
    if p is None:
        return ""
    side = "against the claim, " if against else ""
    if decided.p_adjusted is None:
        return f"{side}one-sided p {_small(p)}"
    return f"{side}one-sided p {_small(p)}; {_small(decided.p_adjusted)} by Holm over {tested} claims of this page"


def _small(p: float) -> str:
    return f"{p:.1e}" if p < 1e-3 else f"{p:.3f}"


def summary(shown: Sequence[Shown]) -> str:
    """Count the words of a section in one sentence; empty where it makes no claim."""
    if not shown:
        return ""
    counts = Counter(one.word for one in shown)
    return f"Of {len(shown)} claims: {', '.join(f'{text} {count}' for text, count in counts.most_common())}."
