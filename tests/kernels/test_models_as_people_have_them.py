"""Models that cannot be copied, move themselves, or are wired by hooks have the kernel of their float64 reference."""

import dataclasses
import io
import threading
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from kernels import autograd_kernel, kernel_features, kernel_matrix, verify
from kernels.gradients.vmap_hazards import vmap_hazard
from tests.references import per_sample_jacobian as slow

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    """Two layers, and what a function does between them."""

    def __init__(self, middle: Callable[["Two", Tensor], Tensor] = lambda m, h: h, **attributes: object) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)
        self.middle = middle
        for name, value in attributes.items():
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.middle(self, torch.tanh(self.a(x))))


class Slotted(Two):
    __slots__ = ("kept",)

    def __deepcopy__(self, memo: object) -> "Slotted":
        raise TypeError("cannot be copied")

    @property
    def broken(self) -> None:
        raise RuntimeError("asked for")


@dataclasses.dataclass(eq=False)
class Declared(nn.Module):
    width: int = 5

    def __post_init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, self.width), nn.Linear(self.width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)))


def keep(model: nn.Module, h: Tensor) -> Tensor:
    object.__setattr__(model, "kept", h)
    return h


def hold(model: Two, h: Tensor) -> Tensor:
    model.cache[: len(h)] = h
    return model.cache[: len(h)] * (1 + 0 * model.cache.sum().detach())


def moved(model: Two, h: Tensor) -> Tensor:
    model.a = model.a.to(h.device)
    return h * model.scale.exp().sort().values


def pruned() -> nn.Module:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3))
    prune.l1_unstructured(model[2], "weight", 0.4)
    prune.random_unstructured(model[2], "bias", 1)
    model(X)
    return model


def hooked() -> nn.Module:
    model = Two(adapter=nn.Linear(5, 5))
    model.a.register_forward_hook(lambda _m, _a, out: out + model.adapter(torch.tanh(out)))
    model.b.register_forward_pre_hook(lambda _m, args, kwargs: ((args[0] + 0.1,), kwargs), with_kwargs=True)
    model.b.register_full_backward_hook(lambda _m, _i, _o: None)
    model.a.weight.register_hook(lambda gradient: 2 * gradient)
    return model


def shared() -> nn.Module:
    layer = nn.Linear(5, 5)
    return nn.Sequential(nn.Linear(4, 5), nn.Sequential(layer, nn.Tanh()), nn.Sequential(layer, nn.Linear(5, 3)))


def table(kind: type[nn.Module]) -> nn.Module:
    class Ids(Two):
        def forward(self, x: Tensor) -> Tensor:
            found = self.table((9 * x.abs()).long().clamp(max=29))
            return self.b(torch.tanh(found if found.ndim == 2 else found.mean(1)))

    return Ids(table=kind(30, 5, sparse=True))


def odd_buffers() -> dict[str, Tensor]:
    return {
        "counts": torch.tensor([1, -1, 2, 1, 3], dtype=torch.int8),
        "some": torch.tensor([True, False, True, True, True]),
        "turn": torch.polar(torch.ones(5), torch.arange(5.0)),
        "graph": torch.eye(5).roll(1, 0).to_sparse(),
        "rows": torch.eye(5).to_sparse_csr(),
    }


def oddly(m: Two, h: Tensor) -> Tensor:
    return (m.rows @ (m.graph @ h.T)).T * m.counts * m.some + (h * m.turn).real


def handles() -> nn.Module:
    model = Slotted(keep, lock=threading.Lock(), file=io.StringIO(), numbers=iter([1]), named=lambda x: x)
    model.near = weakref.ref(model.a)
    model(X)
    return model


def lists() -> nn.Module:
    model = Two(lambda m, h: (m.log.append(h), F.linear(h, m.plain[0]))[1], log=[], plain=[torch.eye(5) + 0.5])
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "pruned and weight-normed": pruned,
    "spectral norm": lambda: nn.Sequential(torch.nn.utils.spectral_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)),
    "lock, file, generator, lambda, slots": handles,
    "dataclass": Declared,
    "hooks of every kind": hooked,
    "module of two parents": shared,
    "sparse table": lambda: table(nn.Embedding),
    "sparse bag": lambda: table(nn.EmbeddingBag),
    "buffers of every type": lambda: Two(oddly, **odd_buffers()),
    "cache written in place": lambda: Two(hold, cache=torch.zeros(9, 5)),
    "appends to a list": lists,
    "moves itself": lambda: Two(moved, scale=nn.Parameter(torch.rand(5))),
    "expanded parameter": lambda: Two(lambda m, h: h * m.scale, scale=nn.Parameter(torch.tensor([0.7]).expand(5))),
    "vmap inside": lambda: Two(lambda m, h: torch.vmap(lambda r: torch.tanh(m.c(r)))(h), c=nn.Linear(5, 5)),
    "functional call inside": lambda: Two(
        lambda m, h: torch.func.functional_call(m.c, {"weight": m.c.weight + m.d}, (h,)),
        c=nn.Linear(5, 5),
        d=nn.Parameter(torch.rand(5, 5)),
    ),
}


