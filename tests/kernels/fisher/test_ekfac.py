"""EK-FAC is the projection of the exact Fisher block on its eigenbasis; its inverse products are that matrix's."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import kernels
from kernels.capture.capture import Capture
from kernels.capture.factor_stream import FactorBatch
from kernels.fisher.ekfac import EKFAC, accumulate_ekfac, fisher_cotangent, uniform_draws
from kernels.fisher.kronecker_blocks import KroneckerBlock, block_key
from kernels.inputs.outputs import bind_cotangent
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow

NAMES = [
    "mlp", "mlp_one_output", "linear_over_tokens", "conv2d_groups", "conv_transpose2d", "position_ids", "tied_linear",
    "tied_language_model", "layernorm", "weight_norm", "frozen_first_layer", "self_attention",
]  # fmt: skip


def stream(
    model: nn.Module, inputs, cotangent, labels: Tensor | None, batch: int
) -> Callable[[], Iterator[FactorBatch]]:
    capture = Capture(model, inputs)

    def batches() -> Iterator[FactorBatch]:
        for start in range(0, slow.count(inputs), batch):
            rows = slice(start, start + batch)
            mine = None if labels is None else labels[rows]
            logits, blocks = capture.blocks(slow.rows(inputs, rows), bind_cotangent(cotangent, mine))
            yield FactorBatch(rows, logits, mine, tuple(blocks))

    return batches


def exact_fisher(model: nn.Module, inputs) -> dict[str, Tensor]:
    """Gradients (N, C, p) per parameter: summed over C, averaged over N, their second moment is the Fisher matrix."""
    jac = slow.jacobian(model, inputs)
    with torch.no_grad():
        f = slow.logits(model, inputs)
    if f.shape[1] == 1:
        s = torch.sigmoid(f)
        mix = torch.stack([(1 - s).sqrt() * s, s.sqrt() * (s - 1)], 1)
    else:
        p = torch.softmax(f, 1)
        mix = p.sqrt()[:, :, None] * (p[:, None, :] - torch.eye(f.shape[1], dtype=f.dtype))
    return {name: torch.einsum("nrc,ncp->nrp", mix, values) for name, values in jac.items()}


def names_of(key: str) -> list[str]:
    return key.split("[")[0].split("+")


def entries_of(key: str, model: nn.Module) -> dict[str, Tensor]:
    """Flat positions that a block covers within each of its parameters."""
    shapes = {name: p.shape for name, p in model.named_parameters()}
    start, stop = (int(x) for x in key.split("[")[1][:-1].split(":")) if "[" in key else (0, None)
    return {n: torch.arange(shapes[n].numel()).reshape(shapes[n])[start:stop].flatten() for n in names_of(key)}


def dense_inverse(fisher: EKFAC, model: nn.Module) -> tuple[Tensor, dict[str, slice]]:
    """The matrix behind `inverse_product`, column by column, and where each parameter is in it."""
    shapes = {
        n: p.shape for n, p in model.named_parameters() if any(n in k.split("[")[0].split("+") for k in fisher.blocks)
    }
    places, start = {}, 0
    for name, shape in shapes.items():
        places[name] = slice(start, start + shape.numel())
        start += shape.numel()
    eye = torch.eye(start, dtype=torch.float64)
    vectors = {name: eye[:, at].reshape(start, *shapes[name]) for name, at in places.items()}
    solved = fisher.inverse_product(vectors)
    return torch.cat([solved[name].flatten(1) for name in places], 1), places


@pytest.mark.parametrize("name", NAMES)
def test_eigenvalues_are_the_exact_second_moments_in_the_basis(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name], n=5)
    fisher = accumulate_ekfac(stream(model, inputs, fisher_cotangent("exact"), None, 2), damping=0.3, relative=False)
    inverse, places = dense_inverse(fisher, model)
    gradients = exact_fisher(model, inputs)
    for key in fisher.blocks:
        inside = entries_of(key, model)
        at = torch.cat([places[n].start + index for n, index in inside.items()])
        approximate = torch.linalg.inv(inverse[at][:, at]) - 0.3 * torch.eye(len(at), dtype=torch.float64)
        g = torch.cat([gradients[n][:, :, index] for n, index in inside.items()], 2).flatten(0, 1)
        exact = g.T @ g / 5
        torch.testing.assert_close(approximate, approximate.T, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(approximate.trace(), exact.trace(), rtol=1e-9, atol=1e-12)
        # U diag(U'FU) U' is the orthogonal projection of F on matrices that are diagonal in U.
        torch.testing.assert_close((approximate * exact).sum(), (approximate**2).sum(), rtol=1e-8, atol=1e-12)
        outside = torch.ones(inverse.shape[0], dtype=torch.bool)
        outside[at] = False
        assert not inverse[at][:, outside].any()


@pytest.mark.parametrize("name", NAMES)
def test_whitened_dot_products_are_inverse_fisher_products_of_gradients(name: str) -> None:
    model, inputs, labels = make(BY_NAME[name], n=5)
    fisher = accumulate_ekfac(stream(model, inputs, fisher_cotangent("exact"), None, 3))
    inverse, places = dense_inverse(fisher, model)
    (part,) = stream(model, inputs, "loss", labels, 5)()
    found = sum(torch.einsum("nrd,mrd->nm", w, w) for w in (fisher.whiten(block) for block in part.blocks))
    jac = slow.jacobian(model, inputs)
    with torch.no_grad():
        e = slow.loss_cotangent(slow.logits(model, inputs), labels)
    g = torch.cat([torch.einsum("nc,ncp->np", e, jac[n]) for n in places], 1)
    torch.testing.assert_close(found, g @ inverse @ g.T, rtol=1e-8, atol=1e-10)


def test_correction_brings_the_fisher_matrix_closer_than_the_plain_kronecker_product() -> None:
    model, inputs, _ = make(BY_NAME["linear_over_tokens"], n=5)
    fisher = accumulate_ekfac(stream(model, inputs, fisher_cotangent("exact"), None, 5), damping=1.0, relative=False)
    inverse, places = dense_inverse(fisher, model)
    at = torch.cat([torch.arange(len(inverse))[places[n]] for n in ("0.0.weight", "0.0.bias")])
    corrected = torch.linalg.inv(inverse[at][:, at]) - torch.eye(len(at), dtype=torch.float64)
    g = torch.cat([exact_fisher(model, inputs)[n] for n in ("0.0.weight", "0.0.bias")], 2).flatten(0, 1)
    exact = g.T @ g / 5
    block = KroneckerBlock.like(next(stream(model, inputs, fisher_cotangent("exact"), None, 5)()).blocks[0])
    block.gather_basis(next(stream(model, inputs, fisher_cotangent("exact"), None, 5)()).blocks[0])
    a, d = block.inputs[0] / 15, block.outputs[0] / 5
    o, i = len(d), len(a) - 1
    plain = torch.kron(d, a).reshape(o, i + 1, o, i + 1)
    order = torch.cat(
        [
            torch.arange(o * (i + 1)).reshape(o, i + 1)[:, :i].flatten(),
            torch.arange(o * (i + 1)).reshape(o, i + 1)[:, i],
        ]
    )
    plain = plain.reshape(o * (i + 1), -1)[order][:, order]
    assert (corrected - exact).norm() < (plain - exact).norm()


def test_exact_for_linear_regression_where_it_is_the_derivative_of_the_refitted_prediction() -> None:
    """min (1/N) Σ w_i (f(x_i) - y_i)²/2 + (λ/2)‖θ‖²: moving w_i moves f(x) by -g(x)'(H + λ)⁻¹ g_i."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    y = x @ torch.randn(4, generator=generator, dtype=torch.float64) + torch.randn(
        30, generator=generator, dtype=torch.float64
    )
    ridge = 0.05

    def fit(weights: Tensor) -> Tensor:
        homogeneous = torch.cat([x, torch.ones(30, 1, dtype=torch.float64)], 1)
        moment = homogeneous.T @ (weights[:, None] * homogeneous) / 30 + ridge * torch.eye(5, dtype=torch.float64)
        return torch.linalg.solve(moment, homogeneous.T @ (weights * y) / 30)

    model = nn.Linear(4, 1).double()
    theta = fit(torch.ones(30, dtype=torch.float64))
    with torch.no_grad():
        model.weight.copy_(theta[None, :4])
        model.bias.copy_(theta[4:])
    fisher = accumulate_ekfac(stream(model, x, "sum", None, 7), damping=ridge, relative=False)
    residual = lambda logits, target: (logits[:, 0] - target) ** 2 / 2  # noqa: E731
    (train,) = stream(model, x, residual, y, 30)()
    (test,) = stream(model, x[:3], "sum", None, 3)()
    influence = fisher.whiten(test.blocks[0])[:, 0] @ fisher.whiten(train.blocks[0])[:, 0].T / 30
    homogeneous = torch.cat([x[:3], torch.ones(3, 1, dtype=torch.float64)], 1)
    for i in (0, 11, 29):
        shift = torch.zeros(30, dtype=torch.float64)
        shift[i] = 1e-5
        moved = homogeneous @ (fit(1 + shift) - fit(1 - shift)) / 2e-5
        torch.testing.assert_close(-influence[:, i], moved, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_sampled_labels_approach_the_exact_fisher_and_do_not_depend_on_batches() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], n=6)
    exact = accumulate_ekfac(stream(model, inputs, fisher_cotangent("exact"), None, 6))
    draws = uniform_draws(3, 6, 800)
    assert (draws >= 0).all() and (draws < 1).all() and abs(draws.mean() - 0.5) < 0.02
    sampled = accumulate_ekfac(stream(model, inputs, fisher_cotangent("sampled"), draws, 6))
    for key, block in exact.blocks.items():
        assert float(sampled.blocks[key].eigenvalues.sum()) == pytest.approx(float(block.eigenvalues.sum()), rel=0.1)
    again = accumulate_ekfac(stream(model, inputs, fisher_cotangent("sampled"), uniform_draws(3, 6, 1), 2))
    whole = accumulate_ekfac(stream(model, inputs, fisher_cotangent("sampled"), uniform_draws(3, 6, 1), 6))
    for key, block in whole.blocks.items():
        torch.testing.assert_close(again.blocks[key].eigenvalues, block.eigenvalues, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "mlp_one_output"])
