"""Each published defect is a switch that changes its own number and no other."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from analysis.attribution.tracin import gradient_cosine
from analysis.surrogates.faithfulness import binary_log_scores, explained_variance, kendall_tau, log_odds
from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.published import (
    PublishedDefects,
    conjugate_kernel,
    counted_seeds,
    gradient_labels,
    gradient_parts,
    kernel_in_use,
    loss_error,
    machine_kernel,
    network_output,
    one_hot_index_tau,
    positive_class_tau,
    solver_seed,
    test_axis_r2,
)

test_axis_r2.__test__ = False
N, M, C = 40, 30, 3


def study(defects):
    """One number per defect, from the same made-up arrays."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N + M, 6))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    logits = 3 * features @ rng.normal(size=(6, C))
    other = logits + rng.normal(size=logits.shape)
    labels = np.where(rng.random(N + M) < 0.7, logits.argmax(1), rng.integers(0, C, N + M))
    binary, initial = 20 * features[:, 0], features[:, 1]
    gradients = {"first": features[:, :3] * 1.0, "second": features[:, 3:] * 1.0}
    features = features.copy()
    test, columns = slice(N, None), np.arange(M)
    numbers = {}
    seen = binary_log_scores(binary[test]), binary_log_scores(binary[test] + rng.normal(size=M))
    true = labels[test] % 2
    if defects.positive_class_tau:
        as_float32 = [expit(s[:, 1]).astype(np.float32) for s in seen]
        numbers["positive_class_tau"] = positive_class_tau(*as_float32).tau
    else:
        a, b = (log_odds(s)[columns, true][:, None] for s in seen)
        numbers["positive_class_tau"] = kendall_tau(a, b)
    a, b = (log_odds(s[test])[columns, labels[test]][:, None] for s in (logits, other))
    p, q = (softmax(s[test], axis=1) for s in (logits, other))
    numbers["one_hot_index"] = one_hot_index_tau(p, q, labels[test]).tau if defects.one_hot_index else kendall_tau(a, b)
    numbers["test_axis_r2"] = (
        test_axis_r2(logits[test], other[test]) if defects.test_axis_r2 else explained_variance(a, b)
    )
    kernels = {"trntk": features @ features.T, "trntk0": 2 * features @ features.T + np.outer(binary, binary) / 99}
    machine = kernels[machine_kernel({"trntk": "trntk", "trntk0": "trntk0"}, "trntk0", defects)]
    fitted = KernelGLM(1e-2).fit(machine[:N, :N], labels[:N])
    numbers["reused_machine"] = fitted.predict_proba(kernels["trntk0"][test, :N])[0, 0]
    numbers["squared_conjugate"] = conjugate_kernel(features @ features.T, defects)[0, 1]
    numbers["test_labels"] = int(gradient_labels(labels[test], logits[test].argmax(1), defects).sum())
    numbers["raw_logit_loss"] = loss_error(logits, labels, defects)[0, 0]
    numbers["first_tensor"] = sum(gradients[n][0, 0] for n in gradient_parts(list(gradients), defects))
    numbers["uncentred_output"] = network_output(binary, initial, defects)[0]
    numbers["left_out_seeds"] = float(np.mean(counted_seeds(range(20), defects)))
    numbers["stored_kernel"] = kernel_in_use(kernels["trntk"], kernels["trntk0"], defects)[0, 1]
    seed = solver_seed(5, defects)
    sgd = KernelGLM(1e-2, solver="sgd", random_state=seed).fit(kernels["trntk"][:N, :N], labels[:N])
    numbers["unseeded_solver"] = sgd.weights_[0, 0]
    empty = features.copy()
    empty[0] = 0
    norm = (empty**2).sum(1)
    numbers["unguarded_cosine"] = gradient_cosine(empty @ empty.T, norm, norm, guard=not defects.unguarded_cosine)[0, 1]
    return numbers


CORRECTED = PublishedDefects()


@pytest.mark.parametrize("name", [field.name for field in fields(PublishedDefects)])
def test_a_switch_changes_its_own_number_only(name):
    before, after = study(CORRECTED), study(replace(CORRECTED, **{name: True}))
    assert set(before) == {field.name for field in fields(PublishedDefects)}
    changed = {key for key in before if not np.array_equal(before[key], after[key], equal_nan=True)}
    assert changed == {name}


def test_protocol_published_turns_every_switch_on():
    assert all(vars(PublishedDefects.all()).values()) and not any(vars(CORRECTED).values())


def test_published_tau_drops_saturated_points_by_precision():
    output = np.array([-200.0, -3.0, 1.0, 20.0, 200.0])
    single, double = (positive_class_tau(*[expit(output.astype(t))] * 2) for t in (np.float32, np.float64))
    assert (single.dropped, double.dropped) == (3, 1) and single.n + single.dropped == 5
    assert double.tau == 1


def test_one_hot_index_reads_columns_0_and_1():
    network, surrogate = np.random.default_rng(0).random((2, 6, 4))
    labels = np.arange(6) % 4
    found = one_hot_index_tau(network, surrogate, labels)
    assert found.n == 24
    swapped = network.copy()
    swapped[:, 2:] = 0  # columns beyond 1 are never read
    assert one_hot_index_tau(swapped, surrogate, labels).tau == found.tau


def test_raw_logit_errors_make_a_same_label_mask():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    mask = loss_error(logits, labels, replace(CORRECTED, raw_logit_loss=True))
    np.testing.assert_array_equal(mask @ mask.T, labels[:, None] == labels[None])
    np.testing.assert_allclose(loss_error(logits, labels, CORRECTED).sum(1), 0, atol=1e-12)
    assert np.exp(log_softmax(logits, 1)).sum() == pytest.approx(6)


def test_a_stored_kernel_must_fit():
    with pytest.raises(ValueError, match="needs a stored kernel"):
        kernel_in_use(np.ones((2, 2)), None, replace(CORRECTED, stored_kernel=True))
