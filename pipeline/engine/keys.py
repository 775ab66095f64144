"""Addresses of artifacts: a hash of the resolved configuration sections and the upstream keys.

The hash is taken against a committed table of defaults (``key_defaults.json``), so that adding a setting to
the schema changes no existing address: a field that was added after a stage's VERSION was frozen is left
out of the hash while it holds the value that it had when it was added.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from models.configs import MODEL_SCHEMAS, ModelConfig
from models.fields import rule_of
from pipeline.errors import UserError
from pipeline.machine.code_digest import source_of
from pipeline.machine.content_digest import content_of
from pipeline.machine.hub_commits import settled_commit

TABLE = Path(__file__).with_name("key_defaults.json")
KEY_LENGTH = 12
DISCRIMINATORS = {"name", "kind", "source"}
HASHED_AS = {
    "data.text.normalize": "data.text.normalise",
    "surrogate.neighbors": "surrogate.neighbours",
    "regression.centers": "regression.centres",
}
"""Settings that were renamed, each with the name that its addresses hold. A row stays for as long as the setting does:
without it, every artifact that was stored under the old name would be lost."""


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def canonical_json(value: Any) -> str:
    """Serialize plain values in one unique way: sorted keys, no spaces, no NaN.

    Raises
    ------
    UserError
        If a value is not JSON (NaN, infinity, an object): it has no stable address.
    """
    try:
        return _CANONICAL.encode(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"The configuration holds a value that has no unique JSON form: {error}.") from error


def digest(value: Any) -> str:
    """First twelve hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:KEY_LENGTH]


def flatten(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Walk a configuration section as (path, plain value); a model's path carries its type.

    Nested dataclasses open up field by field; lists and free dictionaries are leaves. A renamed setting has the path
    of :data:`HASHED_AS`, and its former spelling in the schema has none.
    """
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        yield HASHED_AS.get(prefix, prefix), _plain(prefix, value)
        return
    if isinstance(value, ModelConfig):
        prefix = f"{prefix}[{value.name}]"
    for field in dataclasses.fields(value):
        if rule_of(field).renamed_to is not None:
            continue
        yield from flatten(f"{prefix}.{field.name}", _hashed(value, field))


def _hashed(section: Any, field: dataclasses.Field[Any]) -> Any:
    """Value of a field as addresses hold it: files by their content, branches by their commit, code with its source."""
    value, rule = getattr(section, field.name), rule_of(field)
    if rule.commit_of:
        repository, selector, *chosen = rule.commit_of
        name = getattr(section, repository)
        if getattr(section, selector) in chosen and name is not None and not Path(name).expanduser().exists():
            return settled_commit(name, value, "model") or value
    if value is None:
        return None
    if rule.files_if:
        selector, *chosen = rule.files_if
        place = Path(value).expanduser()
        if getattr(section, selector) in chosen and place.exists():
            return {"content": content_of(place)}
    return source_of(value) if rule.code else value


def _plain(path: str, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{path} is {value}; an artifact's address needs a finite number.")
    if isinstance(value, Mapping):
        return {str(key): _plain(f"{path}.{key}", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(path, item) for item in value]
    return value


def section(config: Any, dotted: str) -> Any:
    """Look up a dotted section such as ``data.subset`` in a configuration.

    ``seeds`` gives the numbers that the streams have, so that an address does not tell a stream that follows ``seed``
    from one that is held fixed at the same number: both make the same network.
    """
    first, *rest = dotted.split(".")
    for part in ("streams" if first == "seeds" else first, *rest):
        config = getattr(config, part)
    return config


@cache
def defaults_table() -> dict[str, dict[str, Any]]:
    """Read the committed table: per stage its version, frozen fields and fields added since."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


Hashed = dict[tuple[str, str, int], tuple[Any, dict[str, Any]]]
"""Fields of sections that were collected before, by stage, name and identity of the section, which is kept."""


def hashed_sections(
    stage: str, version: int, config: Any, sections: tuple[str, ...], known: Hashed | None = None
) -> dict[str, Any]:
    """Collect the fields of a run's configuration that decide a stage's bytes.

    Parameters
    ----------
    stage : str
        Name of the stage.
    version : int
        Its VERSION; must be the one that the table was frozen for.
    config : RunConfig
        The run's configuration.
    sections : tuple of str
        Dotted names of the sections that the stage depends on.
    known : dict, optional
        What earlier calls collected: the runs of a study share most sections, as one and the same object.

    Returns
    -------
    dict
        Path to plain value, without the added fields that still hold their first value.
    """
    table = defaults_table().get(stage)
    if table is None or table["version"] != version:
        raise UserError(
            f"Stage {stage!r} VERSION {version} has no row in {TABLE.name}; run `python -m pipeline.engine.freeze`."
        )
    hashed: dict[str, Any] = {}
    for dotted in sections:
        part = section(config, dotted)
        memo = (stage, dotted, id(part))
        if known is None or memo not in known:
            fields = _hashed_fields(table, dotted, part)
            if known is None or not dataclasses.is_dataclass(part):  # ids of plain values are shared and reused
                hashed |= fields
                continue
            known[memo] = (part, fields)
        hashed |= known[memo][1]
    return hashed


def _hashed_fields(table: dict[str, Any], dotted: str, part: Any) -> dict[str, Any]:
    hashed: dict[str, Any] = {}
    for path, value in flatten(dotted, part):
        if path in table["added"] and path.rsplit(".", 1)[-1] not in DISCRIMINATORS:
            if value != table["added"][path]:
                hashed[path] = value
        elif path in table["frozen"] or path in table["added"]:
            hashed[path] = value
        else:
            raise UserError(f"{path} is not in {TABLE.name}; run `python -m pipeline.engine.freeze` and commit it.")
    return hashed


def schema_defaults(config: Any, sections: tuple[str, ...]) -> dict[str, Any]:
    """Every field of the sections at its schema default, over all model types."""
    defaults: dict[str, Any] = {}
    for dotted in sections:
        if dotted == "model":
            for schema in MODEL_SCHEMAS.values():
                defaults.update(flatten("model", schema()))
        else:
            defaults.update(flatten(dotted, section(config, dotted)))
    return defaults
