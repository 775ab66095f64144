"""Data that several stages are tried on."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stages.image_cases import SMALL


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Overrides that read 3 classes of noisy 8x8 images from files."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    means = rng.integers(40, 160, (3, 8, 8))
    for split, n in (("train", 90), ("test", 30)):
        label = np.arange(n) % 3
        image = np.clip(means[label] + rng.normal(0, 40, (n, 8, 8)), 0, 255).astype(np.uint8)
        np.savez(folder / f"{split}.npz", image=image, label=label)
    return (
        *SMALL,
        "data=fashion_mnist",
        "data.source=path",
        "data.path.format=npz",
        f"data.path.train={folder}/train.npz",
        f"data.path.test={folder}/test.npz",
        "data.class_names=[a,b,c]",
        "data.split.val=0",
        "data.image.mean=null",
        "data.image.std=null",
        "training.epochs=6",
        "kernel.n_train=null",
        "kernel.n_test=null",
    )
