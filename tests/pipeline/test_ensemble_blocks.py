"""Blocks in the store: fixed by the configuration, resumable to the byte, one train artifact per seed."""

import dataclasses
import functools
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from models import BUILDERS
from models.configs import MODEL_SCHEMAS, CNNConfig, MLPConfig, ResNet18Config, ViTConfig
from models.stacked import StackedNetworks
from pipeline.checks.general import check
from pipeline.engine.artifacts import Store
from pipeline.engine.cells import compose_run, with_seed
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.engine.plan import every_node
from pipeline.engine.seed_blocks import block_of, members_of
from pipeline.errors import UserError
from pipeline.training.ensemble import CHECKPOINT, train_block
from pipeline.training.history import TrainingDiverged
from tests.pipeline.ensemble_cases import Images, alone, at, case, together

ROOT = Path(__file__).resolve().parents[2]
RESNET, MLP = ResNet18Config(width=2), MLPConfig(widths=[12])


def digest(members) -> str:
    whole = hashlib.sha256()
    for member in members:
        for name, value in sorted(member.module.model.state_dict().items()):
            whole.update(name.encode() + value.numpy().tobytes())
        whole.update(repr(member.history).encode())
    return whole.hexdigest()


def three(model=MLP, **training):
    config = case(model, precision="32-true", **{"epochs": 3, "batch_size": 35, "lr": 0.01, **training})
    return [at(config, seed) for seed in range(3)]


# --- bytes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "optimizer"), [(RESNET, "nesterov"), (MLP, "adamw")])
def test_same_seeds_same_bytes_and_a_kill_changes_none(tmp_path, model, optimizer):
    configs = three(model, optimizer=optimizer)
    torch.manual_seed(1)
    whole = digest(together(tmp_path / "a", configs, Images()))
    torch.manual_seed(2)
    assert digest(together(tmp_path / "b", configs, Images())) == whole
    with pytest.raises(RuntimeError, match="killed"):
        together(tmp_path / "killed", configs, Images(fail_at=15))  # 6 batches of 3 members make an epoch of 2 steps
    assert (tmp_path / "killed" / CHECKPOINT).exists()
    data = Images()
    assert digest(together(tmp_path / "killed", configs, data)) == whole
    assert data.served == 6, "only the last epoch was trained again"
    data = Images()
    assert digest(together(tmp_path / "killed", configs, data)) == whole
    assert data.served == 0, "a finished block is not trained again"


