"""The networks of the studies have the published sizes and compute the published functions."""

import math

import pytest
import torch
import torch.nn.functional as F

from models import build_model


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


PUBLISHED = [
    ("mlp", (1, 28, 28), 2, dict(widths=[100] * 3, parameterization="torchntk", init="normal", outputs=1), 98_801),
    ("cnn", (1, 28, 28), 2, dict(variant="mnist2", outputs=1), 39_081),
    ("cnn", (3, 32, 32), 2, dict(variant="cifar2", outputs=1), 94_161),
    ("cnn", (3, 32, 32), 10, dict(variant="poison"), 820_394),
    ("resnet18", (3, 32, 32), 10, dict(), 11_173_962),
    ("resnet18", (3, 32, 32), 10, dict(max_pool=True), 11_173_962),
]


@pytest.mark.parametrize(("name", "shape", "classes", "options", "size"), PUBLISHED)
def test_published_number_of_parameters(name, shape, classes, options, size):
    assert count(build_model(name, input_shape=shape, n_classes=classes, seed=0, **options)) == size


def test_mnist2_mlp_divides_hidden_preactivations_by_ten():
    model = build_model("mlp", input_shape=(1, 28, 28), n_classes=2, seed=1, **PUBLISHED[0][3])
    x = torch.rand(3, 1, 28, 28)
    state = model.state_dict()
    h = x.flatten(1)
    for i in range(3):
        h = F.relu(F.linear(h, state[f"hidden.{i}.linear.weight"], state[f"hidden.{i}.linear.bias"]) / 10)
    expected = F.linear(h, state["head.linear.weight"], state["head.linear.bias"])
    torch.testing.assert_close(model(x), expected)
    assert abs(state["hidden.0.linear.weight"].std().item() - 1) < 0.02


def test_cifar2_cnn_divides_by_the_root_of_each_layers_own_fan():
    model = build_model("cnn", input_shape=(3, 32, 32), n_classes=2, seed=1, variant="cifar2", outputs=1)
    x = torch.rand(2, 3, 32, 32)
    convs = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64, 64, 32, 32, 8, 8]
    h = x
    for i, conv in enumerate(convs):
        h = F.relu(F.conv2d(h, conv.weight, conv.bias, padding=1)) / math.sqrt(9 * conv.out_channels)
        if i % 2:
            h = F.max_pool2d(h, 2)
    h = h.flatten(1)
    for layer in model.hidden:
        h = F.relu(layer.linear(h)) / math.sqrt(layer.linear.out_features)
    torch.testing.assert_close(model(x), model.head(h))


def test_poison_cnn_normalizes_after_the_relu_and_pools_features_by_four():
    model = build_model("cnn", input_shape=(3, 32, 32), n_classes=10, seed=0, variant="poison").eval()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
    assert len(norms) == 8 and all(m.momentum == 0.01 and m.eps == 1e-3 for m in norms)
    assert [type(layer).__name__ for layer in model.stages[0]][:3] == ["Conv2d", "ReLU", "BatchNorm2d"]
    assert model.dense[0][0].in_features == 512
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_resnet18_feature_sizes_with_and_without_max_pool():
    sizes = {}
    for max_pool in (False, True):
        model = build_model("resnet18", input_shape=(3, 32, 32), n_classes=10, seed=0, width=8, max_pool=max_pool)
        shapes: list[int] = []
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            stage.register_forward_hook(lambda _m, _i, out, seen=shapes: seen.append(out[0].numel() * 8))
        model.eval()(torch.rand(1, 3, 32, 32))
        sizes[max_pool] = shapes
    assert sizes[False] == [65_536, 32_768, 16_384, 8_192]
    assert sizes[True] == [16_384, 8_192, 4_096, 2_048]


def test_resnet18_frozen_norm_makes_samples_independent_while_training():
    model = build_model("resnet18", input_shape=(1, 16, 16), n_classes=3, seed=0, width=4, norm="frozen")
    model.train()
    x = torch.rand(4, 1, 16, 16)
    before = model.bn1.running_mean.clone()
    torch.testing.assert_close(model(x)[:1], model(x[:1]))
    assert torch.equal(model.bn1.running_mean, before)
    assert model.training and not model.bn1.training


def test_ntk_parameterization_keeps_the_output_of_order_one_at_any_width():
    spread = []
    for width in (50, 800):
        outputs = [
            build_model(
                "mlp", input_shape=(20,), n_classes=1, seed=s, widths=[width], parameterization="ntk", init="normal"
            )(torch.ones(1, 20)).item()
            for s in range(60)
        ]
        spread.append(torch.tensor(outputs).std().item())
    assert 0.6 < spread[0] / spread[1] < 1.6


def test_glorot_init_has_zero_biases_and_the_right_variance():
    model = build_model("mlp", input_shape=(1,), n_classes=1, seed=0, widths=[128, 128, 128], init="glorot")
    assert all(torch.all(p == 0) for name, p in model.named_parameters() if name.endswith("bias"))
    assert model.hidden[1].linear.weight.var().item() == pytest.approx(2 / 256, rel=0.05)


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("resnet", (3, 32, 32), {}, "unknown model"),
        ("resnet18", (10,), {}, "needs images"),
        ("resnet18", (3, 32, 32), {"norm": "layer"}, "unknown norm"),
        ("cnn", (10,), {}, "needs images"),
        ("cnn", (3, 32, 32), {"variant": "lenet"}, "unknown CNN variant"),
        ("cnn", (3, 4, 4), {}, "too small"),
        ("cnn", (3, 28, 28), {"variant": "poison"}, "multiples of 8"),
        ("mlp", (4,), {"activation": "swish2"}, "unknown activation"),
        ("mlp", (4,), {"parameterization": "mup"}, "unknown parameterization"),
        ("mlp", (4,), {"init": "orthogonal"}, "unknown init"),
        ("mlp", (4,), {"widths": [0]}, "must be positive"),
        ("mlp", (4,), {"frozen_layers": [5]}, "hidden layers are 0 to 1"),
        ("text_classifier", (3, 32, 32), {}, "choose a text data set or an image model"),
        ("vit", (3, 32, 30), {}, "square"),
    ],
)
def test_wrong_choices_are_refused_in_one_sentence(name, shape, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, input_shape=shape, n_classes=2, seed=0, **options)


def test_negative_seed_is_refused_and_zero_is_a_seed():
    with pytest.raises(ValueError, match="non-negative"):
        build_model("mlp", input_shape=(4,), n_classes=2, seed=-1)
    build_model("mlp", input_shape=(4,), n_classes=2, seed=0)


def test_building_depends_on_its_seed_alone_and_leaves_the_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build_model("resnet18", input_shape=(1, 8, 8), n_classes=2, seed=0, width=2)
    assert torch.equal(torch.rand(3), expected)
    second = build_model("resnet18", input_shape=(1, 8, 8), n_classes=2, seed=0, width=2)
    other = build_model("resnet18", input_shape=(1, 8, 8), n_classes=2, seed=1, width=2)
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_frozen_layers_are_not_trained():
    model = build_model("mlp", input_shape=(4,), n_classes=1, seed=0, widths=[5, 5], frozen_layers=[0])
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"hidden.1.linear.weight", "hidden.1.linear.bias", "head.linear.weight", "head.linear.bias"}
