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
    passes = counted(certificate["passes"], "pass", "passes")
    patterns = counted(certificate["patterns_checked"], "pattern")
    parameters = counted(certificate["parameters"], "parameter")
    return (
        f"{certificate['passes_checked']} of {passes} and the first of {patterns}, {parameters} each, agree with the "
        f"network's own gradient to {certificate['largest_difference']:.0e}{generic}"
    )


def foretold(checked: int, passes: int, parameters: int) -> str:
    """Say how much will be checked, in words that follow the mode; nothing where no pass is known.

    Which passes are the first of a pattern is not known before they run.

    Examples
    --------
    >>> from kernels.capture.summary import foretold
    >>> foretold(3, 3, 1), foretold(0, 0, 0)
    (': 3 of 3 passes, 1 parameter each', '')
    >>> foretold(1, 3, 2)
    ': 1 of 3 passes and the first of any other pattern, 2 parameters each'
    """
    if not passes:
        return ""
    more = " and the first of any other pattern" if 0 < checked < passes else ""
    return f": {checked} of {counted(passes, 'pass', 'passes')}{more}, {counted(parameters, 'parameter')} each"


def counted(number: int, one: str, several: str = "") -> str:
    """Put a number before its noun.

    Examples
    --------
    >>> from kernels.capture.summary import counted
    >>> counted(1, "pass", "passes"), counted(2, "pattern")
    ('1 pass', '2 patterns')
    """
    return f"{number} {one if number == 1 else several or one + 's'}"


def ceiling(value: float) -> float:
    """Smallest power of ten that is not below a positive number.

    Examples
    --------
    >>> from kernels.capture.summary import ceiling
    >>> ceiling(3e-7)
    1e-06
    """
    return float(f"1e{math.ceil(math.log10(value))}")
