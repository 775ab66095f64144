"""A batch of one row is refused before training where batch normalization cannot learn from it, and only there."""

import pytest
import torch
from torch import nn

from pipeline.data.batch_order import BatchOrder
from pipeline.errors import UserError
from pipeline.training.single_rows import fewest_rows, refuse_single_rows
from tests.pipeline.training_cases import Blobs

FLAT = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
PICTURES = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))


def test_the_advised_size_of_batch_works():
    data = Blobs()  # 70 training rows
    with pytest.raises(UserError, match="training.batch_size=23 cuts 70 training rows .*; set training.batch_size=22"):
        refuse_single_rows(FLAT, data, 23)
    refuse_single_rows(FLAT, data, 22)
    with pytest.raises(UserError, match="a batch of a rank has one row"):
        refuse_single_rows(FLAT, data, 12, world_size=8)
    assert FLAT[2].num_batches_tracked == 0, "the network itself is left as it was"


def test_one_picture_has_statistics_of_its_own_and_networks_without_normalization_need_none():
    refuse_single_rows(PICTURES, Blobs(), 23)
    refuse_single_rows(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), Blobs(), 1)


@pytest.mark.parametrize(
    ("n", "size", "ranks"), [(54, 53, 1), (70, 23, 1), (7, 9, 2), (10, 4, 3), (5, 5, 1), (9, 2, 4)]
)
def test_the_fewest_rows_are_those_of_the_batches_that_training_sees(n, size, ranks):
    order = BatchOrder(n, size, seed=0)
    seen = min(len(rows) for rank in range(ranks) for rows in order.epoch(0, rank, ranks))
    assert fewest_rows(n, size, ranks) == seen
    assert torch.is_tensor(next(order.epoch(0)))
