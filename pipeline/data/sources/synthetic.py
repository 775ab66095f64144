"""Generated data: functions on a grid, a toy classification, and the two-layer teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from pipeline.config.data import SYNTHETIC_OPTIONS, SyntheticConfig
from pipeline.data.errors import DataError, filled_options
from pipeline.data.records import Columns, Records
from pipeline.data.sources.sizes import refuse_too_large

VERSION = 1
"""Part of the identity of generated data; raised when a generator's numbers change."""

Targets = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]

TARGETS: dict[str, Targets] = {
    "exp_sin": lambda x: np.exp(np.sin(2 * np.pi * x)),
    "exp_3x": lambda x: np.exp(3 * x),
    "cos_exp_3x": lambda x: np.cos(np.exp(3 * x)),
}
"""Regression targets of arXiv:2310.18612 on [-1, 1]."""


def grid(n: int, form: str) -> Float[np.ndarray, " n"]:
    """Place points on [-1, 1].

    Parameters
    ----------
    n : int
        Number of points.
    form : {"open", "closed", "gauss"}
        ``open``: uniform from -1 to 1 - 2/n, so that the last test points extrapolate (the published grid);
        ``closed``: uniform with both ends; ``gauss``: Gauss-Legendre nodes.

    Raises
    ------
    DataError
        If the form is unknown.
    """
    if form == "open":
        return -1.0 + 2.0 * np.arange(n) / n
    if form == "closed":
        return np.linspace(-1.0, 1.0, n)
    if form == "gauss":
        return np.polynomial.legendre.leggauss(n)[0]
    raise DataError(f"grid={form} is not one of open, closed, gauss.")


def function_regression(config: SyntheticConfig) -> Records:
    """Sample one of ``TARGETS`` on a training and a test grid, without noise.

    With 200 and 600 points every third test point is a training point (arXiv:2310.18612, experiment R1).
    """
    form = _options(config)["grid"]
    target = TARGETS[str(config.function)]
    splits = {}
    for split, n in (("train", config.n_train), ("test", config.n_test)):
        x = grid(n, form)
        splits[split] = {"x": x[:, None], "y": target(x)[:, None]}
    return Records("vector", splits, licence="generated")


def parabola_classification(config: SyntheticConfig) -> Records:
    """Classify points of [-1, 1]²: 1 iff x₂ > (1 + 3x₁ - 4x₁²)/5 (arXiv:2310.18612, experiment R2).

    Options ``train_grid`` and ``test_grid`` give points per axis (published: 12×8 and 23×22; they, not
    ``n_train`` and ``n_test``, set the size); the labels of the first ``flip`` training points are wrong.
    """
    options = _options(config)
    splits: dict[str, Columns] = {}
    for split in ("train", "test"):
        across, up = options[f"{split}_grid"]
        x = np.stack(np.meshgrid(np.linspace(-1, 1, across), np.linspace(-1, 1, up), indexing="ij"), -1)
        x = x.reshape(-1, 2)
        label = (x[:, 1] > (1 + 3 * x[:, 0] - 4 * x[:, 0] ** 2) / 5).astype(np.int64)
        splits[split] = {"x": x, "label": label}
    flip, n = options["flip"], len(splits["train"]["label"])
    if flip > n:
        raise DataError(f"data.synthetic.options.flip={flip} is more than the {n} training points.")
    splits["train"]["label"][:flip] = 1 - splits["train"]["label"][:flip]
    return Records("vector", splits, ["below", "above"], licence="generated")


def teacher_regression(config: SyntheticConfig) -> Records:
    """Draw Gaussian inputs with a single- or multi-index teacher's targets (arXiv:2211.06506, section 2).

    Options: ``features`` (d), ``activation``, ``normalized``, ``noise``, ``quadratic`` (τ), ``indices``. Test
    rows share the teacher's directions, which are kept as the constant ``directions`` (k, d).
    """
    import torch

    from models.two_layer import sample_teacher

    options = _options(config)
    features = options.pop("features")
    generator = torch.Generator().manual_seed(config.seed)
    settings = {**options, "dtype": torch.float64}
    train = sample_teacher(config.n_train, features, generator, **settings)
    test = sample_teacher(config.n_test, features, generator, directions=train.directions, **settings)
    splits: dict[str, Columns] = {
        split: {"x": sample.inputs.numpy(), "y": sample.targets.numpy()[:, None]}
        for split, sample in (("train", train), ("test", test))
    }
    constants = {"directions": train.directions.numpy()}
    return Records("vector", splits, licence="generated", constants=constants)


GENERATORS: dict[str, Callable[[SyntheticConfig], Records]] = {
    **dict.fromkeys(TARGETS, function_regression),
    "parabola": parabola_classification,
    "teacher": teacher_regression,
}


def load_synthetic(config: SyntheticConfig) -> Records:
    """Generate a data set.

    Raises
    ------
    DataError
        If the function is unknown, an option does not belong to it, or a size is not positive.
    """
    if config.function not in GENERATORS:
        raise DataError(f"data.synthetic.function={config.function} is not one of {', '.join(GENERATORS)}.")
    rows = max(config.n_train, 1) + max(config.n_test, 1)
    width = config.options.get("features", 2)
    refuse_too_large(8 * rows * (width if isinstance(width, int) else 2), f"data.synthetic with {rows} rows")
    records = GENERATORS[config.function](config)
    records.source = f"generated: {config.function}"
    return records


def _options(config: SyntheticConfig) -> dict[str, Any]:
    name = str(config.function)
    return filled_options("data.synthetic.options", name, config.options, SYNTHETIC_OPTIONS[name])
