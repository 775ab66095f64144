"""Whatever a forward pass does between its layers, the kernel is that of the network's own gradients."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from kernels import kernel_matrix
from tests.references import per_sample_jacobian as slow

Step = Callable[["Around", Tensor], Tensor]


def normal(*shape: int) -> Tensor:
    """Seeded by the shape, so that no case depends on those before it."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape) + 7 * len(shape)))


class Around(nn.Module):
    """Two layers of width 5 around a step of any kind."""

    def __init__(self, step: Step, width: int = 5, **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.a, self.b, self.step = nn.Linear(4, 5), nn.Linear(width, 3), step
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_parameter(name, nn.Parameter(part))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.step(self, torch.tanh(self.a(x))))


def filtered(m: Around, h: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(h) * torch.view_as_complex(m.w), n=5)


def derivatives(m: Around, h: Tensor) -> Tensor:
    return torch.func.vmap(torch.func.jacrev(lambda r: torch.tanh(m.c(r)).sum()))(h)


def along(m: Around, h: Tensor) -> Tensor:
    return torch.func.jvp(lambda r: torch.tanh(m.c(r)), (h,), (torch.ones_like(h),))[1]


def without_gradients(m: Around, h: Tensor) -> Tensor:
    with torch.no_grad():
        gate = torch.sigmoid(m.c(h))
    return gate * h + m.c(h).detach()


def nodes_of_one_graph(m: Around, h: Tensor) -> Tensor:
    nodes = torch.tanh(m.c(torch.stack([h, 2 * h, h**2], 1).flatten(0, 1)))
    owner = torch.arange(len(h)).repeat_interleave(3)
    return h.new_zeros(len(h), 5).index_add(0, owner, nodes)


def ragged_rows(m: Around, h: Tensor) -> Tensor:
    counts = 1 + (h[:, 0] > 0).long() + (h[:, 1] > 0).long()
    rows = torch.stack([h, 2 * h, h**2], 1)[torch.arange(3) < counts[:, None]]
    owner = torch.arange(len(h)).repeat_interleave(counts)
    return h.new_zeros(len(h), 5).index_add(0, owner, torch.tanh(m.c(rows)))


def several_copies(m: Around, h: Tensor) -> Tensor:
    copies = torch.tanh(h.repeat_interleave(3, 0) + m.w.repeat(len(h), 1))
    return copies.unflatten(0, (len(h), 3)).mean(1)


def one_branch_each(m: Around, h: Tensor) -> Tensor:
    return torch.cat([(m.c if bool(r.sum() > 0) else m.d)(r[None]) for r in h])


def as_long_as_needed(m: Around, h: Tensor) -> Tensor:
    found = []
    for r in h:
        turns = 0
        while bool(r.abs().max() > 0.4) and turns < 4:
            r, turns = torch.tanh(0.5 * m.c(r)), turns + 1
        found.append(r)
    return torch.stack(found)


def rows_by_sign(m: Around, h: Tensor) -> Tensor:
    out = torch.zeros_like(h)
    for some, layer in ((h[:, 0] > 0, m.c), (h[:, 0] <= 0, m.d)):
        if bool(some.any()):
            out[some] = layer(h[some])
    return out


def own_kernel_each(m: Around, h: Tensor) -> Tensor:
    mixed = torch.einsum("nk,koi->noi", h[:, :2].softmax(1), m.w)
    found = F.conv1d(h.reshape(1, -1, 1), mixed.flatten(0, 1)[..., None], groups=len(h))
    return found.view(len(h), 5)


def moved_by(m: Around, h: Tensor) -> Tensor:
    moves = F.affine_grid(m.c(h).unflatten(1, (2, 3)), [len(h), 1, 5, 5], align_corners=False)
    return F.grid_sample((h[:, :, None] * h[:, None])[:, None], moves, align_corners=False).mean((1, 2))


def upside_down(m: Around, h: Tensor) -> Tensor:
    return torch.tanh(m.c(h.flip(0))).flip(0)


def in_halves(m: Around, h: Tensor) -> Tensor:
    half = len(h) // 2
    return torch.cat([torch.tanh(m.c(part)) for part in (h[:half], h[half:])])


def distinct_values(m: Around, h: Tensor) -> Tensor:
    ids = (3 * h).round().long() + 4
    some, where = ids.unique(return_inverse=True)
    return torch.tanh(m.c(m.table(some)))[where].mean(1)


