"""What cannot be attributed is refused in one sentence, before anything is computed: docs/attribution.md lists it."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from analysis.attribution import (
    OptimizerRule,
    Replay,
    TrakNetwork,
    bm25_scores,
    conjugate_gradients,
    embedding_scores,
    exact_influence,
    kernel_influence,
    leave_out_effects,
    linear_datamodeling_score,
    noise_ceiling,
    random_subsets,
    refit_representer_head,
    representer_scores,
    segment_products,
    spread_scores,
    step_agreement,
    tracin_scores,
    tracin_self_influence,
    trak_scores,
)
from analysis.attribution.output_derivatives import OutputDerivatives
from kernels import GaussNewton

RNG = np.random.default_rng(0)
SCORES, PARTS, MARGINS = RNG.normal(size=(3, 8)), random_subsets(8, 5, RNG), RNG.normal(size=(5, 3))
BROKEN = np.where(SCORES == SCORES[1, 2], np.nan, SCORES)
ROWS = RNG.normal(size=(6, 4))
VALUES, SLOPES = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4, 6))
DERIVATIVES = OutputDerivatives(np.ones((6, 2)), np.ones((6, 2, 2)))
KERNEL = np.einsum("ip,jp->ij", ROWS, ROWS)[..., None, None] * np.eye(2)
MATRIX, RIGHT = torch.diag(torch.tensor([1.0, 2.0, 3.0])).double(), torch.ones(2, 3).double()


def lds(scores=SCORES, parts=PARTS, margins=MARGINS):
    return linear_datamodeling_score(scores, parts, margins, rng=np.random.default_rng(0), draws=10)


def ceiling(margins):
    return noise_ceiling(margins, rng=np.random.default_rng(0), draws=10)


def solved(product=lambda x: x @ MATRIX, right=RIGHT, precondition=lambda x: x, tol=1e-8, most=9):
    return conjugate_gradients(product, right, precondition=precondition, tol=tol, most=most)


def trak(train=VALUES, test=VALUES, probability=(0.5, 0.5, 0.5)):
    return trak_scores(
        [TrakNetwork(VALUES, VALUES, np.full(3, 0.5)), TrakNetwork(train, test, np.array(probability))], 1.0
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lds(margins=MARGINS[:, :2]), "do not belong together"),
        (lambda: lds(scores=BROKEN), r"scores has 1 of 24 values that are NaN or infinite, the first at \[1, 2\]"),
        (lambda: lds(margins=MARGINS * np.inf), "margins has 15 of 15 values"),
        (lambda: lds(parts=PARTS[:2], margins=MARGINS[:2]), "over 2 subsets says nothing"),
        (lambda: lds(parts=np.ones((5, 8), bool)), "All 5 subsets hold the same training points"),
        (lambda: ceiling(np.full((5, 2, 3), np.nan)), "margins has 30 of 30"),
        (lambda: ceiling(MARGINS), r"margins has 2 axes .* \(s, r, m\) is needed"),
        (lambda: random_subsets(8, 0, RNG), "count=0 must be at least 1"),
        (lambda: random_subsets(8, 2, 0), "rng=0 must be a generator"),
        (lambda: leave_out_effects(MARGINS, {}), "after is empty"),
        (lambda: leave_out_effects(MARGINS, {"top": MARGINS * np.nan}), r"after\['top'\] has 15 of 15"),
        (lambda: tracin_scores([], []), "0 kernels for 0 learning rates"),
        (lambda: tracin_scores([SCORES, SCORES.T], [0.1, 0.1]), r"grams\[1\] has the shape \(8, 3\)"),
        (lambda: tracin_scores([BROKEN], [0.1]), r"grams\[0\] has 1 of 24"),
        (lambda: tracin_scores([SCORES], [-0.1]), "must be finite and at least 0"),
        (lambda: tracin_self_influence([np.array([1.0, np.nan])], [0.1]), r"grams\[0\] has 1 of 2"),
        (lambda: trak(train=VALUES[:2], probability=(0.5, 0.5)), "with the points of networks"),
        (lambda: trak(test=VALUES * np.nan), r"networks\[1\].test has 12 of 12"),
        (lambda: trak(probability=(0.5, 0.5, 2.0)), "probability must lie between 0 and 1"),
        (lambda: spread_scores(VALUES[:1], SLOPES[:1]), "needs at least 2"),
        (lambda: spread_scores(VALUES, SLOPES[:2]), "with s = 3"),
        (lambda: spread_scores(VALUES * np.nan, SLOPES), "values has 12 of 12"),
        (lambda: step_agreement(SLOPES[0], np.ones((1, 5), bool), np.ones((1, 1, 4)), [0.1]), "with n = 6"),
        (lambda: step_agreement(SLOPES[0], np.ones((1, 6), bool), np.full((1, 1, 4), np.nan), [0.1]), "changes has 4"),
        (lambda: embedding_scores(VALUES, SLOPES[0]), "with p = 4"),
        (lambda: embedding_scores(VALUES * np.nan, VALUES), "test has 12 of 12"),
        (lambda: bm25_scores(["good film"], [np.array([1])]), r"test\[0\] is a text: give the whole numbers"),
        (lambda: bm25_scores([np.array([1])], [np.array([1.5])]), r"train\[0\] must hold the tokens of one text"),
        (lambda: bm25_scores([np.array([1])], [np.array([1])], b=2.0), "b=2 between 0 and 1"),
        (lambda: bm25_scores([np.array([1])], []), "train holds no texts"),
        (lambda: refit_representer_head(VALUES, np.zeros(3, int), 0.1), "one class for 3 points"),
        (lambda: refit_representer_head(VALUES, np.array([0, 1, 0]), 0.0), "penalty must be positive"),
        (lambda: refit_representer_head(VALUES * np.nan, np.array([0, 1, 0]), 0.1), "features has 12 of 12"),
        (lambda: representer_scores(VALUES, VALUES, np.ones((3, 2)), np.array([0, 1, 5])), r"outside 0\.\.2-1"),
        (lambda: exact_influence(ROWS, ROWS, ROWS, damping=0.0), "damping must be positive"),
        (lambda: exact_influence(ROWS, ROWS, ROWS, damping=np.inf), "damping must be positive"),
        (lambda: exact_influence(ROWS[:, :3], ROWS, ROWS, damping=1.0), "with p = 3"),
        (lambda: exact_influence(ROWS, ROWS * np.nan, ROWS, damping=1.0), "train has 24 of 24"),
        (lambda: kernel_influence(KERNEL, KERNEL, DERIVATIVES, np.ones((6, 2)), damping=-1.0), "damping must be"),
        (
            lambda: kernel_influence(KERNEL[:5, :5], KERNEL[:, :5], DERIVATIVES, np.ones((6, 2)), damping=1.0),
            "kernel of 5",
        ),
        (lambda: kernel_influence(KERNEL * np.nan, KERNEL, DERIVATIVES, np.ones((6, 2)), damping=1.0), "square has"),
        (lambda: solved(most=0), "most=0 at least 1 step"),
        (lambda: solved(right=RIGHT * torch.nan), "right has values that are NaN or infinite, first in row 0"),
        (lambda: solved(product=lambda x: -x), "not positive definite: raise the damping"),
        (lambda: solved(precondition=lambda x: -x), "the preconditioner of conjugate gradients is not positive"),
        (lambda: solved(precondition=lambda x: x[:, :2]), r"precondition turns rows of shape \(2, 3\)"),
        (lambda: segment_products({"w": RIGHT}, [], [1.0]), "0 segments for 1 lengths"),
        (lambda: segment_products({"w": RIGHT}, [], []), "at least one segment"),
        (
            lambda: GaussNewton(nn.Linear(3, 2), RIGHT.float(), torch.ones(5, 2, 2), torch.ones(5, 2)),
            "2 points by its 2",
        ),
        (lambda: OptimizerRule("sgd", momentum=1.5), "momentum=1.5 and betas"),
        (lambda: OptimizerRule("adam", weight_decay=-1.0), "weight_decay=-1 must be at least 0"),
    ],
)
def test_numbers_that_say_nothing_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


INPUTS, LABELS, PLACES = torch.randn(6, 3).double(), torch.tensor([0, 1, 0, 1, 0, 1]), torch.arange(6)


def replay(network=None, inputs=INPUTS, places=PLACES, rates=(0.1,) * 4, rows=6, batch=None, loss=None):
    return Replay(
        (network or nn.Linear(3, 2)).double(),
        lambda model, given: model(given["x"]),
        loss or nn.functional.cross_entropy,
        OptimizerRule("sgd"),
        rates,
        batch or (lambda step: ({"x": inputs}, LABELS, places)),
        rows,
    )


def drawn_anew(step):
    return {"x": INPUTS + torch.randn(6, 3).double()}, LABELS, PLACES


def swept(measure=lambda weights: weights[:2], **given):
    return replay(**given).derivative(measure)


def far_off(logits, targets):
    return ((logits[:, 0] - targets) ** 2).mean()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(replay, nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))), "draws random masks"),
        (partial(replay, nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))), "training changes 0.running_mean"),
        (partial(replay, nn.Linear(3, 2).requires_grad_(False)), "no parameter of the network needs a gradient"),
        (partial(replay, batch=drawn_anew), "seeded by the step"),
        (partial(replay, inputs=INPUTS * torch.nan), "'x' of the first batch holds values that are NaN"),
        (partial(replay, places=PLACES + 3), "6 targets and 6 rows from 3 to 8"),
        (partial(replay, places=PLACES[:5]), "6 targets and 5 rows"),
        (partial(replay, rates=()), "0 rates"),
        (partial(replay, rates=(0.1, float("nan"))), "finite learning rate of each step"),
        (lambda: replay().run(torch.ones(5).double()), "must have 6 numbers, one for each training row"),
        (lambda: replay().run(torch.ones(6)), "of the network's torch.float64"),
        (lambda: replay().run_together(torch.ones(1, 5).double()), r"row_weights of shape \(1, 5\)"),
        (lambda: replay().states([9]), r"steps=\[9\] must ascend from 0 to 4"),
        (lambda: swept(lambda weights: weights.sum()), r"it gave the shape \(\)"),
        (lambda: swept(lambda weights: torch.ones(2)), "it gave a constant"),
        (
            lambda: swept(rates=(1e200,) * 4, loss=far_off),
            "the training diverges, weights are NaN or infinite after step",
        ),
    ],
)
def test_a_training_that_cannot_be_replayed_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
