"""A kernel that is killed between tiles continues from its finished tiles and gives the same bytes."""

from pathlib import Path

import pytest
import torch

from kernels import kernel_matrix, tile_store
from kernels.assembly import Assembly
from tests.kernels.cases import BY_NAME, make

OPTIONS = {"precision": "float64", "block_rows": 3, "layerwise": "module"}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("rectangular", [False, True])
@pytest.mark.parametrize("tiles", [1, 4])
def test_killed_and_resumed_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rectangular: bool, tiles: int
) -> None:
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 8)
    test = inputs[:5].flip(0) if rectangular else None
    whole = kernel_matrix(model, inputs, test, out=tmp_path / "whole.safetensors", **OPTIONS)
    memory = kernel_matrix(model, inputs, test, **OPTIONS)
    assert torch.equal(whole.matrix, memory.matrix)

    finish, done = tile_store.FileTileStore.finish, []

    def dying(self: tile_store.FileTileStore, key: str) -> None:
        if len(done) == tiles:
            raise Killed  # after the tile's numbers were written, before the ledger says so
        finish(self, key)
        done.append(key)

    out = tmp_path / "cut.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(tile_store.FileTileStore, "finish", dying)
        with pytest.raises(Killed):
            kernel_matrix(model, inputs, test, out=out, **OPTIONS)
    assert not out.exists() and len(done) == tiles
    ledger = out.with_name(out.name + ".ledger")
    ledger.write_text(ledger.read_text() + '{"tile": "2:')  # a line cut short does not count

    computed = []
    tile = Assembly._tile
    with monkeypatch.context() as patch:
        patch.setattr(Assembly, "_tile", lambda self, *a, **k: (computed.append(k["first"]), tile(self, *a, **k)))
        resumed = kernel_matrix(model, inputs, test, out=out, **OPTIONS)
    assert len(computed) == 6 - tiles
    assert torch.equal(resumed.matrix, whole.matrix)
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["cut.safetensors", "whole.safetensors"]
    for name, part in whole.parts.items():
        assert torch.equal(resumed.parts[name], part)


def test_a_finished_kernel_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    first = kernel_matrix(model, inputs, out=tmp_path / "k.safetensors", precision="float64")
    monkeypatch.delattr(Assembly, "run")
    again = kernel_matrix(model, inputs, out=tmp_path / "k.safetensors", precision="float64")
    assert torch.equal(first.matrix, again.matrix) and torch.equal(first.diagonal, again.diagonal)


@pytest.mark.parametrize("change", ["weights", "data", "kind", "foreign"])
def test_another_kernel_in_the_way_is_refused(tmp_path: Path, change: str) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    out = tmp_path / "k.safetensors"
    options = {"precision": "float64", "out": out}
    kernel_matrix(model, inputs, **options)
    if change == "weights":
        with torch.no_grad():
            next(model.parameters()).add_(1.0)
    if change == "data":
        inputs = inputs + 1.0
    if change == "kind":
        options["kind"] = "pntk"
    if change == "foreign":
        from safetensors.torch import save_file

        save_file({"x": torch.ones(2)}, out)
    with pytest.raises(ValueError, match="belongs to another kernel|not a kernel"):
        kernel_matrix(model, inputs, **options)


def test_an_unfinished_kernel_of_other_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    with monkeypatch.context() as patch:
        patch.setattr(Assembly, "run", lambda self, store, mine: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            kernel_matrix(model, inputs, out=tmp_path / "k.safetensors", precision="float64")
    with pytest.raises(ValueError, match="train"):
        kernel_matrix(model, inputs + 1, out=tmp_path / "k.safetensors", precision="float64")
