"""Which tokens of training texts speak for which tokens of a test text: the tangent kernel split over token pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kernels import token_products
from pipeline.data.datamodule import DataModule, KernelInputs

PAIRS = 5
"""Strongest pairs of tokens that are kept of each two texts."""


def token_rows(
    network: nn.Module,
    data: DataModule,
    points: KernelInputs,
    tests: np.ndarray,
    classes: np.ndarray,
    train: KernelInputs,
    chosen: np.ndarray,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split the product of log-odds gradients of each test text and its chosen training texts.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    data : DataModule
        For its tokenizer.
    points, train : KernelInputs
        Test and training texts.
    tests, classes : ndarray of int, shape (m,)
        Places of the test texts, and their attributed classes.
    chosen : ndarray of int, shape (m, k)
        Places of their training texts.

    Returns
    -------
    tokens, pairs : list of dict
        Value of every token, summed over the other text's; and the strongest pairs.
    """
    tokens: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for number, (test, label, places) in enumerate(zip(tests, classes, chosen, strict=True)):
        left, right = _take(points, [int(test)]), _take(train, places.tolist())
        found = token_products(
            network,
            left,
            right,
            cotangent="log_odds",
            labels=train.labels[torch.from_numpy(places)],
            test_labels=torch.tensor([int(label)]),
        )
        for rank in range(len(places)):
            grid = found.pairs[0, rank].numpy()
            own, other = _words(data, left, 0), _words(data, right, rank)
            grid = grid[: len(own), : len(other)]
            about = {"test": number, "rank": rank + 1, "rest": float(found.rest[0, rank])}
            for side, words, values in (("test", own, grid.sum(1)), ("train", other, grid.sum(0))):
                tokens += [
                    {**about, "side": side, "place": i, "token": word, "value": float(values[i])}
                    for i, word in enumerate(words)
                ]
            strongest = np.argsort(-np.abs(grid).ravel(), kind="stable")[:PAIRS]
            for i, j in zip(*np.unravel_index(strongest, grid.shape), strict=True):
                pairs.append({**about, "test token": own[i], "training token": other[j], "value": float(grid[i, j])})
    return tokens, pairs


def _take(points: KernelInputs, rows: list[int]) -> dict[str, Tensor]:
    assert isinstance(points.inputs, dict)
    return {name: value[rows] for name, value in points.inputs.items()}


def _words(data: DataModule, inputs: dict[str, Tensor], row: int) -> list[str]:
    ids = inputs["input_ids"][row][inputs["attention_mask"][row] != 0].tolist()
    return [data.tokenizer.decode([one]) for one in ids]
