"""Several decisions at once: Holm's adjustment within a study, and claims about every member of a family."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from analysis.verdicts.rules import ALPHA, FAILS, HOLDS, OPEN, Decided, Outcome


def holm(p_values: Sequence[float] | Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Holm's step-down adjusted p-values, in the order given.

    Examples
    --------
    >>> from analysis.verdicts import holm
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    found = np.empty_like(values)
    found[order] = np.minimum(scaled, 1.0)
    return found


def adjusted(decisions: Sequence[Decided]) -> list[Decided]:
    """Adjust a study's decisions by Holm: one that no longer passes at 5 % becomes open.

    Claims and their opposites are adjusted as two families of the same size, so neither "holds" nor "fails" is said
    wrongly on a page more often than the level. Decisions without a p-value (identities) are left as they are.

    Examples
    --------
    >>> from analysis.verdicts import Decided, adjusted
    >>> found = adjusted([Decided("holds", "a", 0.02, 0.98), *[Decided("open", "b", 0.5, 0.5)] * 4])
    >>> found[0].outcome, found[0].p_adjusted
    ('open', 0.1)
    """
    result = list(decisions)
    for outcome, name in ((HOLDS, "p"), (FAILS, "p_against")):
        places = [i for i, one in enumerate(decisions) if getattr(one, name) is not None]
        for i, p in zip(places, holm([getattr(decisions[i], name) for i in places]), strict=True):
            one = decisions[i]
            if one.outcome == outcome:
                kept: Outcome = outcome if p <= ALPHA else OPEN
                result[i] = dataclasses.replace(one, outcome=kept, p_adjusted=float(p))
            elif one.outcome == OPEN and outcome == HOLDS:
                result[i] = dataclasses.replace(one, p_adjusted=float(p))
    return result


def _support(one: Decided) -> float:
    return 1.0 if one.p is None else one.p


def all_hold(members: Mapping[str, Decided], what: str) -> Decided:
    """Claim: something holds for every member of a family (layers, classifiers, kernels).

    Each member is decided by its own pairing before; here the decisions are adjusted by Holm. The claim holds where
    all of them do, fails where one does, and is open otherwise. An extreme is never compared with a bound.

    Parameters
    ----------
    members : mapping of str to Decided
        Decisions by the member's name.
    what : str
        What the members are.

    Examples
    --------
    >>> from analysis.verdicts import Decided, all_hold
    >>> good, unclear = Decided("holds", "0.9", 0.001, 0.999), Decided("open", "0.6", 0.3, 0.7)
    >>> all_hold({"layer 1": good, "layer 2": unclear}, "layers").outcome
    'open'
    """
    if not members:
        return Decided(OPEN, f"no {what} to test.")
    names, found = list(members), adjusted(list(members.values()))
    counts = {word: [n for n, one in zip(names, found, strict=True) if one.outcome == word] for word in (HOLDS, FAILS)}
    outcome: Outcome = FAILS if counts[FAILS] else HOLDS if len(counts[HOLDS]) == len(names) else OPEN
    supports = [one.p for one in members.values()]
    p = None if any(one is None for one in supports) else float(holm([one or 0.0 for one in supports]).max())
    refutes = [one.p_against for one in members.values() if one.p_against is not None]
    against = float(holm(refutes).min()) if refutes else None
    # the member that decides: one that fails, else the one with the weakest support
    weakest = counts[FAILS][0] if counts[FAILS] else max(names, key=lambda name: _support(members[name]))
    evidence = (
        f"holds in {len(counts[HOLDS])} and fails in {len(counts[FAILS])} of {len(names)} {what} after Holm's "
        f"adjustment; weakest, {weakest}: {members[weakest].evidence}"
    )
    return Decided(outcome, evidence, p, against)


def any_holds(members: Mapping[str, Decided], what: str) -> Decided:
    """Claim: something holds for at least one member of a family; see `all_hold`.

    It holds where a member passes after Holm's adjustment for having looked at all of them, and fails where every
    single one fails.

    Parameters
    ----------
    members : mapping of str to Decided
        Decisions by the member's name.
    what : str
        What the members are.

    Examples
    --------
    >>> from analysis.verdicts import Decided, any_holds
    >>> good, unclear = Decided("holds", "0.9", 0.001, 0.999), Decided("open", "0.6", 0.3, 0.7)
    >>> any_holds({"layer 1": good, "layer 2": unclear}, "layers").outcome
    'holds'
    """
    if not members:
        return Decided(OPEN, f"no {what} to test.")
    names = list(members)
    adjusted_p = holm([_support(one) for one in members.values()])
    best = names[int(adjusted_p.argmin())]
    failing = [name for name in names if members[name].outcome == FAILS]
    refutes = [one.p_against for one in members.values()]
    p, against = float(adjusted_p.min()), None if None in refutes else float(max(one or 0.0 for one in refutes))
    outcome: Outcome = HOLDS if p <= ALPHA else FAILS if len(failing) == len(names) else OPEN
    holding = int((adjusted_p <= ALPHA).sum())
    evidence = (
        f"holds in {holding} and fails in {len(failing)} of {len(names)} {what} after Holm's adjustment; best, "
        f"{best}: {members[best].evidence}"
    )
    return Decided(outcome, evidence, p, against)
