"""Matching finds a planted permutation, never makes weights less alike, and agrees with trying every permutation."""

import itertools

import numpy as np
import pytest

from analysis.interpolation import match_activations, match_weights

AXES = {"a.w": [(0, "a")], "a.b": [(0, "a")], "b.w": [(0, "b"), (1, "a")], "c.w": [(1, "b")]}
SIZES = {"a": 4, "b": 3}


def weights(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"a.w": (4, 5), "a.b": (4,), "b.w": (3, 8), "c.w": (2, 3)}  # two values of b.w for each unit of a
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def reordered(values: dict[str, np.ndarray], a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    wide = (2 * a[:, None] + np.arange(2)).reshape(-1)
    return {
        "a.w": values["a.w"][a],
        "a.b": values["a.b"][a],
        "b.w": values["b.w"][b][:, wide],
        "c.w": values["c.w"][:, b],
    }


def alike(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return sum(float((one[name] * other[name]).sum()) for name in one)


def test_a_planted_permutation_is_found():
    second = weights(0)
    a, b = np.array([2, 0, 3, 1]), np.array([1, 2, 0])
    found = match_weights(reordered(second, a, b), second, AXES, SIZES)
    assert found["a"].tolist() == a.tolist() and found["b"].tolist() == b.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_no_single_group_can_be_bettered_and_weights_are_no_less_alike_than_before(seed):
    first, second = weights(seed), weights(seed + 10)
    found = match_weights(first, second, AXES, SIZES, seed)
    reached = alike(first, reordered(second, found["a"], found["b"]))
    assert reached >= alike(first, second) - 1e-12
    every_a = [alike(first, reordered(second, np.array(a), found["b"])) for a in itertools.permutations(range(4))]
    every_b = [alike(first, reordered(second, found["a"], np.array(b))) for b in itertools.permutations(range(3))]
    assert reached == pytest.approx(max(every_a)) == pytest.approx(max(every_b))


def test_activities_are_matched_by_correlation_whatever_their_scale():
    rng = np.random.default_rng(0)
    second = rng.standard_normal((200, 6))
    order = rng.permutation(6)
    first = (second * rng.uniform(0.1, 9, 6) + rng.standard_normal(6))[:, order]
    assert match_activations({"a": first}, {"a": second})["a"].tolist() == order.tolist()
    second[:, 2] = 1.0  # a dead unit takes the place that is left
    found = match_activations({"a": first}, {"a": second})["a"]
    assert sorted(found.tolist()) == list(range(6)) and found.tolist() == order.tolist()
    with pytest.raises(ValueError, match=r"group 'a': activities have shapes \(200, 6\) and \(200, 5\)"):
        match_activations({"a": first}, {"a": second[:, :5]})


@pytest.mark.parametrize(
    ("second", "axes", "sizes", "message"),
    [
        (
            {"w": np.ones((3, 3))},
            {"w": [(0, "u")]},
            {"u": 4},
            r"'w' has the shape \(4, 3\) in the first network and \(3, 3\)",
        ),
        ({"v": np.ones((4, 3))}, {"w": [(0, "u")]}, {"u": 4}, "only networks of one architecture"),
        (
            {"w": np.full((4, 3), np.nan)},
            {"w": [(0, "u")]},
            {"u": 4},
            r"second\['w'\] has 12 of 12 values that are NaN",
        ),
        ({"w": np.ones((4, 3))}, {"w": [(0, "u")]}, {"u": 5}, "axis 0 of 'w', of shape"),
        ({"w": np.ones((4, 3))}, {"w": [(2, "u")]}, {"u": 4}, "axis 2 of 'w'"),
        ({"w": np.ones((4, 3))}, {"w": [(0, "v")]}, {"u": 4}, "has no units in sizes"),
        ({"w": np.ones((4, 3))}, {}, {"u": 4}, "has units that no axis is in the order of"),
    ],
)
def test_networks_of_two_architectures_are_refused(second, axes, sizes, message):
    with pytest.raises(ValueError, match=message):
        match_weights({"w": np.ones((4, 3))}, second, axes, sizes)


def test_activities_that_cannot_be_correlated_are_refused():
    with pytest.raises(ValueError, match=r"must be the same, and are \['a'\] and \['b'\]"):
        match_activations({"a": np.ones((3, 2))}, {"b": np.ones((3, 2))})
    with pytest.raises(ValueError, match="on 1 example have no correlation"):
        match_activations({"a": np.ones((1, 2))}, {"a": np.ones((1, 2))})
    with pytest.raises(ValueError, match=r"first\['a'\] has 6 of 6"):
        match_activations({"a": np.full((3, 2), np.nan)}, {"a": np.ones((3, 2))})
