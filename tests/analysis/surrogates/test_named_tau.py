"""Each τ ranks what its source ranks: held against the rule written out point by point."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from analysis.surrogates.faithfulness import binary_log_scores, measure_faithfulness
from analysis.surrogates.named_tau import (
    tau,
    tau_published_bert,
    tau_published_glm,
    tau_published_poison,
    tau_published_svm,
)
from tests.references import attribution_formulas as reference


def clouds(n=160, seed=0, spread=1.6, apart=3.0):
    """Logits of a trained binary network, two clouds of classes, and those of a machine that imitates it."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n // 2)
    network = np.where(labels == 1, apart, -apart) + spread * rng.normal(size=n)
    return network, 0.8 * network + 0.8 * rng.normal(size=n), labels


@pytest.mark.parametrize(("apart", "scale"), [(3.0, 1.0), (12.0, 1.0), (12.0, 40.0)])
def test_glm_ranks_single_sigmoids_against_shares_of_the_test_points(apart, scale):
    network, machine, _ = clouds(apart=apart)
    machine = scale * machine
    shares = np.exp(machine) / np.exp(machine).sum()
    found = tau_published_glm(network, machine)
    assert found.tau == pytest.approx(
        reference.published_tau(map(reference.single_sigmoid, network), shares), abs=1e-12
    )
    assert found.n + found.dropped == len(network)
    # float32 drops confident positives only; a share is 0 a thousand below the largest logit
    gone = [reference.single_sigmoid(f) == 1 or q == 0 for f, q in zip(network, shares, strict=True)]
    assert abs(found.dropped - sum(gone)) <= 1
    assert float(found) == found.tau


def test_a_machine_of_large_logits_keeps_its_points():
    """The rule that saturates the machine in float32 too keeps only points that it is unsure of."""
    rng = np.random.default_rng(5)
    network, _, _ = clouds(n=500, apart=6.0, spread=4.0)
    machine = 12 * network + 35 * rng.normal(size=500)
    assert 80 < machine.std() < 100
    found = tau_published_glm(network, machine)
    single = expit(machine.astype(np.float32))
    kept = (single > 0) & (single < 1) & (expit(network.astype(np.float32)) < 1)
    saturated = reference.published_tau(network[kept] / 1e3 + 0.5, machine[kept] / 1e4 + 0.5)
    assert found.n > 450 > 250 > kept.sum()
    assert found.tau - saturated > 0.2


def test_a_logit_beyond_exp_gives_no_value():
    network, machine, _ = clouds()
    machine[3] = 710.0
    found = tau_published_glm(network, machine)
    assert np.isnan(found.tau) and np.isnan(float(found))
    machine[3] = 700.0
    assert np.isfinite(tau_published_glm(network, machine).tau)


def test_svm_ranks_probabilities_in_double_precision():
    network, machine, _ = clouds(apart=12.0)
    machine[:3], machine[-3:] = -800.0, 40.0
    probability = expit(machine)
    found = tau_published_svm(network, probability)
    slow = reference.published_tau(map(reference.single_sigmoid, network), probability)
    assert found.tau == pytest.approx(slow, abs=1e-3)
    assert found.dropped >= 6


def test_bert_ranks_a_single_softmax_against_a_double_sigmoid():
    network, machine, _ = clouds(apart=9.0)
    logits = np.stack([-network / 2, network / 2], 1) + 1.5
    machine[-2:] = 20.0  # 1 in float32, not in float64
    found = tau_published_bert(logits, machine)
    first = [reference.single_softmax(row)[1] for row in logits]
    assert found.tau == pytest.approx(reference.published_tau(first, [float(expit(s)) for s in machine]), abs=1e-3)
    machine[-2:] = 40.0
    assert tau_published_bert(logits, machine).dropped >= 2


def test_poison_ranks_class_0_nine_times_and_class_1_once_whatever_the_label():
    rng = np.random.default_rng(0)
    network = 4 * rng.normal(size=(30, 10))
    network[:3, 0] += 200  # exactly 1 in float32, so nine values drop; the value of class 1 is exactly 0
    machine = softmax(network + 2 * rng.normal(size=(30, 10)), axis=1)
    for labels in (np.zeros(30, int), rng.integers(0, 10, 30)):
        a, b = [], []
        for i, label in enumerate(labels):
            for index in (1 if c == label else 0 for c in range(10)):
                a.append(reference.single_softmax(network[i])[index])
                b.append(machine[i, index])
        assert tau_published_poison(network, machine).tau == pytest.approx(reference.published_tau(a, b), abs=1e-3)
    assert tau_published_poison(network, machine).dropped == 30
    machine[:, 2:] = 0.5  # columns beyond 1 are never read
    assert tau_published_poison(network, machine).n == 270


def test_the_true_class_is_another_measure_than_the_positive_class():
    network, machine, labels = clouds(n=500)
    ours = tau(binary_log_scores(network), binary_log_scores(machine), labels)
    sign = 2 * labels - 1
    assert ours == pytest.approx(reference.kendall_tau_b(sign * network, sign * machine))
    assert tau_published_glm(network, machine).tau - ours > 0.1
    rows = measure_faithfulness(binary_log_scores(network), binary_log_scores(machine), labels, n_resamples=0)
    assert ours == next(row.value for row in rows if (row.metric, row.variant) == ("kendall", "correct"))


def test_float32_outputs_are_ranked_like_their_doubles():
    network, machine, labels = clouds()
    single = binary_log_scores(network).astype(np.float32)
    ours = tau(single, binary_log_scores(machine), labels)
    assert ours == tau(single.astype(np.float64), binary_log_scores(machine), labels)
