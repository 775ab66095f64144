"""Samples and channels are found wherever a layer keeps them."""

import pytest
import torch
from torch import Tensor, nn

from kernels import find_output_layer, kernel_features, kernel_matrix, layer_features

STEPS = 6


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Recurrent(nn.Module):
    def __init__(self, kind: str, first: bool) -> None:
        super().__init__()
        self.first = first
        if kind == "transformer":
            layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=first)
            self.body: nn.Module = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        else:
            self.body = getattr(nn, kind)(4, 4, batch_first=first)
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x if self.first else x.transpose(0, 1))
        y = self.norm(y[0] if isinstance(y, tuple) else y)
        return self.head(y)[:, -1] if self.first else self.head(y)[-1]


@pytest.mark.parametrize("count", [1, 3, STEPS])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "transformer"])
def test_time_first_layers_give_the_numbers_of_batch_first_ones(kind: str, count: int) -> None:
    torch.manual_seed(0)
    plain, turned = Recurrent(kind, True).eval(), Recurrent(kind, False).eval()
    turned.load_state_dict(plain.state_dict())
    x = torch.randn(count, STEPS, 4, generator=seeded())
    for options in ({"kind": "embedding"}, {"kind": "conjugate"}, {"kind": "embedding", "layers": ["body"]}):
        found, expected = (kernel_matrix(model, x, normalize=False, **options).matrix for model in (turned, plain))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        found, expected = (kernel_features(m, x, sketch=None, batch_size=4, **options).values for m in (turned, plain))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for pool in (None, "flatten", "mean", "first"):
        left, right = (next(layer_features(model, x, "all", pool)).features for model in (turned, plain))
        assert left.keys() == right.keys()
        for name in left:
            torch.testing.assert_close(left[name], right[name], rtol=1e-5, atol=1e-5)


class Views(nn.Module):
    """Two views of each sample in one batch: behind each other, or in turn."""

    def __init__(self, in_turn: bool) -> None:
        super().__init__()
        self.in_turn, self.layer, self.head = in_turn, nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.stack([x, -x / 2], 1).flatten(0, 1) if self.in_turn else torch.cat([x, -x / 2])
        seen = torch.tanh(self.layer(both))
        return self.head(seen.unflatten(0, (-1, 2)).sum(1) if self.in_turn else sum(seen.chunk(2)))


@pytest.mark.parametrize("in_turn", [True, False], ids=["in turn", "behind each other"])
def test_views_of_a_sample_belong_to_it(in_turn: bool) -> None:
    model, x = Views(in_turn).eval(), torch.randn(7, 4, generator=seeded())
    with torch.no_grad():
        own = torch.cat([model.layer(x), model.layer(-x / 2)], 1)
    found = kernel_matrix(model, x, kind="embedding", layers=["layer"], normalize=False, batch_size=3).matrix
    torch.testing.assert_close(found, own @ own.T)
    equal = torch.zeros(9, 4)  # the first samples cannot tell the views apart
    equal[4:] = x[:5]
    with torch.no_grad():
        own = torch.cat([model.layer(equal), model.layer(-equal / 2)], 1)
    found = kernel_matrix(model, equal, kind="embedding", layers=["layer"], normalize=False).matrix
    torch.testing.assert_close(found, own @ own.T)


