"""Arrays, numbers, words and truth values of another kind end in one sentence that names the argument."""

import numpy as np
import pytest
import torch

import analysis
import kernels
from analysis.probes import FeatureBlocks
from analysis.surrogates import KernelGLM, KernelGLMCV, KernelNeighbors, KernelRidgeSurrogate, KernelSVM

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        ("dkw_threshold", {"n": "a"}, "n='a' must be a number."),
        ("dkw_threshold", {"n": 100, "eps": float("nan")}, "eps=nan must be a number, such as eps=0.01."),
        ("bootstrap_levels", {"gaps": np.ones((3, 9)), "delta": 0.1, "draws": 5.0, "rng": RNG}, "draws=5.0 must be"),
        (
            "fit_pca",
            {"features": FeatureBlocks.from_array(torch.ones(9, 3)), "rank": True},
            "rank=True must be a whole number.",
        ),
        (
            "consensus_levels",
            {"gaps": np.ones((2, 9)), "deltas": [0.1], "device": "gpu0"},
            "device='gpu0' is no device",
        ),
        ("consensus_levels", {"gaps": np.ones((2, 9)), "deltas": 0.1}, "deltas=0.1 must be a list of numbers, such as"),
        ("consensus_levels", {"gaps": np.ones((2, 9)), "deltas": ["a"]}, "deltas holds 'a' and must be a list of"),
        ("fit_pca", {"features": np.ones((9, 3)), "rank": 2}, "as FeatureBlocks.from_array makes one."),
        ("mmd_test", {"generator": 0}, "generator=0 must be a generator, as numpy.random.default_rng(0) gives one"),
    ],
    ids=["word", "nan", "fraction", "truth value", "device", "list", "item", "class", "generator"],
)
def test_an_argument_of_another_kind_is_named(function, given, message):
    with pytest.raises((ValueError, TypeError)) as refused:
        getattr(analysis, function)(*([np.ones((9, 2))] * 2 if function == "mmd_test" else []), **given)
    assert message in str(refused.value)


def test_numbers_of_numpy_are_numbers():
    assert analysis.dkw_threshold(np.int64(100), eps=np.float32(0.5)) > 0


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        ("trimming_level", {"candidate": 2.5, "reference": [1.0], "delta": 0.1}, "candidate is a float: give an array"),
        ("trimming_level", {"candidate": None, "reference": [1.0], "delta": 0.1}, "candidate is None: give an array"),
        ("consensus_levels", {"gaps": ["x", "y"], "deltas": [0.1]}, "gaps holds texts, numbers are needed."),
        ("consensus_levels", {"gaps": [[1.0], [1.0, 2.0]], "deltas": [0.1]}, "gaps has rows of different lengths"),
        ("consensus_levels", {"gaps": np.ones(9), "deltas": [0.1]}, "gaps has 1 axis (shape (9,)), two are needed."),
        ("compared_quantity", {"logits": np.ones((0, 2))}, "logits is empty (shape (0, 2))."),
        ("run_metrics", {"outputs": np.ones((2, 4)), "labels": [0, 1, 0.5, 1]}, "labels must hold whole numbers; some"),
        ("rank_seeds", {"levels": [0.0] * 3, "draws": np.ones((20, 4))}, "draws is (b, m) with m = 3."),
        ("discrepancy", {"churn": np.ones((2, 3))}, "churn has the shape (2, 3), (m, m) is needed."),
        ("factorize_gram", {"gram": None}, "gram is None: give an array, a tensor or lists of numbers."),
        (
            "bootstrap_onset",
            {"correct": np.full((2, 2, 9), 0.5), "layers": ["a", "b"], "generator": RNG},
            "truth values",
        ),
    ],
    ids=["number", "none", "texts", "ragged", "axes", "empty", "fractions", "sizes", "square", "gram", "truth values"],
)
def test_an_array_that_does_not_fit_is_named(function, given, message):
    with pytest.raises(ValueError) as refused:
        getattr(analysis, function)(**given)
    assert message in str(refused.value)


def test_arrays_of_every_library_give_equal_numbers():
    logits = RNG.normal(size=(3, 20, 2))
    labels = RNG.integers(0, 2, 20)
    wanted = analysis.compared_quantity(logits, labels, quantity="signed_gap")
    for form in (torch.tensor(logits, requires_grad=True), logits.tolist()):
        for known in (labels.tolist(), torch.tensor(labels), labels.astype(float), labels.astype(np.uint8)):
            found = analysis.compared_quantity(form, known, quantity="signed_gap")
            np.testing.assert_array_equal(found, wanted)
    gram = [[2, 1], [1, 2]]
    assert kernels.kernel_spectrum(gram).tolist() == kernels.kernel_spectrum(np.array(gram, float)).tolist()


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (KernelGLM(alpha="a"), "alpha='a' must be a number, such as alpha=0.0001."),
        (KernelGLM(max_iter=2.5), "max_iter=2.5 must be a whole number, such as max_iter=100."),
        (KernelGLM(tol=0.0), "tol must be above 0"),
        (KernelGLM(device="gpu0"), "device='gpu0' is no device of this machine"),
        (KernelGLMCV(alphas=["a"]), "alphas holds 'a' and must be a list of numbers"),
        (KernelGLMCV(cv=1), "cv=1: cross-validation needs at least 2 folds."),
        (KernelSVM("a"), "C='a' must be a number, such as C=1.0."),
        (KernelSVM(-1.0), "C must be finite and above 0"),
        (KernelRidgeSurrogate(None), "alpha is None and must be a number"),
        (KernelNeighbors(k=1.5), "k=1.5 must be a whole number, such as k=5."),
    ],
    ids=["alpha", "steps", "tolerance", "device", "alphas", "folds", "C", "negative C", "ridge", "neighbors"],
)
def test_a_setting_of_a_machine_is_named_when_it_is_fitted(machine, message):
    with pytest.raises(ValueError) as refused:
        machine.fit(np.eye(6), [0, 1] * 3)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        ("kernel_matrix", {"memory": ["x"]}, "memory=['x'] is not a size"),
        ("kernel_matrix", {"precision": []}, "unknown precision []"),
        ("kernel_features", {"sketch": {}}, "unknown sketch {}"),
        ("layer_features", {"batch_size": 2.5}, "batch_size=2.5 must be a whole number"),
        ("layer_features", {"layers": 3}, "layers=3: pass 'all'"),
        ("autograd_kernel", {"chunk": "a"}, "chunk=a must be a whole number"),
    ],
    ids=["memory", "precision", "sketch", "batch", "layers", "chunk"],
)
def test_an_option_of_a_kernel_is_named(function, given, message):
    with pytest.raises(ValueError) as refused:
        found = getattr(kernels, function)(torch.nn.Linear(2, 2).eval(), torch.ones(3, 2), **given)
        next(found)
    assert message in str(refused.value)
