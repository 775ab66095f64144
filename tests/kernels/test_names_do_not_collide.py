"""What a user calls a parameter or group is kept apart from our own names; a tied one is found under all of its."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kernels import fit_ekfac, influence_scores, kernel_features, kernel_matrix, layer_features, layer_jacobians
from kernels.fisher import EKFAC
from tests.references import per_sample_jacobian as slow

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double()
Y = torch.tensor([0, 1, 2, 0, 1])
ARRAYS = ("matrix", "features", "diagonal", "row_diagonal", "row_norms:matrix", "__metadata__")
OURS = (*ARRAYS, "total", "test", "a:b", "a/b", "test+a:b")
EXACT = {"normalize": False, "precision": "float64"}


class Bare(nn.Module):
    """Parameters that bear the names of our arrays."""

    def __init__(self) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(1)
        for name in OURS:
            self.register_parameter(name, nn.Parameter(torch.randn(4, 3, generator=made, dtype=torch.float64)))

    def forward(self, x: Tensor) -> Tensor:
        return sum((k + 1) * torch.tanh(x @ getattr(self, name)) for k, name in enumerate(OURS))


def expected_parts(model: nn.Module) -> dict[str, Tensor]:
    return {name: slow.trntk(j, j) for name, j in slow.jacobian(model, X).items()}


@pytest.mark.parametrize("place", ["in memory", "in a file"])
def test_parameters_that_are_called_as_our_arrays_are(place: str, tmp_path: Path) -> None:
    model = Bare()
    out = None if place == "in memory" else tmp_path / "gram.safetensors"
    expected = expected_parts(model)
    for _ in range(2):  # computed, then loaded
        found = kernel_matrix(model, X, layerwise=True, out=out, block_rows=2, **EXACT)
        assert list(found.parts) == list(OURS)
        for name, part in found.parts.items():
            torch.testing.assert_close(part, expected[name])
        torch.testing.assert_close(found.matrix, torch.stack(list(expected.values())).sum(0))


@pytest.mark.parametrize("place", ["in memory", "in a file"])
def test_groups_that_are_called_as_our_arrays_are(place: str, tmp_path: Path) -> None:
    model = Bare()
    groups = dict(zip(OURS, [[name] for name in reversed(OURS)], strict=True))  # each has another one's name
    whole, expected = kernel_matrix(model, X, layerwise=groups, **EXACT), expected_parts(model)
    out = None if place == "in memory" else tmp_path / "gram.safetensors"
    options = {"layerwise": groups, "out": out, "block_rows": 2, "precision": "float64"}
    for _ in range(2):
        found = kernel_matrix(model, X, X[1:4], **options)
        for name in OURS:
            raw = expected[groups[name][0]]
            torch.testing.assert_close(whole.parts[name], raw)
            scale = (whole.diagonal[1:4, None] * whole.diagonal[None]).sqrt()
            torch.testing.assert_close(found.parts[name], raw[1:4] / scale)


def test_a_file_of_other_groups_of_the_same_names_is_refused(tmp_path: Path) -> None:
    model, out = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), tmp_path / "gram.safetensors"
    kernel_matrix(model, X.float(), layerwise={"body": ["0"]}, out=out)
    with pytest.raises(ValueError, match="belongs to another kernel .parts"):
        kernel_matrix(model, X.float(), layerwise={"body": ["2"]}, out=out)


def test_features_of_parameters_that_are_called_as_our_arrays_are(tmp_path: Path) -> None:
    model = Bare()
    for sketch, dim in ((None, None), ("countsketch", 8)):
        options = {"sketch": sketch, "dim": dim, "layerwise": True, "precision": "float64"}
        kept = kernel_features(model, X, **options)
        assert list(kept.parts) == list(OURS)
        out = tmp_path / f"{sketch}.safetensors"
        for _ in range(2):
            found = kernel_features(model, X, out=out, **options)
            assert found.equals(kept)


def test_other_results_by_parameter() -> None:
    model = Bare()
    expected = slow.jacobian(model, X)
    found = layer_jacobians(model, X, precision="float64")
    assert list(found) == list(OURS)
    for name, values in found.items():
        torch.testing.assert_close(values, expected[name])
    fisher = fit_ekfac(model, X, precision="float64")
    scores = influence_scores(model, fisher, X, X, labels=Y, test_labels=Y, layerwise=True, precision="float64")
    assert set(scores) == {name.replace("+", "++") for name in OURS} == set(fisher.blocks)


def test_a_saved_fisher_matrix_of_nested_names(tmp_path: Path) -> None:
    model = nn.Module()
    for name in ("a", "a/b"):
        model.register_parameter(name, nn.Parameter(torch.ones(4, 3)))
    model.forward = lambda x: torch.tanh(x @ model.a) + torch.tanh(x[:, :1] * x @ getattr(model, "a/b"))
    fisher = fit_ekfac(model, X.float())
    fisher.save(tmp_path / "fisher.safetensors")
    loaded = EKFAC.load(tmp_path / "fisher.safetensors")
    assert list(loaded.blocks) == list(fisher.blocks) == ["a", "a/b"]
    for name, block in loaded.blocks.items():
        assert torch.equal(block.eigenvalues, fisher.blocks[name].eigenvalues)


class Tied(nn.Module):
    """A head that shares the table of the words, and one layer that is used under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.mix, self.lm_head = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9, bias=False)
        self.lm_head.weight = self.wte.weight
        self.again = self.mix

    def forward(self, ids: Tensor) -> Tensor:
        return self.lm_head(torch.tanh(self.again(torch.tanh(self.mix(self.wte(ids)).mean(1)))))[:, :3]


IDS = torch.arange(30).reshape(6, 5) % 9


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ({"layers": ["wte.weight"]}, {"layers": ["lm_head.weight"]}),
        ({"layers": ["wte"]}, {"layers": ["lm_head"]}),
        ({"layers": "mix"}, {"layers": "again"}),
        ({"layers": lambda name: "wte" in name}, {"layers": lambda name: name.startswith("lm_head")}),
        ({"fallback": ["wte", "mix"]}, {"fallback": ["lm_head", "again.weight", "again.bias"]}),
        ({"layerwise": {"one": ["wte"], "two": ["mix"]}}, {"layerwise": {"one": ["lm_head.weight"], "two": ["again"]}}),
        ({"forms": {"wte": "feature"}}, {"forms": {"lm_head": "feature"}}),
        ({"forms": {"mix": "feature"}}, {"forms": {"again": "feature"}}),
    ],
    ids=["name", "module", "shared module", "predicate", "fallback", "groups", "form of a tied table", "form"],
)
def test_a_tied_parameter_is_found_under_each_of_its_names(first: dict, other: dict) -> None:
    torch.manual_seed(0)
    model = Tied().eval()
    left, right = (kernel_matrix(model, IDS, memory="256MiB", **options) for options in (first, other))
    assert left.equals(right) and left.metadata["coverage"] == right.metadata["coverage"]
    assert left.metadata["plan"] == right.metadata["plan"]


def test_a_shared_module_is_watched_under_each_of_its_names() -> None:
    model = Tied().eval()
    found = [kernel_matrix(model, IDS, kind="embedding", layers=[name]).matrix for name in ("mix", "again")]
    assert torch.equal(*found)
    batches = [next(layer_features(model, IDS, [name])).features[name] for name in ("mix", "again")]
    assert torch.equal(*batches)
    with pytest.raises(ValueError, match="is in several groups of layerwise=: a, b"):
        kernel_matrix(model, IDS, layerwise={"a": ["wte"], "b": ["lm_head"]})