class Convolutions(nn.Module):
    """Convolutions along time, with what may stand between them and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv1d(4, 7, 3, padding=2), nn.BatchNorm1d(7), nn.ReLU()
        self.cut, self.turned, self.shared = nn.Identity(), nn.Linear(7, 5), nn.Identity()
        self.head = nn.Linear(5, 3)
        self.place = nn.Embedding(STEPS, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.norm(self.conv(x)) * 2.0)
        h = self.cut(h[:, :, :-2])
        h = self.turned(h.transpose(1, 2)) + self.place(torch.arange(STEPS))
        return self.head(self.shared(h.permute(0, 2, 1)).mean(2))


def test_positions_are_averaged_wherever_the_channels_are() -> None:
    model, x = Convolutions().eval(), torch.randn(5, 4, STEPS, generator=seeded())
    whole = {name: value.detach() for name, value in next(layer_features(model, x)).features.items()}
    mean = next(layer_features(model, x, "all", "mean")).features
    first = next(layer_features(model, x, "all", "first")).features
    positions = {"conv": 2, "norm": 2, "relu": 2, "cut": 2, "turned": 1, "shared": 2, "place": 1}
    for name, axis in positions.items():
        torch.testing.assert_close(mean[name], whole[name].mean(axis))
        torch.testing.assert_close(first[name], whole[name].select(axis, 0))
    assert whole["place"].shape == (5, STEPS, 5)  # one table for all samples


class Signals(nn.Module):
    """Images of signals that lose an axis, by each of the ways to do so, before a module that keeps the order."""

    MAKE = {
        "squeeze": lambda h: h.squeeze(2),
        "mean": lambda h: h.mean(2),
        "keyword": lambda h: torch.amax(h, dim=2),
        "pair": lambda h: h.max(2)[0],
        "index": lambda h: h[:, :, 0],
        "select": lambda h: h.select(2, 0),
        "patches": lambda h: nn.functional.unfold(h, (1, 3)),
        "unsqueeze": lambda h: h.squeeze(2).unsqueeze(3),
        "merge": lambda h: h.expand(-1, -1, 2, -1).flatten(1, 2),
        "channel first index": lambda h: h.permute(1, 0, 2, 3)[:, :, 0].transpose(0, 1),
    }

    def __init__(self, way: str) -> None:
        super().__init__()
        self.conv, self.seen, self.head, self.way = nn.Conv2d(1, 5, (4, 1)), nn.ReLU(), nn.LazyLinear(2), way

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.seen(self.MAKE[self.way](self.conv(x))).flatten(1))


@pytest.mark.parametrize("way", Signals.MAKE)
def test_channels_are_followed_where_an_axis_goes(way: str) -> None:
    model, x = Signals(way).eval(), torch.randn(4, 1, 4, 6, generator=seeded())
    model(x)
    whole, mean = (next(layer_features(model, x, ["seen"], pool)).features["seen"] for pool in (None, "mean"))
    torch.testing.assert_close(mean, whole.flatten(2).mean(2))


def test_images_in_either_order() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool, self.last, self.head = (
                nn.Conv2d(3, 5, 3),
                nn.MaxPool2d(2),
                nn.LayerNorm(5),
                nn.Linear(5, 2),
            )

        def forward(self, x: Tensor) -> Tensor:
            h = self.last(self.pool(self.conv(x)).permute(0, 2, 3, 1))
            return self.head(h).mean((1, 2))

    model, x = Both().eval(), torch.randn(4, 3, 8, 8, generator=seeded())
    whole, mean = (next(layer_features(model, x, "all", pool)).features for pool in (None, "mean"))
    for name, axes in {"conv": (2, 3), "pool": (2, 3), "last": (1, 2), "head": (1, 2)}.items():
        torch.testing.assert_close(mean[name], whole[name].mean(axes))


class Coupled(nn.Module):
    def __init__(self, make) -> None:
        super().__init__()
        self.layer, self.watched, self.make = nn.Linear(4, 3), nn.Identity(), make

    def forward(self, x: Tensor) -> Tensor:
        self.watched(self.make(x))
        return self.layer(x)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda x: x @ x.T, "returns shape .3, 3. for 3 samples and .1, 1. for one"),
        (lambda x: x - x.mean(0), "depends on the other samples"),
        (lambda x: x.sum(0), "depends on the other samples"),
        (lambda x: torch.cat([x, x[:1]]), "rows are not samples; leave it out"),
    ],
    ids=["pairs", "centered", "summed", "one more"],
)
def test_outputs_without_samples_are_refused(make, match: str) -> None:
    x = torch.randn(5, 4, generator=seeded())
    for call in (
        lambda: kernel_matrix(Coupled(make).eval(), x, kind="embedding"),
        lambda: next(layer_features(Coupled(make).eval(), x)),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert kernel_matrix(Coupled(make).eval(), x, kind="embedding", layers=["layer"]).shape == (5, 5)


def test_a_module_that_runs_once_per_sample_is_refused() -> None:
    class Looped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.layer(one) for one in x])

    with pytest.raises(ValueError, match="runs 3 times for 3 samples and 1 times for one"):
        kernel_matrix(Looped().eval(), torch.randn(5, 4, generator=seeded()), kind="embedding")


def test_the_output_layer_of_a_time_first_network() -> None:
    model = Recurrent("LSTM", False).eval()
    x = torch.randn(STEPS, STEPS, 4, generator=seeded())
    assert find_output_layer(model, x) == "head"
    with torch.no_grad():
        hidden = model.norm(model.body(x.transpose(0, 1))[0])[-1]
    found = kernel_matrix(model, x, kind="conjugate", normalize=False).matrix
    torch.testing.assert_close(found, hidden @ hidden.T)


def test_an_output_of_one_number_per_sample() -> None:
    class Energy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.energy = nn.Linear(4, 3), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.energy(torch.tanh(self.layer(x)).sum(1))

    model, x = Energy().eval(), torch.randn(5, 4, generator=seeded())
    with torch.no_grad():
        energy = model(x)
    found = kernel_matrix(model, x, kind="embedding", layers=["energy"], normalize=False).matrix
    torch.testing.assert_close(found, energy[:, None] * energy)
    for pool in ("flatten", "mean", "first"):
        batch = next(layer_features(model, x, ["energy"], pool))
        torch.testing.assert_close(batch.features["energy"], energy[:, None])
