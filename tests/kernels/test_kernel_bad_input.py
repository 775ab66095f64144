"""Bad input gives one clear error that says what is wrong, where, and what to do."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from kernels import kernel_matrix, layer_factors, layer_features, plan_kernel, verify
from tests.kernels.cases import BY_NAME, make
from tests.kernels.small_models import Root
from tests.references import per_sample_jacobian as slow

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def linear() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # some tests need units that are alive
        return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


def refused(error: type[Exception], match: str, model: nn.Module, *data, **options) -> None:
    with pytest.raises(error, match=match):
        kernel_matrix(model, *(data or (X,)), **options)


def test_training_mode_names_the_layers_and_can_be_switched() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    refused(ValueError, r"1 \(BatchNorm1d, in training mode\), 2 \(Dropout", model)
    kernel_matrix(model, X, eval_mode=True)
    assert all(module.training for module in model.modules())
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3)).eval()
    refused(ValueError, "no running statistics", model)


def test_samples_that_interact_are_refused() -> None:
    class Centered(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - x.mean(0))

    refused(ValueError, "depends on the other samples", Centered(4, 3))

    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(super().forward(x), 0.5, training=True)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        refused(ValueError, "dropout", Noisy(4, 3))


def test_probabilities_give_a_warning() -> None:
    with pytest.warns(UserWarning, match="softmax"):
        kernel_matrix(nn.Sequential(linear(), nn.Softmax(1)), X)


def test_outputs_of_another_shape() -> None:
    class Wrapped(nn.Module):
        def __init__(self, make) -> None:
            super().__init__()
            self.inner, self.make = linear(), make

        def forward(self, x: Tensor):
            return self.make(self.inner(x))

    expected = kernel_matrix(linear(), X).matrix
    model = Wrapped(lambda f: {"logits": f})
    model.inner.load_state_dict(linear().state_dict())
    kernel_matrix(model, X)
    refused(ValueError, r"shape \(6, 3, 1\)|shape \(1, 3, 1\)|shape \(3, 3, 1\)", Wrapped(lambda f: f[..., None]))
    refused(TypeError, "tuple, not logits; pass output=", Wrapped(lambda f: (f, f)))
    refused(TypeError, "differentiable", Wrapped(lambda f: f.argmax(1, keepdim=True)))
    assert kernel_matrix(Wrapped(lambda f: (f, f)), X, output=lambda pair: pair[0]).shape == expected.shape
    refused(ValueError, "does not depend on its trainable parameters", Wrapped(lambda f: f.detach()))


def test_unused_parameters_are_listed_and_unknown_names_refused() -> None:
    model = linear()
    model.register_module("spare", nn.Linear(2, 2))
    model.forward = lambda x: model[2](model[1](model[0](x)))
    assert kernel_matrix(model, X).metadata["coverage"]["unused"] == ["spare.weight", "spare.bias"]
    refused(ValueError, "no parameter or module named 'nothing'", linear(), layers=["nothing"])
    frozen = linear().requires_grad_(False)
    refused(ValueError, "every one is frozen", frozen)
    refused(ValueError, "no parameters", nn.Flatten())


def test_a_parameter_that_only_later_samples_reach_counts_there() -> None:
    class Rare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.common, self.rare, self.scale = linear(), nn.Linear(4, 3), nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            f = self.common(x)
            for branch in (self.rare, lambda x: x[:, :3] * self.scale.exp()):
                if bool((x[:, 0] > 5).any()):
                    f = torch.where(x[:, :1] > 5, branch(x), f)
            return f

    model, data = Rare(), X.clone()
    data[4, 0] = 6.0
    jacobian = slow.flat(slow.jacobian(model.double(), data.double()))
    for fallback in ([], ["rare", "scale", "common"]):
        for size in (None, 2):
            found = kernel_matrix(
                model, data.double(), precision="float64", normalize=False, fallback=fallback, batch_size=size
            )
            torch.testing.assert_close(found.matrix, slow.trntk(jacobian, jacobian), rtol=1e-10, atol=1e-10)
    refused(RuntimeError, "pass fallback=", model, data.double(), layerwise=True, precision="float64")


def test_zero_gradients_are_listed_never_nan() -> None:
    model = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Tanh(), nn.Linear(5, 3, bias=False))
    data = X.clone()
    data[[1, 4]] = 0
    refused(ValueError, r"train samples \[1, 4\] have zero", model, data)
    found = kernel_matrix(model, data, zero_gradient="zero").matrix
    assert found.isfinite().all() and not found[[1, 4]].any() and found[0, 0] == 1
    refused(ValueError, r"test samples \[0\]", model, X, data[1:3])
    assert kernel_matrix(model, data, normalize=False).matrix.isfinite().all()


def test_numbers_that_are_not_finite() -> None:
    data = X.clone()
    data[3, 1] = float("nan")
    refused(ValueError, "train sample 3 has NaN", linear(), data)
    refused(ValueError, "test sample 3 has NaN", linear(), X, data)

    data = X.clone()
    data[5] = 0
    refused(ValueError, "gradient of inner.weight is NaN or infinite for train sample 5", Root(), data)
    refused(ValueError, "gradient of inner.weight is NaN or infinite for test sample 2", Root(), X, data[3:])
    refused(ValueError, "gradient of inner.weight is NaN or infinite for train sample 5", Root(), data, batch_size=2)


class Roots(nn.Module):
    """Roots of a table's rows: the gradient is infinite where a sample reads a row of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(300, 4), nn.Linear(4, 3)
        with torch.no_grad():
            self.table.weight.abs_()[7] = 0

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids).sqrt().sum(1))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", ["trntk", "entk"])
def test_an_infinite_gradient_that_the_other_side_does_not_meet(kind: str, normalize: bool) -> None:
    ids = torch.randint(10, 300, (10, 4), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[3, 1] = 7
    options = {"kind": kind, "normalize": normalize}
    infinite = "gradient of table.weight is NaN or infinite for {} sample 3"
    refused(ValueError, infinite.format("test"), Roots(), ids, other, **options)
    refused(ValueError, infinite.format("train"), Roots(), other, ids, **options)
    refused(ValueError, infinite.format("train"), Roots(), other, block_rows=4, batch_size=2, **options)


def test_products_that_are_not_finite() -> None:
    data = X.clone()
    data[5] = 1e20  # finite, as is the gradient
    refused(ValueError, "squared gradient of 0.weight is infinite in float32 for train sample 5", linear(), data)
    refused(ValueError, "kernel of test sample 5 with itself .*precision='float64'", linear(), X, data)
    assert kernel_matrix(linear(), data, precision="float64").matrix.isfinite().all()
    network = nn.Sequential(*[nn.Linear(1, 1, bias=False) for _ in range(12)])
    for layer in network:
        nn.init.ones_(layer.weight)
    large = torch.full((3, 1), 0.9 * torch.finfo(torch.float32).max ** 0.5)
    assert kernel_matrix(network[:1], large, normalize=False).matrix.isfinite().all()
    refused(ValueError, "sums over layers are infinite in float32", network, large)


def test_what_overflows_half_precision_does_not_overflow_here() -> None:
    model, data = linear().half(), X.clone()
    data[5] = 300.0  # its squared norm is beyond float16
    found = kernel_matrix(model, data.half(), kind="pntk", normalize=False).matrix
    expected = kernel_matrix(model.double(), data.half().double(), kind="pntk", normalize=False, precision="float64")
    assert found.dtype == torch.float32 and float(found[5, 5]) > torch.finfo(torch.float16).max
    torch.testing.assert_close(found.double(), expected.matrix, rtol=1e-5, atol=1e-5)
    next(model.parameters()).data[0, 0] = float("inf")
    refused(ValueError, "NaN or infinite", model.half(), data.half())


def test_autocast_changes_no_number_inside_or_outside_the_model() -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.enabled = linear(), False

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.enabled):
                return self.inner(x)

    model = Cast()
    plain = kernel_matrix(model, X).matrix
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outside = kernel_matrix(model, X).matrix
        assert torch.is_autocast_enabled("cpu") and linear()(X).dtype == torch.bfloat16
    model.enabled = True
    assert torch.equal(outside, plain) and torch.equal(kernel_matrix(model, X).matrix, plain)
    assert model(X).dtype == torch.bfloat16


