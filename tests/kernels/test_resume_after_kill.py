"""A kernel that is killed between tiles continues from its finished tiles and gives the same bytes."""

import errno
import json
import os
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from kernels import kernel_matrix
from kernels.contraction import tile_store
from kernels.contraction.assembly import Assembly
from tests.kernels.cases import BY_NAME, make

OPTIONS = {"precision": "float64", "block_rows": 3, "layerwise": "module"}


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "tiles, rectangular",
    [(4, True), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((1, False), (1, True), (4, False)))],
)
def test_killed_and_resumed_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rectangular: bool, tiles: int
) -> None:
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 8)
    test = inputs[:5].flip(0) if rectangular else None
    whole = kernel_matrix(model, inputs, test, out=tmp_path / "whole.safetensors", **OPTIONS)
    memory = kernel_matrix(model, inputs, test, **OPTIONS)
    assert torch.equal(whole.matrix, memory.matrix)

    finish, done = tile_store.FileTileStore.finish, []

    def dying(self: tile_store.FileTileStore, key: str, record: dict) -> None:
        if len(done) == tiles:
            raise Killed  # after the tile's numbers were written, before the ledger says so
        finish(self, key, record)
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


def test_tiles_that_were_deleted_are_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    options = {"precision": "float64", "block_rows": 3, "out": tmp_path / "k.safetensors"}
    finish = tile_store.FileTileStore.finish

    def dying(after: int):
        done: list[str] = []

        def finished(self: tile_store.FileTileStore, key: str, record: dict) -> None:
            finish(self, key, record)
            done.append(key)
            if len(done) == after:
                raise Killed

        return finished

    for tiles, delete in ((2, True), (1, False)):
        with monkeypatch.context() as patch:
            patch.setattr(tile_store.FileTileStore, "finish", dying(tiles))
            with pytest.raises(Killed):
                kernel_matrix(model, inputs, **options)
        if delete:
            (tmp_path / "k.safetensors.partial").unlink()
    found = kernel_matrix(model, inputs, **options)
    assert torch.equal(found.matrix, kernel_matrix(model, inputs, precision="float64", block_rows=3).matrix)


def interrupted(monkeypatch: pytest.MonkeyPatch, tiles: int, call) -> None:
    """Run a call and kill it after it has finished some tiles."""
    finish, done = tile_store.FileTileStore.finish, []

    def dying(self: tile_store.FileTileStore, key: str, record: dict) -> None:
        finish(self, key, record)
        done.append(key)
        if len(done) == tiles:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(tile_store.FileTileStore, "finish", dying)
        with pytest.raises(Killed):
            call()


def flip(path: Path, at: int, bit: int = 0x40) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= bit
    path.write_bytes(content)


LEDGERS = {
    "empty": lambda text: b"",
    "zeros": lambda text: bytes(300),
    "not UTF-8": lambda text: b"\xff\xfe" + text[2:],
    "garbage line": lambda text: text + b"\x00\x00garbage\n",
    "first line cut": lambda text: text[:50] + text[text.index(b"\n") :],
    "another plan": lambda text: text.replace(b'"row_block": 3', b'"row_block": 2'),
    "another fingerprint": lambda text: text.replace(b'"weights": "', b'"weights": "0'),
    "another tile": lambda text: text.replace(b'"tile": "0:1"', b'"tile": "1:1"'),
    "another place": lambda text: text.replace(b"[3, 6]", b"[3, 5]"),
    "another axis": lambda text: text.replace(b"[[0, 3], [0, 3]]", b"[[0, 3], [0, 3], [0, 1]]"),
    "a list": lambda text: text + b"[1]\n",
    "other types": lambda text: text + b'{"tile": 3, "at": [["", [["a", 1]]]], "digest": null}\n',
    "too deep": lambda text: text + b"[" * 100_000 + b"\n",
    "no digests": lambda text: b"\n".join(
        json.dumps({key: value for key, value in json.loads(line).items() if key != "digest"}).encode()
        for line in text.splitlines()
    ),
}


@pytest.fixture(scope="module", params=[False, True], ids=["square", "rectangular"])
def left(request, tmp_path_factory):
    """Model, inputs, an undisturbed kernel and the folder of one that was killed after three tiles."""
    model, inputs, _ = make(BY_NAME["mlp"], 8)
    test = inputs[:5].flip(0) if request.param else None
    out = tmp_path_factory.mktemp("killed") / "k.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, 3, lambda: kernel_matrix(model, inputs, test, out=out, **OPTIONS))
    return model, inputs, test, kernel_matrix(model, inputs, test, **OPTIONS), out


