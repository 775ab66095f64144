"""Artifacts are addressed by content, complete by name, made once, and checked when read."""

import dataclasses
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store, payload_files
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.stages import STAGES
from pipeline.errors import CorruptArtifact, FailedCells, MissingUpstream, UserError
from tests.pipeline.toy_cells import run_config
from tests.pipeline.toy_stages import TOY, install, toy_defaults

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    install(monkeypatch)
    counts = tmp_path / "counts"
    counts.mkdir()
    monkeypatch.setenv("TOY_COUNTS", str(counts))
    return counts


def puller(tmp_path: Path, **options) -> Puller:
    return Puller(Store(tmp_path / "store"), Graph(["experiment=toy"]), **options)


def pull(tmp_path: Path, stage: str, config: RunConfig, rebuild: set[str] = frozenset(), **options) -> Artifact:
    maker = puller(tmp_path, rebuild=Rebuild(frozenset(rebuild)), **options)
    return maker.pull(maker.graph.resolve(stage, config))


def payload(artifact: Artifact) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in artifact.manifest["files"].items()}


def runs(counts: Path, stage: str) -> int:
    path = counts / stage
    return len(path.read_text().split()) if path.exists() else 0


def test_upstream_is_pulled_once_and_found_again(tmp_path, toy):
    first = pull(tmp_path, "square", run_config())
    again = pull(tmp_path, "square", run_config())
    assert first.folder == again.folder
    assert (runs(toy, "draw"), runs(toy, "square")) == (1, 1)
    assert set(payload(first)) == {"config.yaml", "metrics.json", "square.safetensors"}
    assert not list((tmp_path / "store").rglob("*.partial")) and not list((tmp_path / "store").rglob("*.lock"))
    assert "python run.py experiment=toy stage=square" in first.provenance["command"]


def test_address_depends_on_hashed_sections_and_upstream_only(tmp_path):
    graph = Graph()
    base = graph.resolve("square", run_config())
    assert base.key == graph.resolve("square", run_config()).key
    hardware = run_config()
    hardware.hardware.devices, hardware.paths.store, hardware.logging.tracker = 4, "elsewhere", "wandb"
    assert graph.resolve("square", hardware).key == base.key
    assert graph.resolve("square", run_config(seed=1)).key != base.key
    kernel = run_config()
    kernel.kernel.kind = "trntk"
    other = graph.resolve("square", kernel)
    assert other.key != base.key and other.inputs["draw"].key == base.inputs["draw"].key
    length = run_config()
    length.training.epochs = 99
    assert graph.resolve("square", length).key != base.key


def test_an_added_field_moves_no_address_until_it_is_used(monkeypatch):
    from pipeline.engine import keys

    table = json.loads(json.dumps(keys.defaults_table()))
    before = Graph().resolve("draw", run_config()).key
    value = table["draw"]["frozen"].pop("training.gamma")
    table["draw"]["added"]["training.gamma"] = value
    monkeypatch.setattr("pipeline.engine.keys.defaults_table", lambda: table)
    added = Graph().resolve("draw", run_config()).key
    assert added != before  # the frozen list is part of what was hashed then
    changed = run_config()
    changed.training.gamma = 0.2
    assert Graph().resolve("draw", changed).key != added
    table["draw"]["added"].pop("training.gamma")
    with pytest.raises(UserError, match="training.gamma is not in key_defaults.json"):
        Graph().resolve("draw", run_config())


def test_nan_has_no_address():
    config = run_config()
    config.training.lr = float("nan")
    with pytest.raises(UserError, match="training.lr is nan"):
        Graph().resolve("draw", config)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_corruption_is_named_and_rebuilt_only_on_request(tmp_path, toy, damage):
    draw = pull(tmp_path, "draw", run_config())
    before = payload(draw)
    path = draw.folder / "draws.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
        path.write_bytes(bytes(data))
    elif damage == "truncate":
        path.write_bytes(bytes(data[:-3]))
    else:
        path.unlink()
    with pytest.raises(CorruptArtifact, match=rf"draws.safetensors .*rebuild=\[{draw.key}\]"):
        pull(tmp_path, "square", run_config())
    assert runs(toy, "draw") == 1
    pull(tmp_path, "square", run_config(), rebuild={draw.key})
    assert runs(toy, "draw") == 2
    assert payload(Artifact(draw.folder)) == before