@pytest.mark.slow
def test_kill_minus_nine_while_the_checkpoint_is_written(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import pipeline.training.ensemble as engine\n"
        "from tests.pipeline.ensemble_cases import Images, together\n"
        "from tests.pipeline.test_ensemble_blocks import three\n"
        "write, count = engine.save_tensors, []\n"
        "def doomed(tensors, path, metadata):\n"
        "    count.append(1)\n"
        "    write(tensors, path, metadata)\n"
        "    if len(count) == 2:\n"
        "        os.truncate(path, 100)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "engine.save_tensors = doomed\n"
        "together(Path(sys.argv[1]), three(), Images())\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    data = Images()
    resumed = together(tmp_path, three(), data)
    assert data.served == 12, "two of three epochs were trained again"
    assert digest(resumed) == digest(together(tmp_path / "whole", three(), Images()))


def test_a_member_that_diverges_leaves_the_others_alone(tmp_path):
    configs = three(epochs=2)

    class Poisoned(Images):
        """The third member's first batch holds an infinite pixel."""

        def batch(self, name, indices, generator=None):
            batch = super().batch(name, indices, generator)
            if generator is not None and self.served == 3:
                batch["image"][0] = float("inf")
            return batch

    sound, hurt = together(tmp_path / "a", configs, Images()), together(tmp_path / "b", configs, Poisoned())
    assert [member.diverged for member in hurt] == [False, False, True]
    assert len(hurt[2].history) == 1
    assert digest(hurt[:2]) == digest(sound[:2])


# --- blocks ------------------------------------------------------------------------------------------------------


@functools.cache
def base():
    return compose_run(("numerics.engine=ensemble",))


def engine(*overrides: str):
    """Compose; what only moves the seed is set directly, as a gather does: composing is slow."""
    if len(overrides) == 1 and overrides[0].startswith("seed="):
        return with_seed(base(), int(overrides[0].removeprefix("seed=")))
    return compose_run(("numerics.engine=ensemble", *overrides)) if overrides else base()


def node(stage: str, *overrides: str):
    return Graph().resolve(stage, engine(*overrides))


def test_every_member_asks_for_the_same_block():
    blocks = {node("train", f"seed={seed}").inputs["ensemble"].key for seed in (20, 27, 39)}
    assert len(blocks) == 1
    assert blocks == {node("ensemble", "seed=33").key}, "the command that status shows makes this very block"
    assert node("train", "seed=40").inputs["ensemble"].key not in blocks
    assert node("train", "seed=20", "ensemble.block=2").inputs["ensemble"].key not in blocks
    assert len({node("train", f"seed={seed}").key for seed in range(20, 40)}) == 20


def test_engine_and_block_belong_to_the_address_and_lightning_knows_neither():
    together_, alone_ = node("train"), Graph().resolve("train", compose_run(()))
    assert together_.key != alone_.key and "ensemble" not in alone_.inputs
    assert node("train", "ensemble.block=4").key != together_.key
    assert Graph().resolve("train", compose_run(("ensemble.block=4",))).key == alone_.key


def test_streams_that_are_fixed_stay_fixed_within_a_block():
    config = engine("seed=7", "ensemble.block=4", "seeds.order=1000", "seeds.augment=1000", "seeds.dropout=1000")
    block = block_of(config)
    assert (block.seed, block.ensemble.varying) == (4, ["init"])
    assert block_of(block) == block
    assert [(one.streams.init, one.streams.order) for one in members_of(block)] == [(s, 1000) for s in range(4, 8)]
    assert config in [dataclasses.replace(one, ensemble=config.ensemble) for one in members_of(block)]


def test_a_stream_fixed_at_the_first_seed_of_a_block_is_not_taken_for_a_varying_one():
    fixed = [engine(f"seed={seed}", "seeds.order=0") for seed in (1, 2)]
    assert block_of(fixed[0]) == block_of(fixed[1])
    assert {one.streams.order for one in members_of(block_of(fixed[0]))} == {0}
    spelled = engine("seed=0", "seeds.order=0", "ensemble.varying=[init,augment,dropout]")
    assert block_of(spelled) == block_of(fixed[0])
    keys = {Graph().resolve("ensemble", one).key for one in (*fixed, spelled, engine("seed=0"))}
    assert len(keys) == 2


def test_a_run_with_no_stream_that_follows_the_seed_is_a_block_of_its_own():
    streams = [f"seeds.{name}=5" for name in ("init", "order", "augment", "dropout")]
    block = block_of(engine("seed=3", *streams))
    (member,) = members_of(block)
    assert (
        member.streams.init == 5
        and node("ensemble", "seed=3", *streams).key == node("ensemble", "seed=9", *streams).key
    )


def test_a_gather_trains_only_the_blocks_that_it_touches():
    overrides = ("numerics.engine=ensemble", "+cells.seed='18:23'", "wants=[train]")
    config = compose_run(overrides)
    stages = [found.stage.name for found in every_node(Graph(overrides).resolve("report", config))]
    assert (stages.count("ensemble"), stages.count("train")) == (2, 5)
    tiny = compose_run((*overrides, "debug=tiny"))
    assert tiny.ensemble.block == 2


# --- artifacts ---------------------------------------------------------------------------------------------------

TINY = ("debug=tiny", "model.widths=[8]", "training.batch_size=64", "training.epochs=2")


@pytest.fixture(scope="module")
def cached() -> None:
    if not list((ROOT / "data_cache").glob("**/*fashion*")):
        pytest.skip("the packaged Fashion-MNIST archive is not cached here")


def pull(store: Path, *overrides: str, stage: str = "train"):
    puller = Puller(Store(store), Graph(overrides))
    return puller.pull(puller.graph.resolve(stage, engine(*overrides)))


def payload(artifact) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in artifact.manifest["files"].items()}


