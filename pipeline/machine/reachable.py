"""Whether a server answers at all, found out within a few seconds."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

PATIENCE = 10.0
"""Seconds to wait for a first answer."""


def unanswered(address: str, patience: float = PATIENCE) -> str | None:
    """Say why a server gives no answer; None if it gives any, an error page included.

    Parameters
    ----------
    address : str
        Its URL; proxies of the environment are used.
    patience : float
        Seconds to wait.

    Examples
    --------
    >>> unanswered("nonsense")
    "nonsense: unknown url type: 'nonsense'"
    """
    found: list[str | None] = ["no answer"]

    def ask() -> None:
        try:
            urllib.request.urlopen(address, timeout=patience / 2).close()
            found[0] = None
        except urllib.error.HTTPError:
            found[0] = None
        except (OSError, ValueError) as error:
            found[0] = str(error)

    asking = threading.Thread(target=ask, daemon=True)  # a name server that is away can block for minutes
    asking.start()
    asking.join(patience)
    return None if found[0] is None else f"{address}: {found[0]}"