def test_a_newer_store_format_is_refused(tmp_path):
    draw = pull(tmp_path, "draw", run_config())
    path = draw.folder / "manifest.json"
    path.write_text(path.read_text().replace('"format": 3', '"format": 0'))
    with pytest.raises(UserError, match="store format 0, this version reads 3 and before"):
        pull(tmp_path, "square", run_config())


def test_a_failure_leaves_its_traceback_and_no_complete_name(tmp_path):
    with pytest.raises(ValueError, match="unlucky"):
        pull(tmp_path, "draw", run_config(seed=13))
    store = Store(tmp_path / "store")
    node = Graph().resolve("draw", run_config(seed=13))
    folder = store.folder("draw", node.slug, node.key)
    assert store.state(folder) == "failed" and not folder.exists()
    assert "unlucky seed" in store.failure(folder)["traceback"]


def test_cells_that_fail_each_by_itself_are_failures_of_the_study_and_a_single_fault_is_a_sentence(
    tmp_path, monkeypatch
):
    def diverges(build):
        raise UserError("Training diverged.")

    monkeypatch.setattr("tests.pipeline.toy_stages.draw", diverges)
    with pytest.raises(FailedCells):
        pull(tmp_path / "several", "total", run_config(cells={"seed": [1, 2]}))
    with pytest.raises(MissingUpstream) as found:
        pull(tmp_path / "one", "total", run_config(cells={"seed": [1]}))
    assert type(found.value) is MissingUpstream


def test_gather_refuses_fewer_cells_unless_told(tmp_path):
    config = run_config(cells={"seed": [0, 13, 2]})
    with pytest.raises(
        MissingUpstream, match="up to 1 cells of a stage are missing.*allow_missing=0.*\n.*unlucky seed\n.*seed 13"
    ):
        pull(tmp_path, "total", config)
    gathered = pull(tmp_path, "total", config, allow_missing=1)
    assert gathered.table("total.parquet")["seed"].to_pylist() == ["0", "2"]
    assert "unlucky seed" in gathered.metrics["missing_cells"][0]
    whole = pull(tmp_path, "total", run_config(cells={"seed": "0:3"}))
    assert whole.key != gathered.key and whole.metrics == {"n": 3}


@pytest.mark.parametrize("complete_first", [True, False])
def test_a_gather_of_fewer_cells_is_never_taken_for_a_complete_one(tmp_path, toy, complete_first):
    def two():
        return pull(tmp_path, "total", run_config(cells={"seed": [0, 2]}))

    def fewer(seeds=(0, 13, 2)):
        return pull(tmp_path, "total", run_config(cells={"seed": list(seeds)}), allow_missing=1)

    first, second = (two(), fewer()) if complete_first else (fewer(), two())
    assert first.key != second.key and runs(toy, "total") == 2
    assert {len(one.metrics.get("missing_cells", [])) for one in (first, second)} == {0, 1}
    assert fewer().key in (first.key, second.key) and runs(toy, "total") == 2, "the same lack is the same artifact"
    assert pull(tmp_path, "total", run_config(cells={"seed": [0, 2]}), allow_missing=1).key == two().key


def test_a_gather_of_a_gather_that_lacks_cells_lacks_them_too(tmp_path, toy, monkeypatch):
    monkeypatch.setitem(STAGES, "sum", dataclasses.replace(TOY["total"], name="sum", gathers=lambda config: ["total"]))
    table = {**toy_defaults(), "sum": toy_defaults()["total"]}
    monkeypatch.setattr("pipeline.engine.keys.defaults_table", lambda: table)
    monkeypatch.setattr("tests.pipeline.toy_stages.total", lambda build: {"members": len(build.members)})
    config = run_config(cells={"seed": [0, 13]})
    lacking = pull(tmp_path, "sum", config, allow_missing=1)
    assert "seed 13" in lacking.metrics["missing_cells"][0]
    assert lacking.key != Graph(["experiment=toy"]).resolve("sum", config).key, "the complete one is another artifact"


def test_require_lists_the_command_that_makes_what_is_missing(tmp_path):
    with pytest.raises(MissingUpstream, match="upstream=require.*\n  python run.py experiment=toy stage=draw"):
        pull(tmp_path, "square", run_config(), require=True)
    pull(tmp_path, "draw", run_config())
    pull(tmp_path, "square", run_config(), require=True)


