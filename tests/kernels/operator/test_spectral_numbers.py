"""Trace, norm, rank, eigenvalues and alignment of networks' kernels lie in their stated errors of the float64 truth."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kernels import KernelOperator, effective_rank, kernel_spectrum, target_alignment
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow

DOUBLE = {"precision": "float64"}
LARGE = 45
"""Samples; more than there are products, so that something is left to estimate."""


@pytest.fixture(
    scope="module",
    params=["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tiny_gpt2", "rnn_without_bias"))],
)
def kernel(request) -> tuple[KernelOperator, torch.Tensor, torch.Tensor]:
    kind = {"mlp": "pntk", "tiny_gpt2": "trntk", "rnn_without_bias": "pntk"}[request.param]
    model, inputs, labels = make(BY_NAME[request.param], LARGE)
    jacobian = slow.flat(slow.jacobian(model, inputs))
    expected = getattr(slow, kind)(jacobian, jacobian)
    return KernelOperator(model, inputs, kind=kind, labels=labels, **DOUBLE), expected, labels


def test_all_numbers_lie_in_their_intervals(kernel) -> None:
    op, expected, labels = kernel
    spectrum = kernel_spectrum(expected)
    truths = {
        "trace": float(expected.trace()),
        "norm": float(expected.norm()),
        "participation": effective_rank(spectrum, "participation"),
        "entropy": effective_rank(spectrum),
        "alignment": target_alignment(expected, labels),
        "raw alignment": target_alignment(expected, labels, centered=False),
    }
    held = []
    for seed in range(6):
        found = {
            "trace": op.trace(products=18, seed=seed),
            "norm": op.frobenius_norm(products=18, seed=seed),
            "participation": op.effective_rank("participation", products=18, seed=seed),
            "entropy": op.effective_rank(products=40, seed=seed),
            "alignment": op.alignment(products=18, seed=seed),
            "raw alignment": op.alignment(labels, centered=False, products=18, seed=seed),
        }
        held += [truths[name] in one for name, one in found.items()]
        assert all(one.value == pytest.approx(truths[name], rel=0.5) for name, one in found.items())
        assert all(one.products <= 40 and one.confidence == 0.95 for one in found.values())
    assert np.mean(held) >= 0.8, held  # four of the six share their probes, so that misses come together


def test_small_kernels_and_diagonals_are_exact(kernel) -> None:
    op, expected, labels = kernel
    np.testing.assert_allclose(op.diagonal(), expected.diagonal(), rtol=1e-10)
    assert op.trace(method="diagonal").value == pytest.approx(float(expected.trace()), rel=1e-12)
    exact = op.trace(products=LARGE)
    assert exact.value == pytest.approx(float(expected.trace()), rel=1e-12) and exact.confidence == 1
    assert float(expected.norm()) in op.frobenius_norm(products=LARGE)
    assert op.effective_rank(products=LARGE).value == pytest.approx(effective_rank(kernel_spectrum(expected)), rel=1e-6)
    assert op.alignment(products=LARGE).value == pytest.approx(target_alignment(expected, labels), rel=1e-10)
    stable = op.effective_rank("stable", products=LARGE)
    assert stable.value == pytest.approx(effective_rank(kernel_spectrum(expected), "stable"), rel=1e-5)


def test_eigenvalues_lie_within_their_residuals(kernel) -> None:
    op, expected, _ = kernel
    truth = kernel_spectrum(expected).numpy()
    for k in (1, 5):
        found = op.eigenvalues(k)
        assert found.converged and (np.abs(found.values - truth[:k]) <= found.errors + 1e-12 * truth[0]).all()
        residual = expected.numpy() @ found.vectors - found.vectors * found.values
        assert (np.linalg.norm(residual, axis=0) <= found.errors + 1e-12 * truth[0]).all()
    short = op.eigenvalues(5, products=7)
    assert short.products == 7 and not short.converged
    gaps = np.abs(short.values[:, None] - truth[None]).min(1)
    assert (gaps <= short.errors + 1e-12 * truth[0]).all()


def test_density_has_the_kernels_mean_and_the_largest_eigenvalue(kernel) -> None:
    op, expected, _ = kernel
    found = op.spectral_density(steps=20, probes=4)
    assert found.weights.sum() == pytest.approx(1)
    assert found.nodes[-1] == pytest.approx(float(kernel_spectrum(expected)[0]), rel=1e-3)


def test_repeated_eigenvalues_of_the_full_kernel() -> None:
    model = torch.nn.Linear(5, 3).double()
    inputs = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.linalg.eigvalsh(inputs @ inputs.T + 1).flip(0).repeat_interleave(3)[:7]
    found = KernelOperator(model, inputs, kind="entk", **DOUBLE).eigenvalues(7)
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)


def test_products_are_shared_between_numbers_and_seeds_are_kept_apart(kernel) -> None:
    op, _, _ = kernel
    first = op.trace(products=12, seed=99)
    before = op.metadata["products"]
    op.frobenius_norm(products=12, seed=99)
    assert op.metadata["products"] == before
    assert op.trace(products=12, seed=99) == first != op.trace(products=12, seed=98)


@pytest.mark.parametrize(
    ("match", "call"),
    [
        ("k=7: a kernel of 6 rows has 1 to 6 eigenvalues", lambda op: op.eigenvalues(7)),
        ("k=0", lambda op: op.eigenvalues(0)),
        ("k=2.5 must be a whole number", lambda op: op.eigenvalues(2.5)),
        ("seed=-1 must be a whole number from 0", lambda op: op.trace(seed=-1)),
        ("products=3.0 must be a whole number", lambda op: op.frobenius_norm(products=3.0)),
        ("confidence=95 must lie between 0 and 1", lambda op: op.trace(confidence=95)),
        ("products=3: an estimate with an error needs at least 4", lambda op: op.trace(products=3)),
        ("method='xtrace': use 'hutch\\+\\+' or 'diagonal'", lambda op: op.trace(method="xtrace")),
        ("measure='rank': use one of entropy, participation, stable", lambda op: op.effective_rank("rank")),
        ("alignment needs labels", lambda op: op.alignment()),
        ("5 labels for 6 samples", lambda op: op.alignment([0, 1, 0, 1, 0])),
        ("label -100 of sample 2 is below zero", lambda op: op.alignment([0, 1, -100, 1, 0, 1])),
        ("labels are floating point", lambda op: op.alignment(torch.ones(6))),
        ("constant", lambda op: op.alignment([1] * 6)),
    ],
    ids=[
        "k",
        "zero",
        "half",
        "seed",
        "float count",
        "percent",
        "few",
        "method",
        "measure",
        "unlabeled",
        "count",
        "ignored",
        "float",
        "constant",
    ],
)
def test_questions_that_have_no_answer(match: str, call) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    with pytest.raises(ValueError, match=match):
        call(KernelOperator(model, inputs, **DOUBLE))


def test_numbers_of_a_square_kernel_are_refused_for_a_rectangular_one() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    op = KernelOperator(model, inputs[:4], inputs[4:], **DOUBLE)
    jacobian = slow.flat(slow.jacobian(model, inputs))
    assert op.frobenius_norm().value == pytest.approx(float(slow.trntk(jacobian[4:], jacobian[:4]).norm()), rel=1e-10)
    for call in (op.trace, op.diagonal, op.effective_rank, op.eigenvalues, op.spectral_density, op.alignment):
        with pytest.raises(ValueError, match="needs the square train x train kernel"):
            call()
    full = KernelOperator(model, inputs, kind="entk", **DOUBLE)
    with pytest.raises(ValueError, match="one row per sample: use kind='trntk' or 'pntk'"):
        full.alignment([0] * 6)


def test_a_pause_of_the_machine_in_a_forward_pass_gives_no_negative_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 40)
    operator = KernelOperator(model, inputs, kind="trntk", batch_size=40, **DOUBLE)
    ticks = iter([0.0, 10.0, 11.0, 12.0, 20.0, 30.0, 31.0, 32.0])
    monkeypatch.setattr("kernels.operator.multiply.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    plan = operator.plan()
    assert plan.kept and plan.product_seconds == 1.0


def test_the_plan_says_what_products_and_the_matrix_cost() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 40)
    plan = KernelOperator(model, inputs, kind="trntk", batch_size=8, **DOUBLE).plan()
    assert (plan.rows, plan.columns, plan.passes, plan.repeats, plan.batch) == (40, 40, 80, 3, 8)
    assert plan.seconds(10) == 10 * plan.product_seconds > 0 and plan.bytes > 0
    assert plan.gram.rows == 40 and plan.wins_from(100) >= plan.wins_from(30) >= 1 and plan.fits_until() > 1000
    text = str(plan)
    assert "trntk operator 40 x 40 in float64" in text and "the operator is faster from about" in text
    many = inputs[:1].expand(300_000, -1)
    huge = KernelOperator(model, many, batch_size=1000, memory="2MB", kind="pntk", **DOUBLE).plan()
    assert huge.gram is None and "the matrix does not fit: the result needs" in str(huge)
    assert huge.wins_from(30) is None