def built(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODELS[name]().eval()


@pytest.mark.filterwarnings(
    "ignore:Sparse CSR tensor support", "ignore:.*weight_norm.*deprecated", "ignore:.*non-full back"
)
@pytest.mark.parametrize("name", MODELS)
def test_their_kernel_is_that_of_their_gradients(name: str) -> None:
    model, wide = built(name), built(name).double()
    if name == "appends to a list":
        wide.plain = [wide.plain[0].double()]
    if name.startswith("sparse"):
        wide.table.sparse = False
    jacobian = []
    for row in X.double():
        if name == "cache written in place":  # the reference starts every sample with an empty one
            wide.cache = torch.zeros(9, 5, dtype=torch.float64)
        found = slow.jacobian(wide, row[None])
        jacobian.append(slow.flat(found))
    flat = torch.cat(jacobian)
    expected = slow.trntk(flat, flat)
    scale = expected.diagonal().sqrt()
    for precision, most in (("float32", 1e-5), ("float64", 1e-12)):
        matrix = kernel_matrix(model, X, normalize=False, precision=precision).matrix
        assert float(((matrix - expected) / scale[:, None] / scale).abs().max()) < most
    assert kernel_features(model, X, dim=8, precision="float64").values.isfinite().all()
    assert verify(model, X[:3]).ok
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_part_is_lent_in_float64() -> None:
    torch.manual_seed(0)
    eager = Two()
    model = Two()
    model.load_state_dict(eager.state_dict())
    model.a = torch.jit.trace(model.a, X)
    expected = kernel_matrix(eager, X, precision="float64").matrix
    torch.testing.assert_close(kernel_matrix(model, X, precision="float64").matrix, expected, rtol=1e-10, atol=0)
    assert model.a.weight.dtype == torch.float32


def test_what_vmap_does_not_survive_is_seen_before_it_runs() -> None:
    model = built("moves itself")
    assert vmap_hazard(model, ("scale",), X[:1], None) == "assigns to .data, as module.to(...) does"
    assert vmap_hazard(Two(), ("a.weight",), X[:1], None) is None
    assert kernel_matrix(model, X, fallback=["scale"]).metadata["coverage"]["fallback_route"] == "loop"
    with pytest.raises(ValueError, match="forward pass assigns to .data.*method='loop'"):
        autograd_kernel(model, X, method="vmap")


@pytest.mark.parametrize("held", ["tensor", "module"])
def test_what_a_closure_holds_is_no_part_of_the_model_and_is_said(held: str) -> None:
    other = torch.eye(5) if held == "tensor" else nn.Linear(5, 5)
    model = Two(lambda m, h: F.linear(h, other) if isinstance(other, Tensor) else other(h))
    with pytest.raises(TypeError, match="cannot be run in torch.float64 .*in a closure or in a module that is not reg"):
        kernel_matrix(model, X, precision="float64")
    assert next(model.parameters()).dtype == torch.float32


def test_models_without_shapes_or_with_sparse_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0.weight has no shape yet \(a lazy module\): run one batch"):
        kernel_matrix(nn.Sequential(nn.LazyLinear(3)), X)
    model = Two(w=nn.Parameter(torch.eye(5).to_sparse()))
    with pytest.raises(TypeError, match="w is a sparse parameter"):
        kernel_matrix(model, X)


def test_a_kernel_inside_inference_mode() -> None:
    model = Two()
    expected = kernel_matrix(model, X).matrix
    with torch.inference_mode():
        assert torch.equal(kernel_matrix(model, X.clone()).matrix, expected)
        made = Two()
        assert kernel_matrix(made, X.clone(), precision="float64").matrix.isfinite().all()


def test_a_gate_that_is_moved_to_float32_passes_its_certificate_in_float64() -> None:
    class Gated(Two):
        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.a(x))
            self.gate = self.gate.to(torch.float32)
            return self.b(h * torch.softmax(self.gate(h.float()), -1).to(h.dtype))

    torch.manual_seed(0)
    model = Gated(gate=nn.Linear(5, 5, bias=False)).eval()
    found = kernel_matrix(model, X, normalize=False, precision="float64", certify="every")
    assert model.gate.weight.dtype == torch.float32 == model.a.weight.dtype
    wide = model.double()
    flat = torch.cat([slow.flat(slow.jacobian(wide, row[None])).double() for row in X.double()])
    expected = slow.trntk(flat, flat)
    assert float((found.matrix - expected).abs().max() / expected.diagonal().max()) < 1e-5
    assert not found.metadata["certificate"]["generic"]
