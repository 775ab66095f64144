"""Schema of an experiment's published setting."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import choice, setting


@dataclass
class PublishedConfig:
    """The setting that published numbers belong to: scale=published composes it, verdicts are compared with it."""

    kind: str = choice(
        "ours",
        "protocol",
        default="ours",
        help="protocol: published, as overrides; ours: the question is our own, so nothing is reproduced.",
    )
    experiment: str | None = setting(
        None, "protocol: another experiment whose published setting it is, where other data or networks stand in here."
    )
    overrides: list[str] = setting([], "Overrides that make it, before those of the command.")
    why: str = setting("", "ours: why there is no published setting.")
    unknown: str = setting("", "What the publication does not say, so that any choice of it is at the setting.")
    lacks: str = setting("", "What overrides cannot make, so that no run is at the setting.")
    train_hours: float | None = setting(
        None, "Core hours to train one seed at it, over all networks, as measured on one CPU core.", at_least=0
    )
    rest_hours: float | None = setting(None, "Core hours of one seed's other stages.", at_least=0)
