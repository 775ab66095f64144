"""Pooled features of padded texts equal those of each text alone, at any batch."""

import pytest
import torch
from torch import Tensor, nn

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


class Signals(nn.Module):
    """A convolution over time, then a recurrent layer that has time first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn, self.logits = nn.Conv1d(3, 4, 2), nn.GRU(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.rnn(torch.tanh(self.conv(x)).permute(2, 0, 1))[0][-1])


@pytest.mark.parametrize("pool", ["mean", "first", "last"])
def test_positions_are_pooled_wherever_a_network_keeps_them(pool):
    torch.manual_seed(0)
    network, x = Signals().eval(), torch.randn(6, 3, 9, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        waves = network.conv(x)  # (6, 4, 8)
        steps = network.rnn(torch.tanh(waves).permute(2, 0, 1))[0]  # (8, 6, 5)
    read = {"mean": lambda h: h.mean(0), "first": lambda h: h[0], "last": lambda h: h[-1]}[pool]
    points = KernelInputs(x, torch.arange(6), torch.zeros(6, dtype=torch.int64))
    found = split_features(network, points, ["conv", "rnn"], pool)
    torch.testing.assert_close(found["conv"], read(waves.permute(2, 0, 1)))
    torch.testing.assert_close(found["rnn"], read(steps))


def test_a_layer_that_is_called_like_another_entry_is_refused():
    with pytest.raises(UserError, match="'l.*' matches the module logits, whose name is that of another entry"):
        layer_choice(Signals(), ["l*"])


def test_tokens_are_counted_where_positions_are_tokens():
    class Strided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.conv, self.head = nn.Embedding(40, 3), nn.Conv1d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            h = self.table(input_ids) * attention_mask[..., None]
            return self.head(self.conv(h.transpose(1, 2)).mean(2))

    texts = rows([torch.arange(1, 6), torch.arange(1, 4)])
    with pytest.raises(UserError, match="layer conv has 3 positions for 5 tokens"):
        split_features(Strided().eval(), texts, ["conv"], "mean")


@pytest.mark.parametrize("pool", ["first", "last"])
def test_pixels_have_no_first_and_no_last(pool):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)).eval()
    points = KernelInputs(torch.randn(3, 1, 4, 4), torch.arange(3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(UserError, match=f"layer 0 are pixels, of which none is {pool}; take features.pool=mean"):
        split_features(network, points, ["0"], pool)
    assert split_features(network, points, ["1"], pool)["1"].shape == (3, 8)
