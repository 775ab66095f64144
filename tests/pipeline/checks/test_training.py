"""Trainings that cannot run are refused before anything is made."""

import pytest

from pipeline.checks.general import check
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError

NARROW = ("model=resnet18", "model.width=4")


def test_a_network_too_narrow_for_channels_last_is_refused():
    check(compose_run(NARROW))
    check(compose_run((*NARROW[:1], "model.width=8", "numerics.memory_format=channels_last")))
    with pytest.raises(UserError, match="set model.width=8 or more, or numerics.memory_format=contiguous"):
        check(compose_run((*NARROW, "numerics.memory_format=channels_last")))


@pytest.mark.parametrize(
    ("words", "offered", "silent"),
    [
        (("data=tweets", "model=mlp"), "holds text rows; choose model=gpt2_tiny, gpt2, bert, minilm.", "resnet18"),
        (("data=fashion_mnist", "model=gpt2"), "holds image rows; choose model=mlp, cnn_mnist2", "two_layer"),
        (("data=regression", "model=gpt2", "training.loss=regression"), "choose model=mlp, two_layer.", "resnet18"),
    ],
    ids=["texts", "images", "targets"],
)
def test_rows_that_a_network_does_not_read_name_those_that_do(words, offered, silent):
    with pytest.raises(UserError) as refused:
        check(compose_run((*words, "stage=train")))
    assert offered in str(refused.value) and silent not in str(refused.value)