def averaged_twice(m: Around, h: Tensor) -> Tensor:
    middle = h + 0.1 * torch.tanh(m.c(h))
    return h + 0.2 * torch.tanh(m.c(middle))


MODELS: dict[str, Callable[[], Around]] = {
    "a filter of complex numbers": lambda: Around(filtered, w=normal(3, 2)),
    "derivatives by torch.func": lambda: Around(derivatives, c=nn.Linear(5, 5)),
    "a directional derivative": lambda: Around(along, c=nn.Linear(5, 5)),
    "a gate without gradients": lambda: Around(without_gradients, c=nn.Linear(5, 5)),
    "nodes of one large graph": lambda: Around(nodes_of_one_graph, c=nn.Linear(5, 5)),
    "as many rows as a sample has": lambda: Around(ragged_rows, c=nn.Linear(5, 5)),
    "copies of each sample": lambda: Around(several_copies, w=normal(3, 5)),
    "a branch for each sample": lambda: Around(one_branch_each, c=nn.Linear(5, 5), d=nn.Linear(5, 5)),
    "turns until it is small": lambda: Around(as_long_as_needed, c=nn.Linear(5, 5)),
    "rows written by sign": lambda: Around(rows_by_sign, c=nn.Linear(5, 5), d=nn.Linear(5, 5)),
    "a kernel of its own for each": lambda: Around(own_kernel_each, w=normal(2, 5, 5)),
    "a grid that it moves": lambda: Around(moved_by, c=nn.Linear(5, 6)),
    "the batch upside down": lambda: Around(upside_down, c=nn.Linear(5, 5)),
    "the batch in halves": lambda: Around(in_halves, c=nn.Linear(5, 5)),
    "each distinct value once": lambda: Around(distinct_values, table=nn.Embedding(9, 5), c=nn.Linear(5, 5)),
    "a solver's steps": lambda: Around(averaged_twice, c=nn.Linear(5, 5)),
    "several networks in one tensor": lambda: Around(
        lambda m, h: torch.einsum("koi,ni->nok", m.w, h).sin().mean(2), w=normal(3, 5, 5)
    ),
    "weights from an outer product": lambda: Around(
        lambda m, h: F.linear(h, m.u[:, None] * m.v) + F.linear(h, m.v.outer(m.u)), u=normal(5), v=normal(1, 5)[0]
    ),
    "weights from a network": lambda: Around(
        lambda m, h: torch.einsum("noi,ni->no", m.c(h).unflatten(1, (5, 5)), h), c=nn.Linear(5, 25)
    ),
    "an orthogonal weight": lambda: Around(
        lambda m, h: torch.tanh(m.c(h)), c=parametrizations.orthogonal(nn.Linear(5, 5))
    ),
    "a standardized weight": lambda: Around(
        lambda m, h: F.linear(h, (m.w - m.w.mean(1, keepdim=True)) / m.w.std(1, keepdim=True)), w=normal(5, 5)
    ),
    "bilinear after a learned slope": lambda: Around(
        lambda m, h: m.c(m.d(h[:, :3]), h[:, 3:]), c=nn.Bilinear(3, 2, 5), d=nn.PReLU(3)
    ),
    "a number and an entry": lambda: Around(lambda m, h: h * m.u + m.v[0], u=normal(), v=normal(3)),
    "radial functions": lambda: Around(
        lambda m, h: torch.einsum("nik,oik->no", torch.exp(-((h[..., None] - m.u) ** 2)), m.w),
        u=normal(4),
        w=normal(5, 5, 4),
    ),
    "an added axis before the samples": lambda: Around(
        lambda m, h: (m.w @ h.T).T + m.v, w=normal(5, 5), v=normal(1, 5)
    ),
    "no inputs for a part": lambda: Around(lambda m, h: torch.cat([h, F.linear(h, m.w)], 1), w=torch.zeros(0, 5)),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # which torch.func.jvp calls
@pytest.mark.parametrize("name", MODELS)
def test_the_kernel_is_that_of_the_networks_gradients(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS[name]().double().eval()
    inputs = normal(7, 4).double()
    rows = torch.cat([values.flatten(2).sum(1) for values in slow.jacobian(model, inputs).values()], 1)
    for batch_size in (None, 5):  # as many as the layers are wide
        found = kernel_matrix(
            model, inputs, kind="pntk", normalize=False, precision="float64", batch_size=batch_size
        ).matrix
        torch.testing.assert_close(found, rows @ rows.T, rtol=1e-10, atol=1e-10)
