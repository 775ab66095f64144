"""A damaged checkpoint or snapshot is dropped, named, and that part starts over: never other bytes, never an error."""

import zipfile

import pytest

from pipeline.machine.sealed_files import is_sound, is_sound_folder, replace_sealed, seal_folder, unseal
from pipeline.training.snapshot_schedule import step_folder
from tests.pipeline.ensemble_cases import Images, together
from tests.pipeline.test_ensemble_blocks import digest as block_digest
from tests.pipeline.test_ensemble_blocks import three
from tests.pipeline.training.test_snapshots import writer
from tests.pipeline.training_cases import Blobs, train


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :]


def weights_at(path) -> int:
    """Where the largest tensor of a torch checkpoint begins."""
    with zipfile.ZipFile(path) as archive:
        largest = max((one for one in archive.infolist() if "/data/" in one.filename), key=lambda one: one.file_size)
    header = path.read_bytes()[largest.header_offset + 26 : largest.header_offset + 30]
    return largest.header_offset + 30 + int.from_bytes(header[:2], "little") + int.from_bytes(header[2:], "little")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Scratch of a run that was killed in its third epoch, and the weights of an undisturbed one."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(RuntimeError, match="killed"):
        train(folder, data=Blobs(fail_at=13))
    return folder, train(tmp_path_factory.mktemp("whole")).weights_sha256


@pytest.mark.parametrize(
    "damage", ["none", "cut", "half", "empty", "zeros", "weights", "pickle", "no digest", "digest"]
)
def test_a_damaged_checkpoint_starts_over_with_a_word(tmp_path, killed, capsys, damage):
    folder, whole = killed
    checkpoint = next(folder.rglob("last.ckpt"))
    place = tmp_path / checkpoint.relative_to(folder)
    place.parent.mkdir(parents=True)
    good, seal = checkpoint.read_bytes(), checkpoint.with_name("last.ckpt.digest").read_bytes()
    damaged = {
        "cut": good[:-200],
        "half": good[: len(good) // 2],
        "empty": b"",
        "zeros": bytes(len(good)),
        "weights": flipped(good, weights_at(checkpoint) + 3),
        "pickle": flipped(good, good.find(b"global_step") + 3),
    }
    place.write_bytes(damaged.get(damage, good))
    if damage != "no digest":
        place.with_name("last.ckpt.digest").write_bytes(b"{" if damage == "digest" else seal)
    outcome = train(tmp_path)
    assert outcome.weights_sha256 == whole
    said = capsys.readouterr().err
    if damage == "none":
        assert outcome.resumed_from == 2 and "damaged" not in said
    else:
        assert outcome.resumed_from == 0
        assert f"the checkpoint {place} is damaged: it is dropped, and training starts over" in said


@pytest.mark.parametrize("damage", ["flip", "cut", "file gone", "extra file", "no digest"])
def test_a_damaged_snapshot_is_taken_again(tmp_path, capsys, damage):
    def files(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    options = {"record": ["weights"], "steps": [3, 20]}
    train(tmp_path / "whole", snapshots=writer(tmp_path / "a", **options))
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "killed", data=Blobs(fail_at=13), snapshots=writer(tmp_path / "b", **options))
    path = tmp_path / "b" / step_folder(3) / "weights.safetensors"
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(flipped(content, len(content) - 2))
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "file gone":
        path.unlink()
    elif damage == "extra file":
        path.with_name("notes.txt").write_text("mine")
    else:
        next((tmp_path / "b.digests").glob("*3.json")).unlink()
    train(tmp_path / "killed", snapshots=writer(tmp_path / "b", **options))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert f"{path.parent} is damaged: it is dropped and taken again" in capsys.readouterr().err


def test_a_damaged_checkpoint_of_a_block_starts_over(tmp_path, capsys):
    whole = together(tmp_path / "whole", three(), Images())
    stopped = Images()
    serve, count = stopped.batch, []

    def batch(*arguments, **options):
        count.append(1)
        if len(count) > 14:
            raise RuntimeError("killed")
        return serve(*arguments, **options)

    stopped.batch = batch
    with pytest.raises(RuntimeError, match="killed"):
        together(tmp_path / "cut", three(), stopped)
    path = next((tmp_path / "cut").rglob("epoch.safetensors"))
    content = path.read_bytes()
    path.write_bytes(flipped(content, len(content) - 2))
    assert block_digest(together(tmp_path / "cut", three(), Images())) == block_digest(whole)
    assert "is damaged: it is dropped, and training starts over" in capsys.readouterr().err


def test_a_kill_between_the_two_steps_of_a_replacement_leaves_a_sound_pair(tmp_path, monkeypatch):
    path, written = tmp_path / "a", tmp_path / "a.writing"
    written.write_bytes(b"first")
    replace_sealed(written, path)
    replace = type(path).replace
    for content in (b"second", b"third"):  # twice in a row killed before the file itself is replaced
        written.write_bytes(content)
        with monkeypatch.context() as patch:
            patch.setattr(type(path), "replace", lambda self, to: None if to == path else replace(self, to))
            replace_sealed(written, path)
        assert path.read_bytes() == b"first" and is_sound(path)
    path.write_bytes(b"other")
    assert not is_sound(path)
    unseal(path)
    assert not is_sound(path) and not list(tmp_path.glob("a*digest"))


def test_a_sealed_folder_is_known_by_its_files(tmp_path):
    written, folder, seal = tmp_path / "x.writing", tmp_path / "x", tmp_path / "seals" / "x.json"
    written.mkdir()
    (written / "f").write_bytes(b"1")
    seal_folder(written, folder, seal)
    assert is_sound_folder(folder, seal)
    (folder / "f").write_bytes(b"2")
    assert not is_sound_folder(folder, seal)