def test_each_seed_is_an_ordinary_train_artifact_whoever_is_asked_first(tmp_path, monkeypatch, cached):
    monkeypatch.chdir(ROOT)
    forth = [payload(pull(tmp_path / "a", *TINY, f"seed={seed}")) for seed in (0, 1)]
    back = [payload(pull(tmp_path / "b", *TINY, f"seed={seed}")) for seed in (1, 0)]
    assert forth == back[::-1] and forth[0] != forth[1]
    files = {"config.yaml", "metrics.json", "weights.safetensors", "logits.safetensors", "history.csv"}
    assert set(forth[0]) == files
    assert len(list((tmp_path / "a" / "ensemble").glob("*/*"))) == 1
    artifact = pull(tmp_path / "a", *TINY, "seed=1")
    assert artifact.metrics["epochs"] == 2 and 0 <= artifact.metrics["test_accuracy"] <= 1
    one_by_one = Puller(Store(tmp_path / "a"), Graph(TINY))
    other = one_by_one.pull(one_by_one.graph.resolve("train", compose_run((*TINY, "seed=1"))))
    assert set(other.metrics) == set(artifact.metrics) and set(payload(other)) == files
    for name, value in other.tensors("weights.safetensors").items():
        torch.testing.assert_close(artifact.tensors("weights.safetensors")[name], value, rtol=1e-3, atol=1e-4)


def test_a_diverged_seed_is_reported_and_its_block_is_kept(tmp_path, monkeypatch, cached):
    monkeypatch.chdir(ROOT)
    with pytest.raises(TrainingDiverged, match="Training diverged: the loss of epoch . is"):
        pull(tmp_path, *TINY, "training.lr=1e30")
    assert len(list((tmp_path / "ensemble").glob("*/*/manifest.json"))) == 1


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("snapshots=spectra_and_kernel",), "ensemble takes no snapshots"),
        (("weights.step=3",), "ensemble takes no snapshots"),
        (("ensemble.varying=[inti]",), r"ensemble.varying holds \['inti'\]"),
        (("seeds.order=9", "ensemble.varying=[order]"), "seeds.order is fixed at 9"),
        (("ensemble.block=0",), "ensemble.block=0 is below 1"),
    ],
)
def test_impossible_combinations_are_refused_before_anything_is_made(overrides, words):
    with pytest.raises(UserError, match=words):
        check(engine(*overrides))


def test_the_stage_without_its_engine_is_refused():
    with pytest.raises(UserError, match="stage=ensemble needs numerics.engine=ensemble"):
        check(compose_run(("stage=ensemble",)))


@pytest.mark.parametrize(
    ("model", "numerics", "words"),
    [
        (
            ViTConfig(),
            {},
            r"cannot train model=vit \(it trains mlp, cnn, resnet18, cifar_resnet, two_layer\); use numerics.engine=li",
        ),
        (CNNConfig(variant="poison"), {}, "the network has dropout"),
        (MLPConfig(), {"precision": "bf16-mixed"}, "precision=bf16-mixed"),
        (MLPConfig(), {"memory_format": "channels_last"}, "memory_format=channels_last"),
        (MLPConfig(), {"world_size": 2}, "world_size=2"),
    ],
)
def test_what_cannot_be_vectorized_is_refused_in_one_sentence(tmp_path, model, numerics, words):
    config = case(model)
    config = dataclasses.replace(config, numerics=dataclasses.replace(config.numerics, **numerics))
    with pytest.raises(UserError, match=words) as caught:
        train_block([config], Images(), tmp_path)
    assert "\n" not in str(caught.value)


def test_every_network_is_either_supported_or_refused():
    refused = {name for name, schema in MODEL_SCHEMAS.items() if not schema.stackable}
    assert set(MODEL_SCHEMAS) == set(BUILDERS) and refused == {"text_classifier", "vit", "custom"}


def test_dropout_that_is_off_is_no_obstacle():
    networks = [nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)) for _ in range(2)]
    assert len(StackedNetworks(networks, torch.device("cpu"))) == 2


def test_the_benchmark_runs(monkeypatch, capsys):
    from benchmarks import ensemble

    tiny = ensemble.Workload(MLPConfig(widths=[4]), lambda: ensemble.Images((1, 4, 4), 16, 8), 1, (2,), 1)
    monkeypatch.setitem(ensemble.WORKLOADS, "mlp", tiny)
    monkeypatch.setattr(sys, "argv", ["ensemble", "mlp", "--threads", "1", "--turns", "1"])
    ensemble.main()
    assert "| block of 2 |" in capsys.readouterr().out


def test_history_is_that_of_one_by_one_training(tmp_path):
    configs = three(epochs=1)
    outcome, _ = alone(tmp_path / "alone", configs[1], Images())
    row = together(tmp_path / "together", configs, Images())[1].history[0]
    assert list(row) == list(outcome.history[0])
    assert row == pytest.approx(outcome.history[0], rel=1e-3, abs=1e-4)
