"""Weights that others published reach the error that they published, and go through every later stage."""

import pytest

PUBLISHED = {20: 0.0827, 32: 0.0737, 44: 0.0689, 56: 0.0661}
"""Test errors measured with these files; 6.89 % at depth 44 was published as 6.90."""


def words(shared_data, store, *more):
    """Overrides of the experiment on the data beside the checkout."""
    return (
        "experiment=published_resnets",
        f"weights.path={shared_data}/cifar_resnets/resnet{{model.depth}}-*.th",
        "data.source=path",
        f"data.path.train={shared_data}/cifar10/train.parquet",
        f"data.path.test={shared_data}/cifar10/test.parquet",
        f"paths.store={store}",
        *more,
    )


@pytest.mark.slow
@pytest.mark.parametrize("depth", [20])
def test_a_published_network_reaches_its_error(shared_data, shared_store, run_here, depth):
    more = ("stage=train", f"model.depth={depth}", "data.subset.per_class=10")
    made = run_here(*words(shared_data, shared_store, *more))
    assert round(1 - made.metrics["test_accuracy"], 4) == PUBLISHED[depth]
    assert made.metrics["test_n"] == 10_000 and made.metrics["stripped"] == "module."