def test_a_sampled_fisher_matrix_is_a_mean_over_draws(name: str) -> None:
    """Every sampled label's gradient in turn, one draw at a time: a trace does not depend on the basis."""
    model, inputs, _ = make(BY_NAME[name], n=6)
    draws = uniform_draws(1, 6, 5)
    found = accumulate_ekfac(stream(model, inputs, fisher_cotangent("sampled"), draws, 4))
    jac = slow.jacobian(model, inputs)
    with torch.no_grad():
        f = slow.logits(model, inputs)
    both = torch.cat([torch.zeros_like(f), f], 1) if f.shape[1] == 1 else f
    p = torch.softmax(both, 1)
    for key, block in found.blocks.items():
        trace = 0.0
        for i in range(6):
            for u in draws[i]:
                label = int((p[i].cumsum(0)[:-1] <= u).sum())
                error = p[i] - torch.eye(len(p[i]), dtype=f.dtype)[label]
                mix = error[1:] if f.shape[1] == 1 else error
                trace += sum(float(((mix @ jac[n][i]) ** 2).sum()) for n in names_of(key)) / (6 * 5)
        assert float(block.eigenvalues.sum()) == pytest.approx(trace, rel=1e-9)


def test_empirical_fisher_is_the_second_moment_of_loss_gradients() -> None:
    model, inputs, labels = make(BY_NAME["mlp"], n=6)
    empirical = accumulate_ekfac(stream(model, inputs, fisher_cotangent("empirical"), labels, 6))
    loss = accumulate_ekfac(stream(model, inputs, "loss", labels, 6))
    for key, block in loss.blocks.items():
        torch.testing.assert_close(empirical.blocks[key].eigenvalues, block.eigenvalues)


