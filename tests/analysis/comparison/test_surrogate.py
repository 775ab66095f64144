"""Kernel machines against their network in one call: measures are those of the parts, kernels go in by name."""

import numpy as np
import pytest
import torch

from analysis import attribute, surrogate_report
from analysis.surrogates import KernelGLM, measure_faithfulness
from kernels import kernel_matrix
from tests.analysis.comparison.cases import kernel

TRAIN, TEST, LABELS, NETWORK = kernel()
RESULT = surrogate_report(TRAIN, TEST, LABELS, NETWORK, draws=20)


def test_measures_are_those_of_a_machine_fitted_by_hand():
    machine = KernelGLM().fit(TRAIN, LABELS[0])
    wanted = measure_faithfulness(
        NETWORK, machine.log_scores(TEST), LABELS[1], n_resamples=20, rng=np.random.default_rng(0)
    )
    assert [(row["metric"], row["variant"]) for row in RESULT.rows] == [(row.metric, row.variant) for row in wanted]
    np.testing.assert_array_equal(
        RESULT.table[["value", "low", "high"]], [[row.value, row.low, row.high] for row in wanted]
    )


def test_every_form_gives_equal_numbers():
    forms = surrogate_report(
        torch.tensor(TRAIN), TEST.tolist(), LABELS[0], torch.tensor(NETWORK), test_labels=LABELS[1].tolist(), draws=20
    )
    assert forms.rows == RESULT.rows
    sure = np.exp(NETWORK) / np.exp(NETWORK).sum(1, keepdims=True)
    found = surrogate_report(TRAIN, TEST, LABELS, sure, is_probability=True, draws=20)
    assert found.value("kendall", "correct") == pytest.approx(RESULT.value("kendall", "correct"))


@pytest.mark.slow
def test_a_result_of_the_kernels_package_and_one_output_are_taken():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).eval()
    x = torch.randn(50, 3)
    labels = (x[:, 0] > 0).long()
    train, test = (kernel_matrix(network, *sides, kind="pntk") for sides in ((x[:30],), (x[:30], x[30:])))
    result = surrogate_report(train, test, (labels[:30], labels[30:]), network(x[30:]), draws=20)
    assert result.network.shape == (20, 2) and result.value("accuracy", "surrogate") > 0.8


@pytest.mark.parametrize(
    "machine", ["svm", "ridge", "neighbors", KernelGLM(alpha=1e-2, formulation="softmax")], ids=str
)
def test_other_machines_follow_too(machine):
    assert surrogate_report(TRAIN, TEST, LABELS, NETWORK, machine=machine, draws=20).value("agreement") > 0.5


def test_several_kernels_stand_side_by_side(tmp_path):
    noise = np.random.default_rng(0).normal(size=(70, 70))
    random = noise @ noise.T
    trains, tests = {"own": TRAIN, "random": random[:40, :40]}, {"random": random[40:, :40], "own": TEST}
    result = surrogate_report(trains, tests, LABELS, NETWORK, draws=20)
    own, other = (result.value("kendall", "correct", name) for name in ("own", "random"))
    assert own == RESULT.value("kendall", "correct") and own > other + 0.2
    assert len(result.plot().axes) == 2 and "  random" in repr(result)
    text = result.report(tmp_path / "machines.html").read_text(encoding="utf-8")
    assert "The machine on random decides like its network" in text and "<svg" in text
    with pytest.raises(KeyError, match="kernels .'own', 'random'."):
        result.value("kendall", "correct", "none")


def test_the_fitted_machine_is_there_to_be_taken_apart():
    machine = RESULT.machines["kernel"]
    scores = attribute(machine.weights_, machine.offsets_, TEST, LABELS[1])
    np.testing.assert_allclose(scores.sum(1), machine.scores(TEST)[np.arange(30), LABELS[1]])


def test_a_network_without_errors_has_no_errors_to_repeat():
    right = 5 * np.eye(3)[LABELS[1]] + 0.1 * NETWORK
    assert "undefined: the network makes no error here" in repr(surrogate_report(TRAIN, TEST, LABELS, right, draws=20))


def test_one_test_point_has_no_interval_and_few_are_said():
    few = surrogate_report(TRAIN, TEST[:1], (LABELS[0], LABELS[1][:1]), NETWORK[:1], draws=20)
    assert few.table["low"].isna().all() and "nothing can be resampled" in repr(few)
    some = surrogate_report(TRAIN, TEST[:9], (LABELS[0], LABELS[1][:9]), NETWORK[:9], draws=20)
    assert "There are 9 test points" in repr(some) and "test points: intervals" not in repr(RESULT)