def test_a_converted_model_keeps_its_complex_tables() -> None:
    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.register_buffer("turn", torch.polar(torch.ones(2), torch.tensor([0.5, 1.5])))

        def forward(self, x: Tensor) -> Tensor:
            h = torch.view_as_complex(torch.tanh(self.inner(x)).unflatten(1, (2, 2)))
            return torch.view_as_real(h * self.turn).flatten(1)

    torch.manual_seed(0)
    model = Rotary()
    exact = kernel_matrix(model, X, normalize=False).matrix
    found = kernel_matrix(model, X, normalize=False, precision="float64").matrix
    torch.testing.assert_close(found.float(), exact, rtol=1e-4, atol=1e-5)


def test_budgets() -> None:
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 4)
    refused(MemoryError, "not even one sample fits.*larger", model, inputs, precision="float64", memory=1000)
    refused(ValueError, "'12 bananas' is not a size", linear(), memory="12 bananas")
    with pytest.raises(MemoryError, match="out='gram.safetensors'"):
        plan_kernel(linear(), X[:1].expand(3_000_000, 4))
    plan = plan_kernel(linear(), X, memory="1GiB")
    assert "0.weight (+1)" in str(plan) and plan.flops > 0 and plan.seconds > 0


def test_loaders() -> None:
    data = TensorDataset(X, torch.arange(6))
    refused(ValueError, "shuffles.*shuffle=False", linear(), DataLoader(data, shuffle=True))

    class Augmenting(TensorDataset):
        calls = 0

        def __getitem__(self, index: int) -> tuple[Tensor, ...]:
            Augmenting.calls += 1
            return (X[index] + Augmenting.calls,)

    refused(ValueError, "two passes.*augments", linear(), DataLoader(Augmenting(X), batch_size=3))
    refused(ValueError, "no samples", linear(), X[:0])
    refused(TypeError, "pass a tensor, a mapping of tensors or a DataLoader", linear(), 3)
    refused(TypeError, "as_tensor", linear(), X.numpy())
    refused(TypeError, "train input 'a' is ndarray, not a tensor", linear(), {"a": X.numpy()})
    refused(ValueError, "single number", linear(), X.sum())
    refused(ValueError, "layout torch.sparse_coo", linear(), {"a": X.to_sparse()})
    refused(ValueError, "mapping has no inputs", linear(), {})
    refused(ValueError, "unequal numbers", linear(), {"a": X, "b": X[:2]})
    refused(ValueError, "5 labels for 6 train samples", linear(), labels=torch.zeros(5, dtype=torch.long))
    whole = kernel_matrix(linear(), X).shape
    assert kernel_matrix(linear(), DataLoader(data, batch_size=4)).shape == whole


