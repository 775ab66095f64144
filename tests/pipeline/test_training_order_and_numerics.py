"""Batch order and step seeds are functions of (seed, epoch or step); numerics and weights fail in plain words."""

import dataclasses

import pytest
import torch

from models.configs import MLPConfig, ResNet18Config, TextClassifierConfig
from pipeline.config.numerics import NumericsConfig
from pipeline.data.batch_order import BatchOrder, augment_seed, dropout_seed
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.training.networks import build_network, load_weights, save_weights
from tests.pipeline.training_cases import Blobs, run_config


def epoch_rows(order: BatchOrder, epoch: int, **ranks: int) -> list[list[int]]:
    return [rows.tolist() for rows in order.epoch(epoch, **ranks)]


def test_every_epoch_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    order = BatchOrder(23, 5, seed=4)
    assert len(order) == 5 and [len(rows) for rows in order.epoch(0)] == [5, 5, 5, 5, 3]
    assert sorted(sum(epoch_rows(order, 3), [])) == list(range(23))
    torch.manual_seed(0)
    list(order.epoch(1))
    assert epoch_rows(order, 2) == epoch_rows(BatchOrder(23, 5, seed=4), 2)
    assert len({str(epoch_rows(BatchOrder(23, 5, seed=s), e)) for s in (0, 1) for e in (0, 1)}) == 4
    assert epoch_rows(BatchOrder(3, 2, seed=9, shuffle=False), 7) == [[0, 1], [2]]


def test_ranks_share_each_batch_in_equal_parts():
    order = BatchOrder(23, 6, seed=0)
    whole = epoch_rows(order, 1)
    parts = [epoch_rows(order, 1, rank=rank, world_size=2) for rank in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert len(first) == len(second) and set(first) | set(second) <= set(batch)
    assert set(sum(parts[0][:3], []) + sum(parts[1][:3], [])) == set(sum(whole[:3], []))


def test_impossible_orders_are_refused():
    with pytest.raises(ValueError, match="no training rows"):
        BatchOrder(0, 5, seed=0)
    with pytest.raises(ValueError, match="batch_size"):
        BatchOrder(5, 0, seed=0)


def test_step_seeds_differ_between_streams_steps_seeds_and_ranks():
    words = [f(s, t) for f in (augment_seed, dropout_seed) for s in (0, 1) for t in (0, 1)]
    assert len({*words, dropout_seed(0, 0, rank=1)}) == 9
    assert all(0 <= word < 2**63 for word in words)


def test_arithmetic_is_put_back_after_an_error():
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    with pytest.raises(ZeroDivisionError), arithmetic(NumericsConfig(threads=before[0] + 1)):
        assert torch.get_num_threads() == before[0] + 1 and torch.are_deterministic_algorithms_enabled()
        raise ZeroDivisionError
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_unknown_or_absent_devices_are_refused(monkeypatch):
    with (
        pytest.raises(UserError, match="numerics.device=tpu is not one of cpu, cuda"),
        arithmetic(NumericsConfig(device="tpu")),
    ):
        pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no usable GPU"), arithmetic(NumericsConfig(device="cuda")):
        pass


def test_network_follows_its_configuration_and_weights_round_trip(tmp_path):
    config = run_config()
    config.model = MLPConfig(widths=[8])
    model = build_network(config, Blobs())
    digest = save_weights(model, tmp_path / "w.safetensors")
    config.seeds = dataclasses.replace(config.seeds, init=1)
    other = build_network(config, Blobs())
    assert save_weights(other, tmp_path / "v.safetensors") != digest
    assert save_weights(load_weights(other, tmp_path / "w.safetensors"), tmp_path / "u.safetensors") == digest


def test_misfits_between_model_data_and_weights_are_one_sentence(tmp_path):
    config = run_config()
    config.model = TextClassifierConfig()
    with pytest.raises(UserError, match="choose a text data set or an image model"):
        build_network(config, Blobs())
    config.model = MLPConfig(widths=[8])
    small = build_network(config, Blobs())
    save_weights(small, tmp_path / "w.safetensors")
    config.model = ResNet18Config(width=2)
    with pytest.raises(UserError, match="does not fit the configured network"):
        load_weights(build_network(config, Blobs()), tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:100])
    with pytest.raises(UserError, match="is damaged"):
        load_weights(small, tmp_path / "w.safetensors")
