"""Pooled features of padded texts equal those of each text alone, at any batch."""

import pytest
import torch

from models import build_model
from pipeline.data.datamodule import KernelInputs
from pipeline.errors import UserError
from pipeline.stages.features.layers import layer_choice, split_features

LENGTHS = (3, 9, 5, 1)


@pytest.fixture(scope="module")
def network():
    architecture = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16, "vocab_size": 40, "pad_token_id": 0}
    model = build_model(
        "text_classifier",
        input_shape=(9,),
        n_classes=2,
        seed=0,
        family="gpt2",
        weights="random",
        architecture=architecture,
    )
    return model.eval()


def rows(ids):
    mask = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.int64)
    tokens = torch.zeros_like(mask)
    for i, text in enumerate(ids):
        tokens[i, : len(text)], mask[i, : len(text)] = text, 1
    labels = torch.zeros(len(ids), dtype=torch.int64)
    return KernelInputs({"input_ids": tokens, "attention_mask": mask}, torch.arange(len(ids)), labels)


@pytest.mark.parametrize("pool", ["last", "mean", "first"])
def test_padding_and_batches_change_no_readout(network, pool):
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(1, 40, (length,), generator=generator) for length in LENGTHS]
    together = split_features(network, rows(texts), ["transformer.ln_f"], pool)["transformer.ln_f"]
    for i, text in enumerate(texts):
        alone = split_features(network, rows([text]), ["transformer.ln_f"], pool)["transformer.ln_f"]
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-5)


def test_a_network_left_in_training_mode_is_refused(network):
    network.train()
    try:
        with pytest.raises(ValueError, match="evaluation mode"):
            split_features(network, rows([torch.arange(1, 9)]), ["transformer.ln_f"], "mean")
    finally:
        network.eval()


def test_unknown_layers_and_pools_are_refused_with_names(network):
    with pytest.raises(UserError, match="matches no module. Modules: transformer"):
        layer_choice(network, ["encoder.*"])
    with pytest.raises(UserError, match="flatten, mean, last, first"):
        split_features(network, rows([torch.ones(2, dtype=torch.int64)]), ["transformer.ln_f"], "max")
