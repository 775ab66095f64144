"""Products with every kernel of every case equal the Jacobian's; options, arrays and inputs are those of the matrix."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from kernels import KernelOperator, kernel_matrix
from tests.kernels.cases import BY_NAME, CASES, Case, make
from tests.kernels.small_models import Root
from tests.references import per_sample_jacobian as slow

DOUBLE = {"precision": "float64"}
OFTEN = (
    "mlp_one_output", "batchnorm2d", "tied_language_model", "weight_norm",
)  # fmt: skip
X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def linear() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


def references(model: nn.Module, inputs, labels: Tensor) -> dict[str, Tensor]:
    jacobian = slow.flat(slow.jacobian(model, inputs))
    error = slow.loss_cotangent(slow.logits(model, inputs).detach(), labels)
    flat = jacobian.flatten(0, 1)  # rows sample by sample, logit by logit
    return {
        "trntk": slow.trntk(jacobian, jacobian),
        "pntk": slow.pntk(jacobian, jacobian),
        "entk": flat @ flat.T,
        "loss_gradient": slow.contracted(jacobian, error, jacobian, error),
    }


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


def whole(op: KernelOperator) -> Tensor:
    return op @ torch.eye(op.shape[1], dtype=torch.float64)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if case.name in OFTEN else [pytest.mark.slow]) for case in CASES],
    ids=[case.name for case in CASES],
)
def test_products_are_the_jacobians(case: Case) -> None:
    model, inputs, labels = make(case, 5)
    for kind, expected in references(model, inputs, labels).items():
        for options in ({"batch_size": 2, "memory": "2KB"}, {}):  # computed again, or kept between products
            op = KernelOperator(model, inputs, kind=kind, labels=labels, **DOUBLE, **options)
            close(whole(op), expected)
            assert op.metadata["kept"] == (not options and op.metadata["route"] != "loop")
    assert op.metadata["certificate"]["products"] == op.metadata["products"] == 5


def test_rectangular_kernels_and_their_transposes() -> None:
    model, inputs, labels = make(BY_NAME["mlp"], 7)
    train, test = inputs[:4], inputs[4:]
    for kind, expected in references(model, inputs, labels).items():
        if kind == "loss_gradient":
            continue
        c = 3 if kind == "entk" else 1
        cross = expected[4 * c :, : 4 * c]
        op = KernelOperator(model, train, test, kind=kind, batch_size=2, **DOUBLE)
        assert op.shape == cross.shape
        close(whole(op), cross)
        close(op.__rmatmul__(torch.eye(3 * c).double()), cross)
    predicted = kernel_matrix(model, train, test, kind="loss_gradient", labels=labels[:4], normalize=False, **DOUBLE)
    close(
        whole(KernelOperator(model, train, test, kind="loss_gradient", labels=labels[:4], **DOUBLE)), predicted.matrix
    )


def test_cosines_parts_and_zero_gradients() -> None:
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 5)
    for kind in ("trntk", "pntk"):
        expected = kernel_matrix(model, inputs, kind=kind, **DOUBLE).matrix
        op = KernelOperator(model, inputs, kind=kind, normalize=True, **DOUBLE)
        close(whole(op), expected)
        assert op.trace().value == 5 and torch.equal(op.diagonal(), torch.ones(5).double())
    cross = kernel_matrix(model, inputs[:3], inputs[3:], layers=["4"], **DOUBLE).matrix
    close(whole(KernelOperator(model, inputs[:3], inputs[3:], layers=["4"], normalize=True, **DOUBLE)), cross)
    bare = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Tanh(), nn.Linear(5, 3, bias=False))
    data = X.clone()
    data[[1, 4]] = 0
    with pytest.raises(ValueError, match=r"train samples \[1, 4\] have zero"):
        KernelOperator(bare, data, normalize=True) @ torch.ones(6)
    found = KernelOperator(bare, data, normalize=True, zero_gradient="zero")
    assert found.trace().value == 4 and not (found @ torch.ones(6))[[1, 4]].any()


def test_full_entk_cosine_and_diagonal() -> None:
    model, inputs, labels = make(BY_NAME["mlp"], 4)
    expected = references(model, inputs, labels)["entk"]
    op = KernelOperator(model, inputs, kind="entk", **DOUBLE)
    close(op.diagonal(), expected.diagonal())
    roots = expected.diagonal().rsqrt()
    close(
        whole(KernelOperator(model, inputs, kind="entk", normalize=True, **DOUBLE)), roots[:, None] * expected * roots
    )


def test_a_small_budget_splits_vectors_and_classes() -> None:
    model, inputs, labels = make(BY_NAME["mlp"], 6)
    expected = references(model, inputs, labels)
    for kind in ("trntk", "entk"):
        op = KernelOperator(model, inputs, kind=kind, memory=1, **DOUBLE)
        assert op.metadata["batch_size"] == 1
        close(whole(op), expected[kind])


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_recurrent_networks_in_float32(name: str) -> None:
    model, inputs, labels = make(BY_NAME[name], 4)
    expected = references(model, inputs, labels)["pntk"]
    model.float()
    for memory in ("20KB", None):
        op = KernelOperator(model, inputs.float(), kind="pntk", batch_size=3, memory=memory)
        found = op @ torch.eye(4)
        assert op.metadata["route"] == "forward" and found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def test_one_sample_loaders_and_generators() -> None:
    model, inputs, labels = make(BY_NAME["mlp"], 6)
    expected = references(model, inputs, labels)
    one = KernelOperator(model, inputs[:1], **DOUBLE)
    close(whole(one), expected["trntk"][:1, :1])
    assert one.eigenvalues(1).values[0] == pytest.approx(float(expected["trntk"][0, 0]))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), batch_size=4)
    close(whole(KernelOperator(model, loader, kind="loss_gradient", **DOUBLE)), expected["loss_gradient"])
    op = KernelOperator(model, iter([inputs[:4], inputs[4:]]), normalize=True, **DOUBLE)
    close(whole(op), kernel_matrix(model, inputs, **DOUBLE).matrix)


def test_arrays_of_any_kind_and_scipy() -> None:
    model, inputs, labels = make(BY_NAME["mlp"], 6)
    expected = references(model, inputs, labels)["pntk"].numpy()
    op = KernelOperator(model, inputs, kind="pntk", **DOUBLE)
    v = np.arange(6.0)
    np.testing.assert_allclose(op @ v, expected @ v, rtol=1e-10)
    np.testing.assert_allclose(v @ op, v @ expected, rtol=1e-10)
    np.testing.assert_allclose(np.eye(6)[:2] @ op, expected[:2], rtol=1e-9)
    assert (op @ v.astype(np.float32)).dtype == np.float32 and (op @ torch.ones(6).half()).dtype == torch.float32
    assert (op @ np.ones((6, 2))).shape == (6, 2) and len(op) == 6 and "pntk, 6 x 6" in repr(op)
    scipy = op.as_linear_operator()
    np.testing.assert_allclose(scipy @ v, expected @ v, rtol=1e-10)
    np.testing.assert_allclose(scipy.T @ np.eye(6), expected.T, rtol=1e-9)
    top = eigsh(scipy, k=2, return_eigenvectors=False)
    np.testing.assert_allclose(top, np.linalg.eigvalsh(expected)[-2:], rtol=1e-8)


@pytest.mark.parametrize(
    ("error", "match", "vector"),
    [
        (ValueError, r"shape \(5,\), and the kernel 6 columns: pass \(6,\), or \(6, k\)", torch.ones(5)),
        (ValueError, r"shape \(2, 6\)", torch.ones(2, 6)),
        (ValueError, r"shape \(\)", torch.ones(())),
        (TypeError, "is int64: convert it to floating point", torch.arange(6)),
        (TypeError, "is complex128", np.ones(6, complex)),
        (ValueError, "NaN or infinity in row 2", torch.tensor([0, 1, float("nan"), 0, 0, 0])),
        (ValueError, "overflows float32.*precision='float64'", np.full(6, 1e300)),
    ],
    ids=["length", "transposed", "scalar", "integers", "complex", "nan", "overflow"],
)
def test_vectors_that_cannot_be_multiplied(error: type[Exception], match: str, vector) -> None:
    with pytest.raises(error, match=match):
        KernelOperator(linear(), X) @ vector


@pytest.mark.parametrize(
    ("error", "match", "data", "options"),
    [
        (ValueError, "kind='conjugate': use one of trntk, pntk, entk, loss_gradient", X, {"kind": "conjugate"}),
        (TypeError, "unknown option 'layer', did you mean 'layers'", X, {"layer": "0"}),
        (ValueError, "precision='bfloat16'.*float32 or float64", X, {"precision": "bfloat16"}),
        (ValueError, "train data holds no samples", X[:0], {}),
        (ValueError, "no parameter or module named 'nothing'", X, {"layers": ["nothing"]}),
        (ValueError, "needs labels", X, {"kind": "loss_gradient"}),
        (
            ValueError,
            "the label of train sample 3 is 3",
            X,
            {"kind": "loss_gradient", "labels": [0, 1, 2, 3, 4, 5]},
        ),
        (
            ValueError,
            "shuffles.*shuffle=False",
            torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X), shuffle=True),
            {},
        ),
    ],
    ids=["kind", "option", "precision", "empty", "layers", "labels", "label", "shuffled"],
)
def test_operators_that_cannot_be_made(error: type[Exception], match: str, data, options: dict) -> None:
    with pytest.raises(error, match=match):
        KernelOperator(linear(), data, **options)


def test_training_mode_is_refused_also_when_it_comes_later() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, 3))
    with pytest.raises(ValueError, match=r"1 \(Dropout, in training mode\)"):
        KernelOperator(model, X)
    op = KernelOperator(model.eval(), X, eval_mode=True)
    expected = op @ torch.ones(6)
    model.train()
    assert torch.equal(op @ torch.ones(6), expected) and model[1].training
    strict = KernelOperator(model.eval(), X)
    model.train()
    with pytest.raises(ValueError, match="Dropout, in training mode"):
        strict @ torch.ones(6)


def test_weights_must_stay_and_the_model_is_left_as_it_was() -> None:
    model = linear()
    model[0].bias.requires_grad_(False)
    model[0].weight.register_hook(lambda gradient: None)
    plain = linear()
    plain[0].bias.requires_grad_(False)
    op = KernelOperator(model, X)
    assert torch.equal(op @ torch.ones(6), KernelOperator(plain, X) @ torch.ones(6))
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert model[0].weight._backward_hooks and all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        model[2].weight.mul_(2)
    with pytest.raises(RuntimeError, match="2.weight has changed since the operator was made"):
        op @ torch.ones(6)
    with pytest.raises(ZeroDivisionError):
        KernelOperator(model, X, output=lambda f: 1 / 0)
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]


@pytest.mark.parametrize("hook", [lambda gradient: 3 * gradient, lambda gradient: gradient.mul_(3)], ids=["new", "in"])
def test_hooks_that_change_gradients_are_refused(hook) -> None:
    model = linear()
    model[0].weight.register_hook(hook)
    with pytest.raises(ValueError, match="a hook on 0.weight changes its gradients.*remove the hook"):
        KernelOperator(model, X)


def test_numbers_that_are_not_finite_are_named() -> None:
    data = X.clone()
    data[5] = 0
    with pytest.raises(ValueError, match="gradient of inner.weight is NaN or infinite for train sample 5"):
        KernelOperator(Root(), data, batch_size=2) @ torch.ones(6)


@pytest.mark.parametrize("name", ["self_attention", "shared_position_bias"])
def test_fused_attention_is_taken_apart_for_tangents(name: str) -> None:
    model, inputs, labels = make(BY_NAME[name], 3)
    op = KernelOperator(model, inputs, **DOUBLE)
    close(whole(op), references(model, inputs, labels)["trntk"])
    assert op.metadata["route"] == "forward" and op.metadata["kept"]


def test_derivatives_by_torch_func_inside_the_model() -> None:
    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = linear(), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            value, pull = torch.func.vjp(self.inner, x)
            return self.head(torch.tanh(pull(torch.ones_like(value))[0]))

    model = Slope().double().eval()
    data = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gram = slow.pntk(*[slow.flat(slow.jacobian(model, data))] * 2)
    found = KernelOperator(model, data, kind="pntk", precision="float64")
    assert torch.allclose(found @ torch.ones(5, dtype=torch.float64), gram.sum(1), rtol=1e-10, atol=0)
