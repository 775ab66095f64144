"""Readable part of a folder's name: data, network, what its settings say beyond the usual, and the seed.

A slug is a function of what the address holds, so that two commands that need the same artifact name one folder. It
helps people only; the key alone identifies the artifact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.engine import keys
from pipeline.shown_text import visible

NAMED = {
    "training.optimizer": "",
    "training.lr": "lr",
    "training.attack.radius": "attack",
    "weights.source": "",
    "weights.step": "step",
    "data.synthetic.function": "",
    "data.text.normalise": "",
    "data.drop": "drop",
    "data.keep": "keep",
    "toy.optimizer": "",
    "toy.rate": "rate",
    "toy.samples": "n",
    "regression.protocol": "",
    "regression.penalty_unit": "",
    "kernel.kind": "",
    "kernel.sketch": "",
    "kernel.precision": "",
    "surrogate.kind": "",
}
"""Settings that a slug shows besides those of the network, where they differ from the usual, each with the word before
its value."""
USUAL = {"model[mlp].widths": [256, 256], "training.optimizer": "nesterov", "training.lr": 0.05}
"""What a command without overrides has, where the schema has another value."""
_ALWAYS = {"kernel.kind"}
_MOST, _LONGEST_WORD, _MOST_FIELDS = 80, 24, 3
_LONGEST = 180
"""Bytes of a slug: a file system takes names of 255, and a key and what marks a construction are added to it."""
_MODEL = re.compile(r"model\[[^]]*\]\.(\w+)")


def own_words(stage: str, sections: Mapping[str, Any]) -> dict[str, str]:
    """Give the words that a stage's hashed settings add to its slug, by setting.

    Parameters
    ----------
    stage : str
        Whose usual values count.
    sections : mapping
        Hashed settings of the artifact.
    """
    table = keys.defaults_table().get(stage, {"frozen": {}, "added": {}})
    found = {}
    for path, value in sections.items():
        of_model = _MODEL.fullmatch(path) if path.startswith("model[") else None
        if of_model is None and path not in NAMED:
            continue
        usual = USUAL.get(path, table["frozen"].get(path, table["added"].get(path)))
        if (of_model is not None and of_model[1] == "name") or (value == usual and path not in _ALWAYS):
            continue
        if word := _word(of_model[1] if of_model else NAMED[path], value):
            found[path] = word
    return found


def slug_of(config: RunConfig, gathers: bool, stage: str, words: Mapping[str, str]) -> str:
    """Put a slug together.

    Parameters
    ----------
    config : RunConfig
        Of the run.
    gathers : bool
        Whether the stage gathers cells: its slug is the experiment's name.
    stage : str
        Name of the stage.
    words : mapping
        Words by setting, its own and those of what it rests on.
    """
    if gathers:
        return folder_word(config.experiment_name)
    if stage == "prepare":
        return folder_word(config.data.name)
    if stage == "outputs":
        return f"{folder_word(config.data.name)}-s{config.seed}"
    order = {path: place for place, path in enumerate(NAMED)}
    ordered = [words[path] for path in sorted(words, key=lambda path: (order.get(path, -1), path))]
    network = folder_word(config.model.shown)
    seed = f"-s{config.streams.init}"
    name = "-".join([folder_word(config.data.name), network, *_shortened(ordered)])
    return name.encode()[: _LONGEST - len(seed)].decode(errors="ignore") + seed


def _shortened(words: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for word in dict.fromkeys(words):
        if sum(len(one) + 1 for one in (*kept, word)) <= _MOST:
            kept.append(word)
    return kept


def _word(name: str, value: Any) -> str:
    """Write a setting as one word; empty for what no word can say, such as a mapping."""
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    if isinstance(value, (int, float)):
        return f"{name}{value:g}" if isinstance(value, float) else f"{name}{value}"
    if isinstance(value, str):
        return re.sub(r"[^\w.]+", "_", value).strip("_.")[:_LONGEST_WORD]
    if isinstance(value, dict) and name in ("args", "architecture"):
        words = [_word(key, item) for key, item in value.items() if isinstance(item, (int, float, str))]
        return "-".join(filter(None, words[:_MOST_FIELDS]))
    if isinstance(value, list) and name in ("drop", "keep"):
        return f"{name}{len(value)}"
    if isinstance(value, list) and 0 < len(value) <= 4 and all(isinstance(item, int) for item in value):
        return name + "x".join(map(str, value))
    return ""


def folder_word(name: str) -> str:
    """Part of a folder's name: one folder, none that steers a terminal; a path to elsewhere is left to be refused."""
    elsewhere = name.startswith("/") or ".." in name.split("/")
    return name if elsewhere else visible(name).replace("/", "_").replace("\n", "_")
