"""Newton-CG for penalized kernel GLMs, in passes over row blocks of the kernel.

A pass costs 4N²C FLOP (score and back product of one row block at a time), so a kernel on disk is
read once per gradient and once per conjugate-gradient step. All columns of the score matrix advance together,
with their own step lengths where the problems are independent (one-vs-rest).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.surrogates.blocked_kernel import KernelBlocks
from analysis.surrogates.glm_losses import Curvature, ScoreLoss

Penalty = Literal["coefficients", "rkhs"]


@dataclass(frozen=True)
class ConvergenceReport:
    """How a fit ended.

    Attributes
    ----------
    converged : bool
        Every problem's gradient norm fell below `tol` times its norm at zero weights.
    n_iter, cg_iterations, kernel_passes : int
        Newton steps, conjugate-gradient steps, passes over the kernel.
    objective : float
        Penalized loss, summed over the classes' problems.
    gradient_norm : float
        Largest gradient norm relative to that at zero weights.
    gap : float
        Upper bound on objective minus optimum: what the bias alone can still gain, and, with the bias there, the
        Fenchel duality gap of these problems, which is exactly ‖∇_w‖²/(2α) in the penalty's dual norm. Infinite at
        α = 0, and where the bias has no optimum.
    """

    converged: bool
    n_iter: int
    cg_iterations: int
    kernel_passes: int
    objective: float
    gradient_norm: float
    gap: float


@dataclass(frozen=True)
class Solution:
    """Weights (n, c), intercepts (c,) and the convergence report."""

    weights: Float[Tensor, "n c"]
    intercept: Float[Tensor, " c"]
    report: ConvergenceReport


class _NewtonSystem:
    """Newton system (K D K + α Q) p = -g, preconditioned exactly on a dominant subspace.

    The two-level preconditioner solves the Hessian restricted to span(U) and the bias, and scales the rest by
    its mean curvature (after the randomized Nyström preconditioner of arXiv:2110.02820). Every direction
    stays in the range of a singular K, so that duplicated points share their weight.
    """

    def __init__(
        self, blocks: KernelBlocks, alpha: float, penalty: Penalty, rank: int, generator: torch.Generator
    ) -> None:
        self.blocks, self.alpha, self.rkhs = blocks, alpha, penalty == "rkhs"
        self.rounding = 1e-5 if self.rkhs and blocks.single else 1e-12
        n = blocks.shape[0]
        if rank >= n:
            basis = torch.eye(n, dtype=torch.float64, device=blocks.device)
        else:
            start = torch.randn(n, rank, dtype=torch.float64, generator=generator).to(blocks.device)
            basis = torch.linalg.qr(blocks.times(torch.linalg.qr(blocks.times(start)).Q)).Q
        image = blocks.times(basis)
        if self.rkhs:  # keep Ritz vectors of the range only
            ritz, turn = torch.linalg.eigh(basis.T @ image)
            kept = turn[:, ritz > (1e-5 if blocks.single else 1e-12) * ritz[-1]]
            basis, image = basis @ kept, image @ kept
        ones = torch.ones(n, 1, dtype=torch.float64, device=basis.device)
        self.basis, self.lifted = basis, torch.cat([image, ones], 1)
        self.ridge = alpha * (basis.T @ image if self.rkhs else torch.eye(basis.shape[1], device=basis.device))
        spectrum = torch.linalg.eigvalsh(image.T @ image).clamp_min(0).sqrt()
        # what is left outside the basis of a kernel of low rank is rounding: never divide it by zero
        self.tail = max(float(spectrum[0]), 1e-6 * float(spectrum[-1]))
        self.jitter = (1e-6 if blocks.single else 1e-14) * float(spectrum[-1])

    def penalized(self, weights: Tensor, scores: Tensor) -> Float[Tensor, "n c"]:
        """Return α Q w, given w and K w; rounding can leave K with eigenvalues below 0, which Q must not have."""
        return self.alpha * (scores + self.jitter * weights if self.rkhs else weights)

    def prepare(self, curvature: Curvature) -> None:
        """Factorize the restricted Hessian at new scores."""
        self.curvature = curvature
        diagonal = curvature.diagonal
        small = torch.stack([(self.lifted * d[:, None]).T @ self.lifted for d in diagonal.T])
        small[:, :-1, :-1] += self.ridge
        floor = self.rounding * small.diagonal(dim1=1, dim2=2).amax(1).clamp_min(1e-280)
        eye = torch.eye(small.shape[1], dtype=torch.float64, device=small.device)
        self.factor, failed = torch.linalg.cholesky_ex(small + floor[:, None, None] * eye)
        if bool(failed.any()):
            raise ValueError(
                "The kernel is not positive semi-definite, so that its RKHS norm is no penalty. Recompute it in "
                "float32 or float64, or use penalty='coefficients'."
            )
        lightest = self.alpha * (self.tail if self.rkhs else 1.0)
        self.rest = (lightest + diagonal.mean(0) * self.tail**2).clamp_min(1e-280)

    def precondition(self, weights: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the approximate inverse Hessian."""
        inside = self.basis.T @ weights
        solved = torch.cholesky_solve(torch.cat([inside, bias[None]]).T[:, :, None], self.factor)[:, :, 0].T
        outside = (weights - self.basis @ inside) / self.rest
        return self.basis @ solved[:-1] + outside, solved[-1]

    def apply(self, vectors: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Apply the Hessian in one pass; also returns K p."""
        moved = torch.zeros_like(bias)

        def weigh(rows: slice, part: Tensor) -> Tensor:
            weighed = self.curvature.apply(part + bias, rows)
            moved.add_(weighed.sum(0))
            return weighed

        scores, back = self.blocks.curvature_pass(vectors, weigh)
        return back + self.penalized(vectors, scores), moved, scores


def _newton_direction(
    system: _NewtonSystem, loss: ScoreLoss, weights: Tensor, bias: Tensor, forcing: Tensor, max_cg: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Preconditioned conjugate gradients on H p = (weights, bias); returns p, its bias, K p and the steps."""
    rw, rb = weights.clone(), bias.clone()
    x, xb, kx = torch.zeros_like(rw), torch.zeros_like(rb), torch.zeros_like(rw)
    p, pb = system.precondition(rw, rb)
    rho = loss.couple((rw * p).sum(0) + rb * pb)
    first, active, steps = rho.clone(), rho > 0, 0
    while bool(active.any()) and steps < max_cg:
        aw, ab, kp = system.apply(p, pb)
        energy = loss.couple((aw * p).sum(0) + ab * pb)
        active = active & (energy > 0)
        step = torch.where(active, rho / energy.clamp_min(1e-300), 0.0)
        x, xb, kx = x + step * p, xb + step * pb, kx + step * kp
        rw, rb = rw - step * aw, rb - step * ab
        y, yb = system.precondition(rw, rb)
        new = loss.couple((rw * y).sum(0) + rb * yb)
        ratio = torch.where(active, new / rho.clamp_min(1e-300), 0.0)
        active = active & (new > forcing**2 * first)
        p, pb, rho = y + ratio * p, yb + ratio * pb, new
        steps += 1
    return x, xb, kx, steps


def solve_kernel_glm(
    blocks: KernelBlocks,
    loss: ScoreLoss,
    alpha: float,
    *,
    penalty: Penalty = "coefficients",
    tol: float = 1e-6,
    max_iter: int = 100,
    max_cg: int = 500,
    rank: int = 100,
    seed: int = 0,
    start: tuple[Float[Tensor, "n c"], Float[Tensor, " c"]] | None = None,
) -> Solution:
    """Minimize loss(K W + 1 bᵀ) + (α/2) Σ_c w_cᵀ Q w_c with Q = I or K; b is unpenalized.

    Parameters
    ----------
    blocks : KernelBlocks, shape (n, n)
        Symmetric training kernel.
    loss : ScoreLoss
        Convex loss of the scores.
    alpha : float
        Penalty, at least 0.
    penalty : {"coefficients", "rkhs"}
        Q = I (kernel rows are features) or Q = K (squared norm of the function).
    tol : float
        Stop when each problem's gradient norm is below tol times its norm at zero weights. Products with a
        float32 kernel resolve no less than 1e-5, which is then the least value used.
    max_iter, max_cg : int
        Limits on Newton steps and on conjugate-gradient steps in each.
    rank : int
        Size of the preconditioner's subspace; n or more makes the Newton system dense.
    seed : int
        Seed of the subspace's random start. It changes the path, not the optimum.
    start : pair of Tensor or None
        Warm start.

    Returns
    -------
    Solution
    """
    n, c = blocks.shape[0], loss.target.shape[1]
    device = blocks.device
    tol = max(tol, 1e-5) if blocks.dtype == torch.float32 else tol
    system = _NewtonSystem(blocks, alpha, penalty, min(rank, n), torch.Generator().manual_seed(seed))

    def gradient_at(w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores without bias, residual, weight gradient and its norm together with the bias gradient's."""
        scores, back = blocks.curvature_pass(w, lambda rows, part: loss.residual(part + b, rows))
        residual = loss.residual(scores + b)
        gradient = back + system.penalized(w, scores)
        return scores, residual, gradient, loss.couple((gradient**2).sum(0) + residual.sum(0) ** 2).sqrt()

    w = torch.zeros(n, c, dtype=torch.float64, device=device)
    b = torch.zeros(c, dtype=torch.float64, device=device)
    scores, residual, gradient, norm = gradient_at(w, b)
    reference = norm.clamp_min(1e-300)
    if start is not None:
        w, b = (value.to(device).clone() for value in start)
        scores, residual, gradient, norm = gradient_at(w, b)
    iterations = cg_steps = 0
    while bool((norm > tol * reference).any()) and iterations < max_iter:
        relative = norm / reference
        system.prepare(loss.at(scores + b))
        pending = relative > tol
        p, pb, kp, steps = _newton_direction(
            system,
            loss,
            -gradient * pending,
            -residual.sum(0) * pending,
            relative.sqrt().clamp(1e-4, 0.1),
            max_cg,
        )
        step = _line_search(system, loss, (w, b, scores), (p, pb, kp), gradient, residual.sum(0))
        cg_steps += steps
        iterations += 1
        if not bool((step > 0).any()):
            break
        w, b = w + step * p, b + step * pb
        scores, residual, gradient, norm = gradient_at(w, b)
    objective = loss.value(scores + b) + loss.couple((w * system.penalized(w, scores)).sum(0)) / 2
    # softmax repeats one problem's value c times
    total = objective.sum() if loss.formulation == "ovr" else objective[0]
    gap = _loss_gap(system, loss, w, b, scores) if alpha > 0 else float("inf")
    report = ConvergenceReport(
        converged=bool((norm <= tol * reference).all()),
        n_iter=iterations,
        cg_iterations=cg_steps,
        kernel_passes=blocks.passes,
        objective=float(total),
        gradient_norm=float((norm / reference).max()),
        gap=gap,
    )
    return Solution(w, b, report)


def _loss_gap(system: _NewtonSystem, loss: ScoreLoss, w: Tensor, b: Tensor, scores: Tensor) -> float:
    """Bound objective minus optimum in one pass: the bias to its optimum first, then Fenchel's gap of the weights.

    min_b of the objective is α-strongly convex in w in the penalty's norm, and at the best bias its gradient is that of
    the weights. At any other bias the weights' gradient alone bounds nothing.
    """
    best, found = best_bias(loss, scores, b)
    if not found:
        return float("inf")
    residual = loss.residual(scores + best)
    _, back = system.blocks.curvature_pass(w, lambda rows, part: loss.residual(part + best, rows))
    gradient = back + system.penalized(w, scores)
    gained = loss.value(scores + b) - loss.value(scores + best)
    bias = gained.sum() if loss.formulation == "ovr" else gained[0]
    # the dual of Q's norm; w'Kw = w'(K w) where Q = K
    dual = ((residual + system.alpha * w) * gradient if system.rkhs else gradient**2).sum()
    return float(bias.clamp_min(0) + dual.clamp_min(0) / (2 * system.alpha))


def best_bias(
    loss: ScoreLoss, scores: Float[Tensor, "n c"], start: Float[Tensor, " c"]
) -> tuple[Float[Tensor, " c"], bool]:
    """Minimize the loss over the bias alone, at fixed scores without bias, by Newton's method.

    Returns
    -------
    bias : Tensor, shape (c,)
    found : bool
        Whether its gradient vanished to rounding.
    """
    b, scale = start.clone(), loss.mass.sum()
    for _ in range(200):
        slope = loss.residual(scores + b).sum(0)
        if bool((slope.abs() <= 1e-12 * scale).all()):
            return b, True
        if loss.formulation == "ovr":
            curvature = loss.at(scores + b).diagonal.sum(0)
            step = slope / curvature.clamp_min(1e-300)
        else:
            p = torch.softmax(scores + b, 1)
            weighed = loss.mass * p
            curvature = torch.diag(weighed.sum(0)) - weighed.T @ p
            step = torch.linalg.pinv(curvature, hermitian=True) @ slope  # a shift of all classes changes nothing
        step = step.clamp(-5, 5)  # a saturated sigmoid has no curvature
        base, size = loss.value(scores + b), torch.ones_like(b)
        for _ in range(40):
            worse = loss.value(scores + b - size * step) > base + 1e-15 * base.abs()
            if not bool(worse.any()):
                break
            size = torch.where(worse, size / 2, size)
        b = b - size * step
    return b, bool((slope.abs() <= 1e-9 * scale).all())


def _line_search(
    system: _NewtonSystem,
    loss: ScoreLoss,
    at: tuple[Tensor, Tensor, Tensor],
    direction: tuple[Tensor, Tensor, Tensor],
    gradient: Float[Tensor, "n c"],
    bias_gradient: Float[Tensor, " c"],
) -> Float[Tensor, " c"]:
    """Backtrack each problem to Armijo's condition; costs no pass, since K w and K p are known."""
    (w, b, scores), (p, pb, kp) = at, direction
    slope = loss.couple((gradient * p).sum(0) + bias_gradient * pb)
    base = loss.value(scores + b)
    linear = loss.couple((w * system.penalized(p, kp)).sum(0))
    square = loss.couple((p * system.penalized(p, kp)).sum(0)) / 2
    step = (slope < 0).double()
    for _ in range(40):
        change = loss.value(scores + b + step * (kp + pb)) - base + step * linear + step**2 * square
        poor = (step > 0) & ~(change <= 1e-4 * step * slope + 1e-13 * base.abs())
        if not bool(poor.any()):
            return step
        step = torch.where(poor, step / 2, step)
    return torch.where(poor, 0.0, step)