def test_labels_of_another_kind() -> None:
    one = nn.Linear(4, 1)
    options = {"kind": "loss_gradient"}
    refused(ValueError, "zeros and ones.*values from -1 to 1", one, labels=[-1, 1, 1, -1, 1, 1], **options)
    refused(ValueError, "zeros and ones.*values from 0 to 2", one, labels=[0, 1, 2, 0, 1, 2], **options)
    refused(ValueError, "class indices below 3.*float32", linear(), labels=torch.ones(6), **options)
    labels = torch.tensor([0, 1, 1, 0, 1, 1])
    for model in (one, linear()):
        found = [kernel_matrix(model, X, labels=kind, **options) for kind in (labels, labels.tolist(), labels.numpy())]
        assert torch.equal(found[0].matrix, found[1].matrix) and torch.equal(found[0].matrix, found[2].matrix)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_models_of_another_kind() -> None:
    refused(TypeError, "_orig_mod", torch.compile(linear()))
    refused(TypeError, "1 is compiled.*1._orig_mod", nn.Sequential(nn.Linear(4, 4), torch.compile(linear())))
    in_place = linear()
    in_place.compile()
    refused(TypeError, r"in place by compile\(\)", in_place)
    turned = linear()
    turned[0].weight = nn.Parameter(turned[0].weight.detach().to(torch.complex64))
    refused(TypeError, "0.weight is complex", turned)
    refused(TypeError, "model.module", nn.DataParallel(linear()))
    refused(ValueError, "meta device", nn.Linear(4, 3, device="meta"))
    refused(ValueError, "float64.*precision='float64'", linear().double(), X.double())
    refused(TypeError, "TorchScript", torch.jit.trace(linear(), X))
    quantized = type("Linear", (nn.Linear,), {"__module__": "torch.ao.nn.quantized.modules.linear"})
    refused(TypeError, "quantized layers.*before conversion", nn.Sequential(quantized(4, 3)))
    sharded = linear()
    sharded[0].weight = type("DTensor", (nn.Parameter,), {})(sharded[0].weight.detach())
    refused(TypeError, "0.weight is sharded.*gather", sharded)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "pNTK0"}, "kind='pNTK0': use one of trntk.*version 1"),
        ({"precision": "float8"}, "unknown precision"),
        ({"normalize": "yes"}, "normalize='yes'"),
        ({"zero_gradient": "nan"}, "zero_gradient='nan'"),
        ({"layerwise": "layer"}, "layerwise='layer'"),
        ({"forms": "magic"}, "forms='magic': use one of position"),
        ({"forms": {"0.weight": "shift"}}, "has no form 'shift'"),
        ({"block_rows": 0}, "block_rows=0"),
        ({"layerwise": {"a": ["0"], "b": ["0.weight"]}}, "several groups"),
        ({"layerwise": {"a": ["0"], "b": ["nothing"]}}, "names 'nothing', which is not a parameter"),
        ({"kind": "conjugate", "output_layer": "9"}, "no module '9'"),
        ({"kind": "embedding", "layers": ["9"]}, "no module '9'"),
    ],
)
def test_unknown_options(options: dict, match: str) -> None:
    refused(ValueError, match, linear(), **options)


