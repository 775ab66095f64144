"""``scale=published``: an experiment's own overrides of its published setting, put before those of the command."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"
PUBLISHED = "scale=published"


@cache
def published_block(name: str, places: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read the ``published`` block of an experiment's file.

    Parameters
    ----------
    name : str
        Of the experiment.
    places : tuple of str
        Folders of configuration files of one's own, which come before ``conf``.

    Raises
    ------
    UserError
        If there is no such experiment.
    """
    from omegaconf import OmegaConf

    files = (Path(place) / "experiment" / f"{name}.yaml" for place in (*places, str(CONF)))
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        known = sorted(found.stem for found in (CONF / "experiment").glob("*.yaml"))
        raise UserError(
            f"scale=published needs an experiment of conf/experiment, and {name!r} is none: leave scale out, or choose "
            f"one of {', '.join(known)}."
        )
    return OmegaConf.to_container(OmegaConf.load(path)).get("published", {})  # type: ignore[union-attr]


def published_overrides(words: Sequence[str], places: tuple[str, ...] = ()) -> list[str]:
    """List the overrides of the published setting that a command asks for; none where it does not.

    Parameters
    ----------
    words : sequence of str
        Overrides of the command.
    places : tuple of str
        Folders of configuration files of one's own.

    Raises
    ------
    UserError
        If it names no experiment, or one without a published setting.
    """
    if _last(words, "scale") != "published":
        return []
    name = _last(words, "experiment")
    if name is None or name == "null":
        raise UserError("scale=published needs an experiment: add experiment=NAME, or leave scale out.")
    block = published_block(name, places)
    if block.get("kind", "ours") != "protocol":
        raise UserError(
            f"experiment={name} has no published setting ({block.get('why', 'the question is our own')}): leave "
            "scale=published out."
        )
    if block.get("experiment"):
        raise UserError(
            f"experiment={name} runs on stand-ins; its published setting is that of another experiment: use "
            f"experiment={block['experiment']} scale=published."
        )
    return [str(word) for word in block.get("overrides", [])]


def expanded(words: Sequence[str], places: tuple[str, ...] = ()) -> list[str]:
    """Put the published setting of the experiment before the other overrides of a command, which win over it.

    Examples
    --------
    >>> expanded(["experiment=quickstart", "stage=status"])
    ['experiment=quickstart', 'stage=status']
    """
    added = published_overrides(words, places)
    if not added or list(words[: len(added)]) == added:
        return list(words)
    start = next(i for i, word in enumerate(words) if "=" in word and not word.startswith("-"))
    return [*words[:start], *added, *words[start:]]


def collapsed(words: Sequence[str]) -> list[str]:
    """Take what `expanded` added away again, so that printed commands are as short as those that were typed."""
    added = published_overrides(words)
    if added and list(words[: len(added)]) == added:
        return list(words[len(added) :])
    return list(words)


def _last(words: Sequence[str], name: str) -> str | None:
    """Value of the last override of a name."""
    found = [word.partition("=")[2] for word in words if word.lstrip("+").startswith(f"{name}=")]
    return found[-1].strip(" '\"") if found else None
