"""A kernel, and a set of features, behave like arrays, and files give them back exactly."""

import builtins
import copy
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC
from torch import nn

from kernels import (
    KernelFeatures,
    KernelResult,
    effective_rank,
    kernel_alignment,
    kernel_features,
    kernel_matrix,
    kernel_spectrum,
    relative_change,
    target_alignment,
    unbiased_cka,
)

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
Y = np.array([0, 1, 0, 1, 0, 1])


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval()


@pytest.fixture(scope="module")
def square() -> KernelResult:
    return kernel_matrix(network(), X)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> dict[str, KernelResult | KernelFeatures]:
    out = tmp_path_factory.mktemp("kernels") / "gram.safetensors"
    return {
        "square": kernel_matrix(network(), X),
        "test x train, by layer": kernel_matrix(network(), X, X[:2], layerwise=True),
        "raw test x train": kernel_matrix(network(), X, X[:2], normalize=False),
        "in a file": kernel_matrix(network(), X, layerwise="module", out=out, normalize="part"),
        "classes": kernel_matrix(network(), X, X[:2], kind="entk", precision="float64"),
        "sketched": kernel_matrix(network(), X, X[:2], sketch="countsketch", dim=8),
        "features": kernel_features(network(), X, dim=8),
        "features by layer": kernel_features(network(), X, sketch=None, layerwise=True, precision="float64"),
    }


KEPT = [
    "square",
    "test x train, by layer",
    "raw test x train",
    "in a file",
    "classes",
    "sketched",
    "features",
    "features by layer",
]


@pytest.mark.parametrize("name", KEPT)
def test_torch_and_numpy_take_it_for_its_array(kept, name: str) -> None:
    K = kept[name]
    array = K.matrix if isinstance(K, KernelResult) else K.values
    for tensor in (torch.as_tensor(K), torch.from_dlpack(K), torch.asarray(K)):
        assert torch.equal(tensor, array) and tensor.data_ptr() == array.data_ptr()
    assert torch.equal(torch.tensor(K), array)
    for numbers in (np.asarray(K), K.numpy(), np.asarray(K, copy=False), np.from_dlpack(K)):
        assert np.shares_memory(numbers, array.numpy()) and np.array_equal(numbers, array.numpy())
    assert not np.shares_memory(np.array(K), array.numpy()) and np.asarray(K, dtype=np.float16).dtype == np.float16
    assert not np.shares_memory(np.asarray(K, copy=True), array.numpy())
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(K, dtype=np.float16, copy=False)
    assert (K.shape, K.dtype, K.ndim, len(K)) == (array.shape, array.dtype, array.ndim, len(array))
    assert K.device == array.device
    assert torch.equal(K[1], array[1]) and torch.equal(K[:, [0, 1]], array[:, [0, 1]])
    assert all(torch.equal(left, right) for left, right in zip(K, array, strict=True))


def test_products_with_vectors_and_matrices(square: KernelResult) -> None:
    v, w = torch.randn(6), torch.randn(6, 2)
    for found, expected in (
        (square @ v, square.matrix @ v),
        (v @ square, v @ square.matrix),
        (w.T @ square @ w, w.T @ square.matrix @ w),
        (square @ square, square.matrix @ square.matrix),
        (torch.matmul(square, w), square.matrix @ w),
    ):
        assert isinstance(found, torch.Tensor) and torch.equal(found, expected)
    for found, expected in (
        (square @ v.numpy(), square.numpy() @ v.numpy()),
        (v.numpy() @ square, v.numpy() @ square.numpy()),
        (np.dot(square, w.numpy()), square.numpy() @ w.numpy()),
    ):
        assert isinstance(found, np.ndarray) and np.array_equal(found, expected)
    features = kernel_features(network(), X, dim=8)
    assert torch.equal(features @ features.T, features.values @ features.values.T)
    assert torch.equal(features.T @ v, features.values.T @ v)


def test_arithmetic_and_comparison_are_by_entry(square: KernelResult) -> None:
    K, other = square.matrix, torch.rand(6, 6)
    pairs = [
        (square + 1, K + 1),
        (1 - square, 1 - K),
        (square - other, K - other),
        (other - square, other - K),
        (2 * square, 2 * K),
        (square / 2, K / 2),
        (1 / square, 1 / K),
        (square**2, K**2),
        (-square, -K),
        (abs(square), K.abs()),
        (square + square, K + K),
        (square == K, K == K),
        (square != other, K != other),
        (square < 0.5, K < 0.5),
        (square >= other, K >= other),
    ]
    for found, expected in pairs:
        assert isinstance(found, torch.Tensor) and torch.equal(found, expected)
    assert np.array_equal(np.eye(6, dtype=np.float32) + square, np.eye(6, dtype=np.float32) + K.numpy())
    with pytest.raises(TypeError):
        square + "one"


