"""Subset and split of a whole data set, by the rules of ``split``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.config.data import SplitConfig, SubsetConfig
from pipeline.data.errors import DataError, refuse_unfit
from pipeline.data.records import UNLABELED, Columns, n_rows, take
from pipeline.data.split import held_out, leaked_rows, stream, subset_rows

COLA_PNTK_TRAIN = 6840
COLA_PNTK_TEST = 1352


def subset(splits: dict[str, Columns], config: SubsetConfig, data_seed: int) -> dict[str, Columns]:
    """Keep the wanted classes, relabeled 0, 1, ... in their given order, and the wanted number of rows of each.

    ``per_class`` and ``balance`` rule the training rows, ``test_per_class`` all other splits. Regression
    targets and splits without labels pass through.

    Raises
    ------
    DataError
        If ``train`` or ``test`` lacks a wanted class, or an option is unknown.
    """
    refuse_unfit("data.subset", config)
    generator = stream(data_seed, "subset")
    result = {}
    for split, columns in splits.items():
        labels = columns.get("label")
        if labels is None or (labels == UNLABELED).all():
            result[split] = columns
            continue
        limit = config.per_class if split == "train" else config.test_per_class
        classes = config.classes
        if split == "train" and config.balance == "downsample":
            rarest = min(int((labels == value).sum()) for value in (classes or np.unique(labels)))
            limit = rarest if limit is None else min(limit, rarest)
        if classes is not None and split not in ("train", "test"):
            classes = [value for value in classes if (labels == value).any()]
        kept = take(columns, subset_rows(labels, classes, limit, config.pick, generator))
        if config.classes is not None:
            new = {old: index for index, old in enumerate(config.classes)}
            kept["label"] = np.array([new[label] for label in kept["label"].tolist()], dtype=np.int64)
        result[split] = kept
    return result


def divide(
    splits: dict[str, Columns], config: SplitConfig, data_seed: int, drops: dict[str, int]
) -> dict[str, Columns]:
    """Cut ``val`` and ``test``, where there are none, from the training rows, and keep leaks out of these.

    Parameters
    ----------
    splits : dict
        Split name to rows.
    config : SplitConfig
        Shares, stratification, treatment of leaks, or a paper's recipe.
    data_seed : int
        Decides which rows are cut.
    drops : dict
        Receives the numbers of leaked rows.

    Raises
    ------
    DataError
        If an option is unknown, leaks are refused and there are some, all rows are leaks, or a class loses its last
        training row.
    """
    refuse_unfit("data.split", config)
    if "train" not in splits:
        return splits
    if config.recipe is not None:
        return RECIPES[config.recipe](splits)
    result = dict(splits)
    if "label" not in splits["train"]:  # regression on a grid: the points are the design, nothing is cut
        return result
    tests = [split for split in splits if split.startswith("test")]
    own_val = "val" in splits
    if own_val:
        result["val"] = _without_leaks(splits, "val", tests, config.leaks, drops)
    result["train"] = _without_leaks(result, "train", [*tests, "val"] if own_val else tests, config.leaks, drops)
    if "test" not in result:
        result |= _cut(result["train"], "test", config.test, config, data_seed)
    if not own_val:
        result |= _cut(result["train"], "val", config.val, config, data_seed)
    lost = np.setdiff1d(splits["train"]["label"], result["train"]["label"])
    if lost.size:
        raise DataError(
            f"data.split leaves no training row of class {', '.join(map(str, lost[:5]))}; add rows of it, name test "
            "rows by data.path.test, or cut fewer by data.split.test and data.split.val (0: none)."
        )
    return result


def _cut(train: Columns, name: str, share: float, config: SplitConfig, data_seed: int) -> dict[str, Columns]:
    taken = held_out(train, share, config.stratify, stream(data_seed, name))
    if taken.all():
        raise DataError(f"data.split.{name}={share} leaves none of the {len(taken)} training rows.")
    if not taken.any():
        return {}
    return {"train": take(train, np.flatnonzero(~taken)), name: take(train, np.flatnonzero(taken))}


def _without_leaks(
    splits: dict[str, Columns], split: str, others: Sequence[str], leaks: str, drops: dict[str, int]
) -> Columns:
    """Rows of a split that are in none of the others."""
    rows = splits[split]
    if leaks == "keep":
        return rows
    leaked = leaked_rows(rows, [splits[other] for other in others])
    if not leaked.any():
        return rows
    kind = {"train": "training", "val": "validation"}[split]
    where = "a test split" if "val" not in others else "the test or validation rows"
    if leaks == "refuse" or leaked.all():
        raise DataError(
            f"{int(leaked.sum())} of {len(leaked)} {kind} rows also occur in {where} (same content or group). "
            f"data.split.leaks=drop takes them out of the {kind} rows, =keep leaves them in."
        )
    drops[f"{kind} row also in {where}"] = int(leaked.sum())
    return take(rows, np.flatnonzero(~leaked))


def _cola_pntk(splits: dict[str, Columns]) -> dict[str, Columns]:
    """CoLA's in-domain sentences as arXiv:2305.14585 divides them: seed 0, 6,840 to train, 1,352 to test.

    The published kernel covers 8,192 of 8,551 rows; the 359 left over become ``val``, and the official
    in-domain dev set ``test_dev``. That the permutation is torch's ``randperm`` is our reading of the code.
    """
    train = splits["train"]
    if n_rows(train) < COLA_PNTK_TRAIN + COLA_PNTK_TEST:
        raise DataError(f"data.split.recipe=cola_pntk needs 8,551 sentences; this view has {n_rows(train)}.")
    order = torch.randperm(n_rows(train), generator=torch.Generator().manual_seed(0)).numpy()
    parts = np.split(order, [COLA_PNTK_TRAIN, COLA_PNTK_TRAIN + COLA_PNTK_TEST])
    result = {"test_dev" if split == "test" else split: columns for split, columns in splits.items()}
    for split, rows in zip(("train", "test", "val"), parts, strict=True):
        result[split] = take(train, rows)
    return {split: columns for split, columns in result.items() if n_rows(columns)}


RECIPES = {"cola_pntk": _cola_pntk}