def test_embeddings_whose_gradient_is_not_per_sample() -> None:
    model = nn.Sequential(nn.Embedding(9, 4, scale_grad_by_freq=True), nn.Flatten(), nn.Linear(8, 3))
    refused(ValueError, "scale_grad_by_freq", model, torch.arange(6).reshape(3, 2))
    model = nn.Sequential(nn.Embedding(9, 4, max_norm=1.0), nn.Flatten(), nn.Linear(8, 3))
    refused(ValueError, "max_norm", model, torch.arange(6).reshape(3, 2))


def test_gradient_flags_and_hooks_are_restored_after_an_error() -> None:
    model = linear()
    model[0].weight.requires_grad_(False)
    with pytest.raises(ZeroDivisionError):
        kernel_matrix(model, X, output=lambda f: 1 / 0)
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_factor_and_feature_streams_check_their_arguments() -> None:
    with pytest.raises(ValueError, match="needs labels"):
        next(layer_factors(linear(), X, cotangent="loss"))
    with pytest.raises(ValueError, match="unknown cotangent"):
        next(layer_factors(linear(), X, cotangent="mean"))
    with pytest.raises(ValueError, match="must return one scalar per sample"):
        next(layer_factors(linear(), X, cotangent=lambda f, _: f.sum()))
    with pytest.raises(ValueError, match="unknown pool"):
        next(layer_features(linear(), X, pool="max"))
    with pytest.raises(ValueError, match="at least two samples"):
        verify(linear(), X[:1])