def test_functions_of_both_libraries(square: KernelResult) -> None:
    K = square.matrix
    torch.testing.assert_close(torch.linalg.eigvalsh(square), torch.linalg.eigvalsh(K))
    np.testing.assert_allclose(np.linalg.eigvalsh(square), np.linalg.eigvalsh(K.numpy()))
    assert float(torch.trace(square)) == float(np.trace(square)) == 6.0
    assert np.array_equal(np.diag(square), np.ones(6, np.float32)) and torch.equal(torch.diagonal(square), K.diagonal())
    assert torch.stack([square, square]).shape == (2, 6, 6) and torch.equal(torch.cat([square, K]), torch.cat([K, K]))
    assert torch.allclose(square, K) and torch.equal(square, K) and np.array_equal(square, K)
    np.testing.assert_allclose([np.sum(square), np.mean(square)], [K.sum(), K.mean()], rtol=1e-5)
    assert np.shape(square) == (6, 6) and np.ndim(square) == 2 and np.max(square) == K.max()
    with pytest.raises(AttributeError, match=r"no attribute 'sum': use torch.as_tensor\(result\).sum"):
        square.sum()


def test_our_own_diagnostics_take_results(square: KernelResult) -> None:
    K, other = square.matrix, kernel_matrix(network(), X, kind="pntk")
    labels = torch.from_numpy(Y)
    assert torch.equal(kernel_spectrum(square), kernel_spectrum(K)) and effective_rank(kernel_spectrum(square)) > 1
    assert kernel_alignment(square, other) == kernel_alignment(K, other.matrix)
    assert target_alignment(square, labels) == target_alignment(K, labels)
    assert unbiased_cka(square, other) == unbiased_cka(K, other.matrix)
    assert relative_change(square, other) == relative_change(K, other.matrix)


def test_scikit_learn_takes_it_for_a_precomputed_kernel(square: KernelResult) -> None:
    cross = kernel_matrix(network(), X, X[:3])
    fitted = SVC(kernel="precomputed").fit(square, Y)
    plain = SVC(kernel="precomputed").fit(square.numpy(), Y)
    assert np.array_equal(fitted.decision_function(cross), plain.decision_function(cross.numpy()))
    ridge = KernelRidge(kernel="precomputed").fit(square, Y)
    assert ridge.predict(cross).shape == (3,)
    scores = [cross_val_score(SVC(kernel="precomputed"), kernel, Y, cv=2) for kernel in (square, square.numpy())]
    assert np.array_equal(*scores)


def test_sides_are_exchanged_with_their_diagonals() -> None:
    K = kernel_matrix(network(), X, X[:2], layerwise=True)
    other = kernel_matrix(network(), X[:2], X, layerwise=True)
    torch.testing.assert_close(K.T.matrix, other.matrix)
    torch.testing.assert_close(K.T.diagonal, other.diagonal)
    torch.testing.assert_close(K.T.column_diagonal, other.column_diagonal)
    for name, part in other.parts.items():
        torch.testing.assert_close(K.T.parts[name], part)
    assert K.T.T.equals(K) and K.T.matrix.data_ptr() == K.matrix.data_ptr()
    full = kernel_matrix(network(), X, X[:2], kind="entk")
    torch.testing.assert_close(full.T.matrix, kernel_matrix(network(), X[:2], X, kind="entk").matrix)


@pytest.mark.parametrize("name", KEPT)
def test_a_file_gives_everything_back(kept, name: str, tmp_path: Path) -> None:
    K = kept[name]
    path = tmp_path / "new" / "K.safetensors"
    K.save(path)
    loaded = type(K).load(path)
    assert loaded.equals(K) and repr(loaded) == repr(K)
    if isinstance(K, KernelResult):
        assert loaded.metadata == K.metadata
        assert (loaded.column_diagonal is loaded.diagonal) == (K.column_diagonal is K.diagonal)
        plans = [one.metadata.get("plan") for one in (loaded, K)]
        assert str(plans[0]) == str(plans[1])
    loaded.save(path)  # over the file that it is mapped from
    assert type(K).load(path).equals(K) and os.listdir(path.parent) == ["K.safetensors"]
    for copied in (copy.copy(K), copy.deepcopy(K), pickle.loads(pickle.dumps(K))):
        assert copied.equals(K) and not copied.equals(1)


