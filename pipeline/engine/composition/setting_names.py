"""Names of all settings; a name that none has is refused with the nearest one that exists."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import cache
from typing import TYPE_CHECKING, Any

from models.configs import MODEL_SCHEMAS
from models.fields import rule_of
from pipeline.config.run import RunConfig, from_composed
from pipeline.engine.scale import CONF
from pipeline.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

_NEAR = 0.76


@cache
def setting_names() -> dict[str, str]:
    """Every dotted name of a setting, those of every network included, with its sentence; no former spellings."""
    names = dict(_walk("", RunConfig()))
    for schema in MODEL_SCHEMAS.values():
        names.update(_walk("model.", schema()))
    return names


def _walk(prefix: str, section: Any) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(section):
        value, rule = getattr(section, field.name), rule_of(field)
        if dataclasses.is_dataclass(value):
            yield from _walk(f"{prefix}{field.name}.", value)
        elif rule.renamed_to is None:
            yield f"{prefix}{field.name}", rule.help


def nearest_setting(name: str) -> str | None:
    """Find the setting that was probably meant: spelled alike, or described by the words of the name.

    Parameters
    ----------
    name : str
        A dotted name that is no setting.

    Returns
    -------
    str or None
        None where nothing is near.

    Examples
    --------
    >>> nearest_setting("training.learning_rate"), nearest_setting("model.widht"), nearest_setting("x.zzz")
    ('training.lr', 'model.width', None)
    """
    section, _, last = name.rpartition(".")
    groups = {path.name: "" for path in CONF.iterdir() if path.is_dir()}
    candidates = groups | setting_names() if not section else setting_names()

    def nearness(candidate: str) -> float:
        place, _, own = candidate.rpartition(".")
        alike = SequenceMatcher(None, last, own).ratio()
        wanted = set(last.lower().split("_"))
        described = set(re.findall(r"[a-z]+", f"{own} {candidates[candidate]}".lower()))
        if wanted <= described and len(last) > 2:
            alike = max(alike, 0.7 + 0.2 * len(wanted) / len(described))
        # the same name in another section is near; an equal section decides between equals
        return alike + 0.2 * (SequenceMatcher(None, section, place).ratio() - 1)

    best = max(candidates, key=nearness)
    return best if nearness(best) >= _NEAR else None


def no_such_setting(name: str) -> str:
    """Say that a setting does not exist, and which one was probably meant.

    Examples
    --------
    >>> no_such_setting("training.learning_rate")
    'There is no setting training.learning_rate; did you mean training.lr?'
    """
    near = nearest_setting(name)
    if near == name:  # such as that of one network beside another one
        section = name.partition(".")[0]
        return f"What is chosen as {section} has no setting {name}; `python run.py --help {section}` says which has."
    if near is not None:
        return f"There is no setting {name}; did you mean {near}?"
    section = name.partition(".")[0]
    known = any(one.startswith(f"{section}.") for one in setting_names())
    return f"There is no setting {name}; `python run.py --help{f' {section}' if known else ''}` lists those that exist."


def run_config(composed: DictConfig) -> RunConfig:
    """Turn a composed configuration into the dataclasses that everything below Hydra works with.

    Raises
    ------
    UserError
        If it holds a setting that the schema does not know (``+training.learning_rate=0.5``), which nothing would read.
    """
    config = from_composed(composed)
    unknown = list(_unknown("", config))
    if unknown:
        raise UserError("\n".join(no_such_setting(name) for name in unknown))
    return config


def _unknown(prefix: str, section: Any) -> Iterator[str]:
    """Attributes of a section that are not its fields: OmegaConf keeps added keys as such."""
    fields = {field.name for field in dataclasses.fields(section)}
    for name, value in vars(section).items():
        if name not in fields and not hasattr(type(section), name):
            inner = f".{next(iter(value))}" if isinstance(value, dict) and value else ""
            yield f"{prefix}{name}{inner}"
        elif dataclasses.is_dataclass(value):
            yield from _unknown(f"{prefix}{name}.", value)
