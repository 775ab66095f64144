"""Why something is made anew: the settings that differ from the most similar artifact that exists already."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.graph import Node
from pipeline.errors import UserError

_LOOKED_AT = 40
"""New artifacts of a stage, and earlier ones, that are compared."""
_SHOWN = 3
_SEEDS = ("seed", "seeds.")


def reasons(nodes: Sequence[Node], store: Store) -> list[str]:
    """Say for each stage which settings are new, as ``train: training.lr 0.05 -> 0.02``.

    A stage is left out where its artifacts are new only because those that they rest on are, because another seed is
    asked for, or because there is nothing to compare them with.

    Parameters
    ----------
    nodes : sequence of Node
        What is to be made.
    store : Store
        Where earlier artifacts lie.
    """
    said = []
    for stage in dict.fromkeys(node.stage.name for node in nodes):
        newest = store.newest(stage, _LOOKED_AT)
        earlier = [settings for artifact in newest if (settings := _settings(artifact))]
        if not earlier:
            continue
        new = [node for node in nodes if node.stage.name == stage][:_LOOKED_AT]
        counts = Counter(text for node in new if (text := _difference(node, earlier)))
        said += [f"{stage}: {text}" for text, _ in counts.most_common(_SHOWN)]
    return said


def _difference(node: Node, earlier: Sequence[dict[str, Any]]) -> str:
    mine = _plain(node.sections)
    found = [
        {name for name in mine.keys() | one.keys() if mine.get(name) != one.get(name)} - {"stage"} for one in earlier
    ]
    nearest = min(range(len(found)), key=lambda i: (len(found[i]), i))
    names = sorted(name for name in found[nearest] if not name.startswith(_SEEDS))
    then = earlier[nearest]
    shown = [f"{name} {_value(then, name)} -> {_value(mine, name)}" for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _plain(sections: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(sections))


def _value(settings: dict[str, Any], name: str) -> str:
    text = json.dumps(settings[name], ensure_ascii=False) if name in settings else "default"
    return text if len(text) <= 40 else text[:37] + "..."


def _settings(artifact: Artifact) -> dict[str, Any]:
    try:
        return artifact.settings
    except (UserError, ValueError, KeyError):  # a damaged record explains nothing
        return {}