def test_files_of_other_things_are_refused_and_kept(square: KernelResult, tmp_path: Path) -> None:
    text, foreign, features = tmp_path / "text", tmp_path / "foreign.safetensors", tmp_path / "features.safetensors"
    text.write_text("a poem")
    save_file({"matrix": torch.eye(2)}, foreign)
    kernel_features(network(), X, dim=8).save(features)
    (tmp_path / "empty").touch()
    for path in (text, foreign):
        before = path.read_bytes()
        with pytest.raises(ValueError, match="not a file of this library"):
            square.save(path)
        with pytest.raises(ValueError, match="holds nothing of this library, not a kernel"):
            KernelResult.load(path)
        assert path.read_bytes() == before
    with pytest.raises(ValueError, match="holds features, not a kernel"):
        KernelResult.load(features)
    with pytest.raises(ValueError, match="is a directory"):
        square.save(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no file"):
        KernelFeatures.load(tmp_path / "absent")
    out = tmp_path / "gram.safetensors"
    computed = kernel_matrix(network(), X, out=out)
    with pytest.raises(ValueError, match="holds a kernel, not features"):
        KernelFeatures.load(out)
    computed.save(tmp_path / "empty")
    assert f"file: {out}" in repr(KernelResult.load(tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"was written by save\(\), not by a run: read it with load"):
        kernel_matrix(network(), X, out=tmp_path / "empty")


def test_parts_come_back_in_their_order(tmp_path: Path) -> None:
    kernel = KernelResult(torch.eye(2), None, None, {"2.weight": torch.eye(2), "0.bias": torch.ones(2, 2)})
    kernel.save(tmp_path / "kernel.safetensors")
    assert list(KernelResult.load(tmp_path / "kernel.safetensors").parts) == ["2.weight", "0.bias"]


@pytest.mark.parametrize("normalize", [True, False])
def test_what_a_run_has_written_is_loaded_too(tmp_path: Path, normalize: bool) -> None:
    options = {"layerwise": {"matrix": ["0"], "b:c": ["2"]}, "normalize": normalize}
    for name, sides in (("square", (X,)), ("cross", (X, X[:2]))):
        out = tmp_path / f"{name}.safetensors"
        computed = kernel_matrix(network(), *sides, out=out, **options)
        loaded = KernelResult.load(out)
        assert loaded.equals(computed) and repr(loaded) == repr(computed)
        assert loaded.metadata["certificate"] == computed.metadata["certificate"]
    computed = kernel_features(network(), X, dim=8, layerwise=True, out=tmp_path / "features")
    assert KernelFeatures.load(tmp_path / "features").equals(computed)


def test_damage_is_said(square: KernelResult, tmp_path: Path) -> None:
    path = tmp_path / "K.safetensors"
    square.save(path)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged"):
            KernelResult.load(path)


def test_what_no_file_can_keep_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "K.safetensors"
    with pytest.raises(TypeError, match="metadata hold a module"):
        KernelResult(torch.eye(2), None, None, {}, {"own": builtins}).save(path)
    with pytest.raises(ValueError, match="matrix is torch.float16: a file keeps float32 and float64"):
        KernelResult(torch.eye(2).half(), None, None).save(path)
    assert not os.listdir(tmp_path)
    odd = {"a": (1, [2.5, None]), 3: float("inf"), "dtype": torch.float64, "nested": {"tuple": ()}}
    odd["array"] = np.float32(0.5)
    KernelResult(torch.eye(2), None, None, {"": torch.ones(2, 2)}, odd).save(path)
    assert KernelResult.load(path).metadata == odd and list(KernelResult.load(path).parts) == [""]


@pytest.mark.parametrize("name", KEPT)
def test_five_lines_say_what_it_is(kept, name: str) -> None:
    lines = repr(kept[name]).splitlines()
    assert len(lines) == 5 and max(map(len, lines)) < 160 and str(kept[name]) == repr(kept[name])
    assert len(kept[name]._repr_html_()) < 1000


def test_five_lines_name_kind_size_normalization_and_file(tmp_path: Path) -> None:
    out = tmp_path / "gram.safetensors"
    shown = repr(kernel_matrix(network(), X, X[:2], kind="pntk", layerwise="module", out=out, precision="float64"))
    assert shown.startswith("KernelResult: 2 x 6, float64, on cpu, 96 B")
    assert "kind: pntk, precision float64, 2 parts" in shown and "normalized: cosine" in shown and str(out) in shown


def test_parts_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    K = kernel_matrix(network(), X, X[:2], layerwise={"total": ["0"], "head": ["2"]}, normalize=False)
    table = K.to_dataframe()
    assert list(table.columns) == ["row", "column", "part", "value"] and len(table) == 24
    head = table[table["part"] == "head"].pivot(index="row", columns="column", values="value")
    assert np.array_equal(head.to_numpy(), K.parts["head"].numpy())
    summed = table.groupby(["row", "column"])["value"].sum().to_numpy().reshape(2, 6)
    np.testing.assert_allclose(summed, K.numpy(), rtol=1e-6)
    full = kernel_matrix(network(), X[:2], kind="entk").to_dataframe()
    assert list(full.columns) == ["row", "column", "row_class", "column_class", "value"] and len(full) == 36
    features = kernel_features(network(), X, kind="trntk", sketch=None, layerwise=True)
    table = features.to_dataframe()
    assert list(table.columns) == ["row", "cotangent", "feature", "part", "value"]
    bias = table[(table["part"] == "2.bias") & (table["row"] == 3)].sort_values(["cotangent", "feature"])["value"]
    assert bias.tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1] and len(table) == features.values.numel()
    own = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return own(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install pandas"):
        K.to_dataframe()