def test_saved_matrix_gives_the_same_products(tmp_path) -> None:
    model, inputs, labels = make(BY_NAME["position_ids"], n=5)
    fisher = accumulate_ekfac(stream(model, inputs, fisher_cotangent("exact"), None, 5))
    fisher.save(tmp_path / "fisher.safetensors")
    again = EKFAC.load(tmp_path / "fisher.safetensors")
    (part,) = stream(model, inputs, "loss", labels, 5)()
    assert [block_key(block) for block in part.blocks] == list(again.blocks)
    for block in part.blocks:
        assert torch.equal(fisher.whiten(block), again.whiten(block))
    vectors = {n: torch.ones(2, *p.shape, dtype=torch.float64) for n, p in model.named_parameters()}
    for name, value in fisher.inverse_product(vectors).items():
        assert torch.equal(value, again.inverse_product(vectors)[name])


def test_bad_input_is_named(tmp_path) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], n=4)
    batches = stream(model, inputs, fisher_cotangent("exact"), None, 4)
    with pytest.raises(ValueError, match="damping=-1.0 must be a number, not negative"):
        accumulate_ekfac(batches, damping=-1.0)
    (part,) = batches()
    with pytest.raises(ValueError, match="singular at damping=0"):
        accumulate_ekfac(batches, damping=0.0).whiten(part.blocks[0])
    fisher = accumulate_ekfac(batches)
    del fisher.blocks[block_key(part.blocks[0])]
    with pytest.raises(KeyError, match="no Fisher block for 0.weight"):
        fisher.whiten(part.blocks[0])
    with pytest.raises(ValueError, match="needs labels"):
        accumulate_ekfac(stream(model, inputs, fisher_cotangent("empirical"), None, 4))