@pytest.mark.parametrize(
    "damage", ["empty", "garbage line", "another plan", "another tile", "no digests", "tile", "norm"]
)
def test_what_the_disk_has_damaged_is_computed_again(tmp_path: Path, left, damage: str) -> None:
    model, inputs, test, whole, killed = left
    shutil.copytree(killed.parent, tmp_path, dirs_exist_ok=True)
    out = tmp_path / killed.name
    ledger, partial = out.with_name(out.name + ".ledger"), out.with_name(out.name + ".partial")
    if damage in LEDGERS:
        ledger.write_bytes(LEDGERS[damage](ledger.read_bytes()))
    elif damage == "tile":
        flip(partial, 7)
    else:  # the last array: norms of a rectangular kernel, otherwise a part
        flip(partial, partial.stat().st_size - 8 * (6 * 8 if test is None else 8) + 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = kernel_matrix(model, inputs, test, out=out, **OPTIONS)
    assert torch.equal(found.matrix, whole.matrix)
    assert all(torch.equal(found.parts[name], part) for name, part in whole.parts.items())
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("damage", LEDGERS)
def test_a_damaged_line_of_a_ledger_counts_as_absent(tmp_path: Path, left, damage: str) -> None:
    path = left[-1].with_name(left[-1].name + ".ledger")
    sound = tile_store.read_ledger(path)
    assert sound is not None and (len(sound.tiles), sound.damaged, sound.cut) == (3, 0, False)
    (tmp_path / "ledger").write_bytes(LEDGERS[damage](path.read_bytes()))
    found = tile_store.read_ledger(tmp_path / "ledger")
    if damage in ("garbage line", "a list", "other types", "too deep"):
        assert found is not None and found.tiles == sound.tiles and found.damaged == 1
    elif damage in ("another tile", "another place", "another axis"):  # told by the digest over its numbers
        assert found is not None and found.tiles != sound.tiles
    else:
        assert found is None


def test_damaged_tiles_are_said_and_sound_ones_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 8)
    out = tmp_path / "k.safetensors"
    interrupted(monkeypatch, 4, lambda: kernel_matrix(model, inputs, out=out, **OPTIONS))
    flip(out.with_name(out.name + ".partial"), 7)  # in tile 0:0
    computed, tile = [], Assembly._tile
    with monkeypatch.context() as patch:
        patch.setattr(Assembly, "_tile", lambda self, *a, **k: (computed.append(k["first"]), tile(self, *a, **k)))
        with pytest.warns(UserWarning, match="damaged tiles of .*, which are computed again: 1"):
            kernel_matrix(model, inputs, out=out, **OPTIONS)
    assert computed == [(0, 0), (1, 2), (2, 2)]


@pytest.mark.parametrize("damage", ["number", "fingerprint", "digest", "cut", "empty"])
def test_a_damaged_finished_kernel_is_computed_again(tmp_path: Path, damage: str) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    out = tmp_path / "k.safetensors"
    first = kernel_matrix(model, inputs, out=out, **OPTIONS).matrix.clone()  # a mapped file must not be cut short
    sound = out.read_bytes()
    places = {"number": -3, "fingerprint": sound.index(b"weights") + 12, "digest": sound.index(b'"digest": "') + 12}
    if damage in places:
        # In the digest never from b to a quotation mark: a header that cannot be read is refused, not mended.
        flip(out, places[damage], 0x01 if damage == "digest" else 0x40)
    elif damage == "cut":
        os.truncate(out, len(sound) - 8)
    else:
        out.write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged, so it is computed again"):
        again = kernel_matrix(model, inputs, out=out, **OPTIONS)
    assert torch.equal(first, again.matrix) and out.read_bytes() == sound


def test_a_finished_kernel_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    first = kernel_matrix(model, inputs, out=tmp_path / "k.safetensors", precision="float64")
    monkeypatch.delattr(Assembly, "run")
    again = kernel_matrix(model, inputs, out=tmp_path / "k.safetensors", precision="float64")
    assert torch.equal(first.matrix, again.matrix) and torch.equal(first.diagonal, again.diagonal)


@pytest.mark.parametrize("change", ["weights", "data", "kind", "activation", "output", "foreign", "junk", "folder"])
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
    if change == "activation":
        model[1] = nn.ReLU()
    if change == "output":
        options["output"] = lambda f: f[:, :2]
    if change == "junk":
        out.write_text("not tensors")
    if change == "folder":
        out.unlink()
        out.mkdir()
    if change == "foreign":
        from safetensors.torch import save_file

        save_file({"x": torch.ones(2)}, out)
    with pytest.raises(ValueError, match="belongs to another kernel|not a kernel|is a directory"):
        kernel_matrix(model, inputs, **options)


def test_an_unfinished_kernel_of_other_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    with monkeypatch.context() as patch:
        patch.setattr(Assembly, "run", lambda self, store, mine: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            kernel_matrix(model, inputs, out=tmp_path / "k.safetensors", precision="float64")
    with pytest.raises(ValueError, match="train"):
        kernel_matrix(model, inputs + 1, out=tmp_path / "k.safetensors", precision="float64")


def test_a_selection_by_function_is_known_again_and_rounding_is_forgiven(tmp_path: Path) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6, dtype=torch.float32)
    out = tmp_path / "k.safetensors"
    first = kernel_matrix(model, inputs, out=out, layers=lambda name: name.endswith("weight"))
    again = kernel_matrix(model, inputs, out=out, layers=lambda name: "weight" in name, output=lambda f: f * (1 + 1e-6))
    assert torch.equal(first.matrix, again.matrix)
    with pytest.raises(ValueError, match="layers"):
        kernel_matrix(model, inputs, out=out, layers=lambda name: "bias" in name)


def test_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    options = {"precision": "float64", "out": tmp_path / "k.safetensors", "block_rows": 3}
    run, tried = Assembly.run, []

    def meanwhile(self, store, mine) -> None:
        if not tried:
            tried.append("another process")
            with pytest.raises(RuntimeError, match="another process is writing"):
                kernel_matrix(model, inputs, **options)
        run(self, store, mine)

    with monkeypatch.context() as patch:
        patch.setattr(Assembly, "run", meanwhile)
        found = kernel_matrix(model, inputs, **options)
    assert tried and torch.equal(found.matrix, kernel_matrix(model, inputs, precision="float64", block_rows=3).matrix)
    assert [path.name for path in tmp_path.iterdir()] == ["k.safetensors"]


def test_a_full_disk_is_said_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    options = {"precision": "float64", "out": tmp_path / "k.safetensors"}

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        patch.setattr(Assembly, "run", lambda *_: pytest.fail("computed"))
        with pytest.raises(OSError, match="No space left on device: 0.0 MiB.*k.safetensors"):
            kernel_matrix(model, inputs, **options)
    assert kernel_matrix(model, inputs, **options).matrix.shape == (6, 6)