def child(tmp_path: Path, seed: int = 0, **environment: str) -> subprocess.Popen:
    code = (
        "import pytest, pathlib\n"
        "from tests.pipeline.toy_stages import TOY, install, toy_defaults\n"
        "from tests.pipeline.test_store import pull, run_config\n"
        "install(pytest.MonkeyPatch())\n"
        f"pull(pathlib.Path({str(tmp_path)!r}), 'square', run_config({seed}))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("moment", ["draw0", "draw4", "draw9"])
def test_kill_and_repeat_gives_the_bytes_of_an_undisturbed_run(tmp_path, toy, moment):
    killed = child(tmp_path, TOY_KILL=moment)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not [path for path in (tmp_path / "store" / "draw").glob("*/*") if path.suffix not in (".partial", ".lock")]
    resumed = pull(tmp_path, "draw", run_config())
    assert payload(resumed) == payload(pull(tmp_path / "undisturbed", "draw", run_config()))
    assert not (resumed.folder / "half-written.txt").exists()
    assert payload_files(resumed.folder) == sorted(payload(resumed))


def test_two_processes_make_an_artifact_once(tmp_path, toy):
    both = [child(tmp_path, TOY_SLEEP="0.1") for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert (runs(toy, "draw"), runs(toy, "square")) == (1, 1)
    assert any("waiting for process" in text for text in errors)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_umask_and_the_folders_group_decide_who_may_use_a_store(tmp_path, umask):
    store = tmp_path / "store"
    store.mkdir()
    store.chmod(0o2775)  # what is made in it belongs to its group
    before = os.umask(umask)
    try:
        pull(tmp_path, "square", run_config())
        with pytest.raises(ValueError, match="unlucky"):
            pull(tmp_path, "square", run_config(13))
    finally:
        os.umask(before)
    paths = list(store.rglob("*"))
    assert {path.name for path in paths} >= {"square.safetensors", "manifest.json", "failed.json", "scratch"}
    for path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o2777 if path.is_dir() else 0o666) & ~umask, (path, oct(mode))


def test_a_store_that_is_deleted_meanwhile_is_one_sentence(tmp_path, monkeypatch):
    def vanish(build):
        shutil.rmtree(tmp_path / "store")
        build.write_arrays("draws.safetensors", {})

    monkeypatch.setattr("tests.pipeline.toy_stages.draw", vanish)
    with pytest.raises(UserError, match="was deleted while this process worked in it"):
        pull(tmp_path, "draw", run_config())
    assert not list((tmp_path / "store").rglob("*.partial"))


def test_lock_files_that_are_cleaned_away_let_no_second_process_in(tmp_path, toy):
    both = [child(tmp_path, TOY_SLEEP="0.2")]
    locks = tmp_path / "store" / "draw"
    while not (found := list(locks.glob("*/*.lock"))) or not list(locks.glob("*/*.partial/scratch/0.npy")):
        time.sleep(0.02)
    for path in found:
        path.unlink()
    both.append(child(tmp_path, TOY_SLEEP="0.2"))
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert (runs(toy, "draw"), runs(toy, "square")) == (1, 1)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.suffix in (".partial", ".lock")]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 100 kB; its options can be changed by remounting."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence(small_disk):
    (small_disk / "filler").write_bytes(b"x" * 70_000)
    with pytest.raises(UserError, match="No space left while writing .* run the same command again"):
        pull(small_disk, "draw", run_config())
    assert not [path for path in (small_disk / "store" / "draw").glob("*/*") if path.suffix != ".partial"]
    (small_disk / "filler").unlink()
    pull(small_disk, "draw", run_config())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7.45 TiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"),
        RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB.\nGPU 0 has less."),
    ],
    ids=["numpy", "torch", "GPU"],
)
def test_more_memory_than_there_is_ends_in_one_sentence(toy, monkeypatch, error):
    def draw(build):
        raise error

    monkeypatch.setattr("tests.pipeline.toy_stages.draw", draw)
    with pytest.raises(UserError, match=r"Stage draw needs more memory than there is: .*allocate.* up to [0-9.]+ GiB"):
        pull(toy, "draw", run_config())


def test_a_read_only_store_is_one_sentence(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(UserError, match="Cannot write to .* Set paths.store"):
        pull(small_disk, "draw", run_config())