class Masked(nn.Module):
    """Mean over the tokens that a mask keeps, of a layer that runs on all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer, self.head = nn.Embedding(9, 4), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = torch.tanh(self.layer(self.table(ids))) * mask[..., None]
        return self.head(hidden.sum(1) / mask.sum(1, keepdim=True))


@pytest.mark.parametrize("fisher", ["sampled", "exact", "empirical"])
def test_padded_positions_have_no_influence(fisher: str) -> None:
    torch.manual_seed(0)
    model, labels = Masked().eval().double(), torch.tensor([0, 1, 2, 0, 1, 2])
    ids, lengths = torch.randint(1, 9, (6, 7)), torch.tensor([5, 3, 4, 2, 5, 1])
    mask = (torch.arange(7) < lengths[:, None]).double()
    short = {"ids": ids[:, :5], "mask": mask[:, :5]}
    long = {"ids": torch.where(mask > 0, ids, 8), "mask": mask}
    by_batch = [{key: value[i : i + 2, :n] for key, value in long.items()} for i, n in ((0, 5), (2, 6), (4, 7))]
    options = {"precision": "float64"}
    found = []
    for data in (short, long, by_batch):
        fitted = kernels.fit_ekfac(model, data, fisher=fisher, labels=labels, seed=1, **options)
        vectors = {name: torch.ones_like(p)[None] for name, p in model.named_parameters()}
        scores = kernels.influence_scores(model, fitted, data, data, labels=labels, test_labels=labels, **options)
        blocks = kernels.fisher_blocks(model, data, cotangent="loss", labels=labels, **options)
        found.append([scores, *fitted.inverse_product(vectors).values(), *(one.matrix for one in blocks.values())])
    for other in found[1:]:
        for left, right in zip(found[0], other, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)
