"""What a certificate says: summaries of checked passes, joined and put into words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def joined(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what was checked in several computations of one network.

    Examples
    --------
    >>> from kernels.capture.certificate import Certifier
    >>> from kernels.capture.summary import joined
    >>> joined([Certifier("every").summary(), Certifier("every").summary()])["passes"]
    0
    """
    given = [one for one in summaries if one]
    if not given:
        return {}
    total = {name: sum(one[name] for one in given) for name in ("passes", "passes_checked", "patterns_checked")}
    most = {name: max(one[name] for one in given) for name in ("parameters", "largest_difference")}
    return {
        "certify": given[0]["certify"],
        **total,
        **most,
        "generic": sorted({name for one in given for name in one["generic"]}),
    }


def told(certificate: Mapping[str, Any]) -> str:
    """Say in one sentence what was checked.

    Examples
    --------
    >>> from kernels.capture.certificate import Certifier
    >>> from kernels.capture.summary import told
    >>> told(Certifier("off").summary())
    'not checked'
    """
    if not certificate or not certificate["passes_checked"] + certificate["patterns_checked"]:
        return "not checked"
    generic = f"; generic route: {', '.join(certificate['generic'])}" if certificate["generic"] else ""
    return (
        f"{certificate['passes_checked']} of {certificate['passes']} passes and the first of "
        f"{certificate['patterns_checked']} pattern(s), {certificate['parameters']} parameters each, agree with the "
        f"network's own gradient to {certificate['largest_difference']:.0e}{generic}"
    )


def ceiling(value: float) -> float:
    """Smallest power of ten that is not below a positive number.

    Examples
    --------
    >>> from kernels.capture.summary import ceiling
    >>> ceiling(3e-7)
    1e-06
    """
    return float(f"1e{math.ceil(math.log10(value))}")
