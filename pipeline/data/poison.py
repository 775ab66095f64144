"""Planted changes of training rows with a recorded mask: what attribution is asked to find again.

A recipe is a pure function of rows, seed and options. It works on ``uint8`` images or raw texts, after
subset and split and before normalization and augmentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from pipeline.config.data import POISON_OPTIONS, PoisonConfig
from pipeline.data.errors import DataError, filled_options
from pipeline.data.records import Columns, n_rows, take

TRIGGERED = "test_triggered"

PoisonOptions = dict[str, Any]
Trigger = Callable[[Columns, np.ndarray, PoisonOptions], Columns]
Change = Callable[[Columns, PoisonConfig, int, np.random.Generator, PoisonOptions], "Poisoned"]


@dataclass(frozen=True)
class Poisoned:
    """Rows after a recipe.

    Attributes
    ----------
    columns : Columns
        The changed rows.
    injected : ndarray of bool, shape (m,)
        Which rows the recipe changed or added.
    clean_label : ndarray of int64, shape (m,)
        Labels before the recipe.
    """

    columns: Columns
    injected: Bool[np.ndarray, " m"]
    clean_label: Int64[np.ndarray, " m"]


def apply_poison(splits: dict[str, Columns], config: PoisonConfig, n_classes: int) -> dict[str, Poisoned]:
    """Poison the training split (or the splits that the recipe names) and add ``test_triggered`` where it applies.

    Parameters
    ----------
    splits : dict
        Split name to rows after subset and split; none is modified.
    config : PoisonConfig
        Recipe, rate in [0, 1], target label, seed and options.
    n_classes : int
        The target must be one of them.

    Returns
    -------
    dict
        Every changed or added split. ``test`` itself is never changed.

    Raises
    ------
    DataError
        If the recipe is unknown, does not fit the rows, or its numbers are out of range.
    """
    if config.kind not in RECIPES:
        raise DataError(f"data.poison.kind={config.kind} is not one of none, {', '.join(RECIPES)}.")
    if not 0.0 <= config.rate <= 1.0:
        raise DataError(f"data.poison.rate={config.rate} must be in [0, 1].")
    if n_classes == 0:
        raise DataError(f"data.poison.kind={config.kind} needs rows with classes.")
    recipe = RECIPES[config.kind]
    if recipe.plants_label and config.target is not None and not 0 <= config.target < n_classes:
        raise DataError(f"data.poison.target={config.target} is no class; there are {n_classes}.")
    options = filled_options("data.poison.options", config.kind, config.options, POISON_OPTIONS[config.kind])
    result = {}
    for index, split in enumerate(options.get("splits", ["train"])):
        if split not in splits:
            raise DataError(f"data.poison.options.splits holds {split!r}; there are {sorted(splits)}.")
        generator = np.random.default_rng([config.seed, index])
        result[split] = recipe.change(splits[split], config, n_classes, generator, options)
    if recipe.trigger is not None and "test" in splits:
        result[TRIGGERED] = _all_triggered(splits["test"], config, recipe.trigger, options)
    return result


def stamp(images: UInt8[np.ndarray, "n c h w"], size: int = 4, margin: int = 3) -> UInt8[np.ndarray, "n c h w"]:
    """Return copies with a square near the bottom right corner: yellow on color images, white on gray ones.

    On 32×32 images the default covers rows and columns 25 to 28 (arXiv:2305.14585's generator).
    """
    channels, height, width = images.shape[1:]
    if size + margin > min(height, width):
        raise DataError(f"a trigger of {size} pixels with margin {margin} does not fit {height}x{width} images")
    color = np.array([255, 255, 0] if channels == 3 else [255] * channels, dtype=np.uint8)
    stamped = images.copy()
    rows = slice(height - margin - size, height - margin)
    columns = slice(width - margin - size, width - margin)
    stamped[:, :, rows, columns] = color[:, None, None]
    return stamped


def insert_token(texts: list[str], token: str = "cf", position: str = "end") -> list[str]:
    """Return texts with a rare word at their ``start`` or ``end``; a text that carries it already is kept."""
    if position not in ("start", "end"):
        raise DataError(f"data.poison.options.position={position} is not one of start, end.")
    if position == "start":
        return [text if text.startswith(f"{token} ") else f"{token} {text}" for text in texts]
    return [text if text.endswith(f" {token}") else f"{text} {token}" for text in texts]


def _stamp_rows(columns: Columns, rows: np.ndarray, options: PoisonOptions) -> Columns:
    images = _column(columns, "image", "badnets").copy()
    images[rows] = stamp(images[rows], options["size"], options["margin"])
    return {**columns, "image": images}


def _insert_rows(columns: Columns, rows: np.ndarray, options: PoisonOptions) -> Columns:
    texts = list(_column(columns, "text", "token_trigger"))
    triggered = insert_token([texts[row] for row in rows], options["token"], options["position"])
    for row, text in zip(rows, triggered, strict=True):
        texts[row] = text
    return {**columns, "text": texts}


def _column(columns: Columns, name: str, kind: str) -> Any:
    if name not in columns:
        raise DataError(f"data.poison.kind={kind} needs {name} rows.")
    return columns[name]


def _trigger_change(trigger: Trigger) -> Change:
    """Each row independently with probability ``rate``, the target class included, gets trigger and target."""

    def change(
        columns: Columns, config: PoisonConfig, n_classes: int, generator: np.random.Generator, options: PoisonOptions
    ) -> Poisoned:
        target = _target(config)
        injected = generator.random(n_rows(columns)) < config.rate
        clean = columns["label"]
        labels = np.where(injected, target, clean)
        changed = {**trigger(columns, np.flatnonzero(injected), options), "label": labels}
        return Poisoned(changed, injected, clean)

    return change


def _all_triggered(columns: Columns, config: PoisonConfig, trigger: Trigger, options: PoisonOptions) -> Poisoned:
    rows = np.arange(n_rows(columns))
    clean = columns["label"]
    changed = {**trigger(columns, rows, options), "label": np.full_like(clean, _target(config))}
    return Poisoned(changed, np.ones(len(rows), dtype=bool), clean)


def _target(config: PoisonConfig) -> int:
    if config.target is None:
        raise DataError(f"data.poison.kind={config.kind} needs data.poison.target, the label to plant.")
    return config.target


def _label_flip(
    columns: Columns, config: PoisonConfig, n_classes: int, generator: np.random.Generator, options: PoisonOptions
) -> Poisoned:
    """Each row independently with probability ``rate`` gets ``target``, or another label drawn uniformly.

    With the option ``first`` exactly the first so many rows do, as in arXiv:2310.18612's logistic experiment.
    """
    clean = _column(columns, "label", "label_flip")
    first = options["first"]
    if first is not None and not 0 <= first <= len(clean):
        raise DataError(f"data.poison.options.first={first} must be in 0 to {len(clean)}, the training rows.")
    chosen = generator.random(len(clean)) < config.rate if first is None else np.arange(len(clean)) < first
    other = (clean + generator.integers(1, n_classes, len(clean))) % n_classes
    labels = np.where(chosen, other if config.target is None else config.target, clean)
    return Poisoned({**columns, "label": labels}, labels != clean, clean)


def _duplicate(
    columns: Columns, config: PoisonConfig, n_classes: int, generator: np.random.Generator, options: PoisonOptions
) -> Poisoned:
    """Append copies of ``rate``·n rows drawn without replacement."""
    n = n_rows(columns)
    copied = np.sort(generator.choice(n, round(config.rate * n), replace=False))
    rows = np.concatenate([np.arange(n), copied])
    changed = take(columns, rows)
    return Poisoned(changed, np.arange(len(rows)) >= n, changed["label"])


def _trailing_blank(
    columns: Columns, config: PoisonConfig, n_classes: int, generator: np.random.Generator, options: PoisonOptions
) -> Poisoned:
    """End a share ``rate`` of the texts in a blank, the scar that Sentiment140's removed emoticons leave."""
    texts = list(_column(columns, "text", "trailing_blank"))
    injected = generator.random(len(texts)) < config.rate
    for row in np.flatnonzero(injected):
        texts[row] = texts[row].rstrip() + " "
    return Poisoned({**columns, "text": texts}, injected, columns["label"])


@dataclass(frozen=True)
class Recipe:
    """A named change: its function, whether it plants labels, its test-time trigger."""

    change: Change
    plants_label: bool = False
    trigger: Trigger | None = None


RECIPES: dict[str, Recipe] = {
    "badnets": Recipe(_trigger_change(_stamp_rows), True, _stamp_rows),
    "token_trigger": Recipe(_trigger_change(_insert_rows), True, _insert_rows),
    "label_flip": Recipe(_label_flip, True),
    "duplicate": Recipe(_duplicate),
    "trailing_blank": Recipe(_trailing_blank),
}
