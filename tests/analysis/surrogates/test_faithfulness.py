"""Faithfulness measures mean what they say and never saturate."""

import numpy as np
import pytest

from analysis.surrogates.faithfulness import (
    binary_log_scores,
    confidences,
    explained_variance,
    log_odds,
    measure_faithfulness,
    miss_jaccard,
    miss_rate,
    shared_errors_p_value,
)
from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.rank_correlations import spearman


def scores(n=300, n_classes=4, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    network = 4 * rng.normal(size=(n, n_classes))
    labels = np.where(rng.random(n) < 0.8, network.argmax(1), rng.integers(0, n_classes, n))
    return network, network + noise * rng.normal(size=network.shape), labels


def values(rows, subset="all"):
    return {(r.metric, r.variant): r.value for r in rows if r.subset == subset}


def test_log_odds_equal_the_definition_and_do_not_saturate():
    network, _, _ = scores()
    p = np.exp(network) / np.exp(network).sum(1, keepdims=True)
    np.testing.assert_allclose(log_odds(network), np.log(p / (1 - p)), atol=1e-9)
    far = np.array([[0.0, 400.0, 800.0], [0.0, 900.0, 950.0]])
    assert np.isfinite(log_odds(far)).all()
    assert log_odds(far)[0, 2] == pytest.approx(400) and log_odds(far)[1, 2] == pytest.approx(50)
    output = np.array([-800.0, 0.3, 900.0])
    np.testing.assert_allclose(log_odds(binary_log_scores(output)), np.stack([-output, output], 1))


def test_a_perfect_copy_is_perfectly_faithful():
    network, _, labels = scores()
    found = values(measure_faithfulness(network, 3 * network + 5, labels, n_resamples=0))
    assert found["tad", ""] == 0 and found["agreement", ""] == 1
    assert found["r_miss", "nn"] == found["r_miss", "jaccard"] == 1
    copy = values(measure_faithfulness(network, network + 5, labels, n_resamples=0))
    for kind in ("correct", "predicted", "every", "wrong", "margin"):
        assert copy["kendall", kind] == pytest.approx(1) and copy["spearman", kind] == pytest.approx(1)
    assert copy["r2", "correct"] == pytest.approx(1)
    assert copy["ece", "network"] == pytest.approx(copy["ece", "surrogate"])


def test_a_shuffled_surrogate_is_not():
    network, _, labels = scores(n=2000)
    shuffled = network[np.random.default_rng(1).permutation(2000)]
    found = values(measure_faithfulness(network, shuffled, labels, n_resamples=0))
    assert abs(found["kendall", "correct"]) < 0.05 and abs(found["kendall", "every"]) < 0.05
    assert found["r2", "correct"] < 0.02
    assert 0 <= found["r_miss", "nn"] <= 1 and 0 <= found["r_miss", "jaccard"] <= 1


def test_confidences_pick_the_stated_class():
    network, surrogate, labels = scores(n=50)
    a, b = log_odds(network), log_odds(surrogate)
    for i in range(50):
        wrong = max((c for c in range(4) if c != labels[i]), key=lambda c: a[i, c])  # noqa: B023
        others = [c for c in range(4) if c != labels[i]]
        assert confidences(a, b, labels, "correct")[1][i, 0] == b[i, labels[i]]
        assert confidences(a, b, labels, "predicted")[1][i, 0] == b[i, a[i].argmax()]
        assert confidences(a, b, labels, "wrong")[1][i, 0] == b[i, wrong]
        assert confidences(a, b, labels, "margin")[1][i, 0] == b[i, labels[i]] - max(b[i, c] for c in others)
    assert confidences(a, b, labels, "every")[0].shape == (50, 4)


def test_miss_rates_and_their_null():
    nn = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    glm = np.array([1, 1, 0, 1, 0, 0, 0, 0], bool)
    assert miss_rate(nn, glm) == pytest.approx(2 / 3) and miss_jaccard(nn, glm) == pytest.approx(2 / 4)
    rng = np.random.default_rng(0)
    p = [shared_errors_p_value(rng.random(400) < 0.2, rng.random(400) < 0.2) for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) < 0.1


@pytest.mark.slow
def test_intervals_cover_and_subsets_are_apart():
    network, surrogate, labels = scores(n=400)
    clean = np.arange(400) < 300
    rows = measure_faithfulness(
        network,
        surrogate,
        labels,
        subsets={"clean": clean, "shifted": ~clean},
        n_resamples=60,
        rng=np.random.default_rng(0),
    )
    again = measure_faithfulness(network[clean], surrogate[clean], labels[clean], n_resamples=0)
    assert values(rows, "clean") == values(again)
    tau = next(r for r in rows if (r.metric, r.variant, r.subset) == ("kendall", "correct", "shifted"))
    assert tau.low < tau.value < tau.high and tau.n == 100
    assert 0.02 < tau.high - tau.low < 0.4


def test_undefined_is_not_zero():
    network, surrogate, _ = scores(n=50)
    rows = measure_faithfulness(network, surrogate, network.argmax(1), n_resamples=0)
    miss = next(r for r in rows if (r.metric, r.variant) == ("r_miss", "nn"))
    assert np.isnan(miss.value) and "no error" in miss.note
    constant = np.tile([0.0, 1.0, 2.0, 3.0], (50, 1))
    flat = measure_faithfulness(constant, surrogate, np.zeros(50, int), n_resamples=0)
    tau = next(r for r in flat if (r.metric, r.variant) == ("kendall", "correct"))
    assert np.isnan(tau.value) and tau.ties == 50 and "constant" in tau.note
    assert np.isnan(spearman(np.ones((5, 1)), np.arange(5.0)[:, None]))
    assert np.isnan(explained_variance(np.ones((5, 1)), np.arange(5.0)[:, None]))


def test_one_class_subset_still_has_a_rank_correlation():
    network, surrogate, labels = scores(n=200)
    rows = measure_faithfulness(network, surrogate, labels, subsets={"class 1": labels == 1}, n_resamples=0)
    assert np.isfinite(values(rows, "class 1")["kendall", "correct"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, s, y: (n, s[:-1], y), "same test points"),
        (lambda n, s, y: (n, np.where(s == s[0, 0], -np.inf, s), y), "rounded to 0"),
        (lambda n, s, y: (np.where(n == n[3, 0], np.nan, n), s, y), "network's scores are not finite"),
        (lambda n, s, y: (n, s, y + 4), "Labels must be in 0..3"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_scores_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        measure_faithfulness(*change(*scores(n=20)), n_resamples=0)


def test_bad_requests_are_refused():
    network, surrogate, labels = scores(n=20)
    with pytest.raises(ValueError, match="need rng"):
        measure_faithfulness(network, surrogate, labels)
    with pytest.raises(ValueError, match="selects 0 of 20"):
        measure_faithfulness(network, surrogate, labels, subsets={"none": np.zeros(20, bool)}, n_resamples=0)
    with pytest.raises(ValueError, match="single output"):
        log_odds(np.ones((3, 1)))


def test_glm_on_a_linear_softmax_networks_kernel_recovers_its_ranking():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    logits = 6 * x @ rng.normal(size=(5, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    kernel = x @ x.T + 1  # NTK of a linear layer with bias, up to the class count
    model = KernelGLM(1e-6, formulation="softmax", class_weight=None, tol=1e-8)
    model.fit(kernel[:250, :250], p[:250].argmax(1), probabilities=p[:250])
    found = values(
        measure_faithfulness(logits[250:], model.log_scores(kernel[250:, :250]), p[250:].argmax(1), n_resamples=0)
    )
    assert found["kendall", "correct"] > 0.99 and found["kendall", "every"] > 0.99
