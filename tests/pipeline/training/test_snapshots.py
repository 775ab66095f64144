"""Snapshots record the run on a schedule without changing a bit of it, and a replay lands on the same weights."""

import json
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from analysis.spectra.matrix_views import weight_matrices
from analysis.spectra.weights import weight_spectrum
from models import build_model
from pipeline.config.snapshots import SnapshotsConfig
from pipeline.errors import UserError
from pipeline.training.fit import replay
from pipeline.training.snapshot_schedule import snapshot_steps, step_folder
from pipeline.training.snapshots import SnapshotWriter, probe_rows
from tests.pipeline.training_cases import Blobs, digests, noisy_net, run_config, train


def writer(folder, **options):
    config = SnapshotsConfig(**{"record": ["weights", "logits", "spectra"], "schedule": "steps", **options})
    return SnapshotWriter(folder, config, Blobs())


def test_schedules():
    assert snapshot_steps("log", total_steps=1000, steps_per_epoch=10, per_decade=1) == [0, 1, 10, 100, 1000]
    assert snapshot_steps("log", total_steps=7, steps_per_epoch=10, per_decade=4) == [0, 1, 2, 3, 6, 7]
    assert snapshot_steps("epochs", total_steps=6, steps_per_epoch=2) == [0, 2, 4, 6]
    assert snapshot_steps("steps", total_steps=6, steps_per_epoch=2, steps=[5, -1, 0, 5]) == [0, 5, 6]
    for options, message in (
        ({"schedule": "linear"}, "not known"),
        ({"schedule": "steps"}, "needs snapshots.steps"),
        ({"schedule": "steps", "steps": [7]}, "training has 6 steps"),
        ({"schedule": "steps", "steps": [-2]}, "holds -2"),
        ({"schedule": "log", "per_decade": 0}, "at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            snapshot_steps(**{"total_steps": 6, "steps_per_epoch": 2, **options})


def test_snapshots_do_not_disturb_the_run(tmp_path):
    train(tmp_path / "without")
    snapshots = writer(tmp_path / "snapshots", steps=[0, 1, 7, 20])
    train(tmp_path / "with", snapshots=snapshots)
    assert digests(tmp_path / "with") == digests(tmp_path / "without")
    names = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert names == [step_folder(step) for step in (0, 1, 7, 20)]


def test_snapshots_hold_the_states_that_training_went_through(tmp_path):
    snapshots = writer(tmp_path / "snapshots", steps=[0, 7, 20])
    outcome = train(tmp_path / "run", snapshots=snapshots)
    published = tmp_path / "published"
    published.mkdir()
    snapshots.publish(published)
    rows = json.loads((published / "steps.json").read_text())
    assert [row["step"] for row in rows] == [0, 7, 20] and rows[1]["epoch"] == pytest.approx(1.4)
    assert rows[2]["lr"] == outcome.history[-1]["lr"] and rows[0]["lr"] == pytest.approx(0.05 / 4)
    first = load_file(published / step_folder(0) / "weights.safetensors")
    last = load_file(published / step_folder(20) / "weights.safetensors")
    final = load_file(tmp_path / "run" / "work" / "weights.safetensors")
    assert all(torch.equal(first[name], value) for name, value in noisy_net().state_dict().items())
    assert all(torch.equal(last[name], value) for name, value in final.items())
    logits = load_file(published / step_folder(20) / "logits.safetensors")
    stored = load_file(tmp_path / "run" / "work" / "logits.safetensors")
    assert torch.equal(logits["test.logits"], stored["test.logits"]) and "train.logits" not in logits
    spectra = load_file(published / step_folder(20) / "spectra.safetensors")
    expected = np.linalg.svd(final["conv.weight"].double().numpy().reshape(4, 9), compute_uv=False)
    assert sorted(spectra) == ["conv.weight", "head.weight"]
    np.testing.assert_allclose(spectra["conv.weight"], expected, rtol=1e-7)


def test_a_killed_run_ends_with_the_same_snapshots(tmp_path):
    def files(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    options = {"record": ["weights", "spectra"], "schedule": "log"}
    train(tmp_path / "whole", snapshots=writer(tmp_path / "a", **options))
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "killed", data=Blobs(fail_at=13), snapshots=writer(tmp_path / "b", **options))
    train(tmp_path / "killed", snapshots=writer(tmp_path / "b", **options))
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_snapshots_asked_for_after_a_kill_are_all_taken(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "killed", data=Blobs(fail_at=13))
    snapshots = writer(tmp_path / "late", steps=[3, 20])
    outcome = train(tmp_path / "killed", snapshots=snapshots)
    assert outcome.resumed_from == 0 and not snapshots.missing(20)
    assert digests(tmp_path / "killed")["weights.safetensors"] == train(tmp_path / "whole").weights_sha256


def test_replay_reproduces_the_stored_weights_or_refuses(tmp_path):
    stored = train(tmp_path / "run").weights_sha256
    snapshots = writer(tmp_path / "snapshots", steps=[-1])
    outcome = replay(noisy_net(), Blobs(), run_config(), tmp_path / "scratch", snapshots, stored, progress=False)
    assert outcome.weights_sha256 == stored and not (tmp_path / "scratch" / "replay").exists()
    with pytest.raises(UserError, match="other weights"):
        replay(noisy_net(), Blobs(), run_config(lr=0.04), tmp_path / "other", snapshots, stored, progress=False)


def test_snapshot_kernel_is_the_gram_of_probe_gradients_and_does_not_disturb(tmp_path):
    plain = train(tmp_path / "without").weights_sha256
    snapshots = writer(tmp_path / "snapshots", record=["weights", "kernel"], steps=[7, 20], probe=6)
    assert train(tmp_path / "with", snapshots=snapshots).weights_sha256 == plain
    folder = tmp_path / "snapshots" / step_folder(20)
    kernel = load_file(folder / "kernel.safetensors")["kernel"]
    probe = load_file(tmp_path / "snapshots" / "probe.safetensors")
    assert probe["id"].tolist() == [0, 11, 23, 35, 46, 58]
    model = noisy_net().eval()
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    rows = []
    for image in Blobs().rows["train"]["image"][probe["id"]]:
        model.zero_grad()
        model(image[None]).sum().backward()
        rows.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    gradients = torch.stack(rows)
    gram = gradients @ gradients.T
    ratio = (kernel / gram).flatten()
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-4, atol=1e-4)


def test_every_snapshot_is_told_once_also_after_a_kill_that_leaves_no_time(tmp_path, monkeypatch):
    told = []

    def recorder():
        config = SnapshotsConfig(record=["spectra"], schedule="log")
        return SnapshotWriter(tmp_path / "steps", config, Blobs(), on_snapshot=lambda step, files: told.append(step))

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(SnapshotWriter, "on_exception", lambda *_: None)
        patch.setattr(SnapshotWriter, "_finish", lambda *_: None)
        train(tmp_path / "run", data=Blobs(fail_at=4), snapshots=(first := recorder()))
    first._worker.shutdown()
    assert told == [] and len(list((tmp_path / "steps").iterdir())) == 4
    train(tmp_path / "run", snapshots=recorder())
    assert told == [0, 1, 2, 3, 6, 10, 18, 20]


def test_spectra_of_stored_weights_equal_those_taken_while_training(tmp_path):
    train(tmp_path / "run", snapshots=writer(tmp_path / "steps", record=["weights", "spectra"], schedule="log"))
    model = noisy_net()
    for folder in sorted((tmp_path / "steps").iterdir()):
        model.load_state_dict(load_file(folder / "weights.safetensors"))
        online = load_file(folder / "spectra.safetensors")
        offline = {label: weight_spectrum(matrix) for label, matrix in weight_matrices(model).items()}
        assert online.keys() == offline.keys()
        assert all(np.array_equal(online[label].numpy(), values) for label, values in offline.items())


def test_a_slow_worker_makes_training_wait_and_skips_nothing(tmp_path, monkeypatch):
    from pipeline.training import snapshots as module

    options = {"record": ["spectra"], "steps": list(range(10))}
    train(tmp_path / "a", snapshots=writer(tmp_path / "fast", **options))
    write, held, recorder = module._write, [], writer(tmp_path / "slow", **options)

    def slow(*arguments):
        held.append(len(recorder._waiting))
        time.sleep(0.05)
        return write(*arguments)

    monkeypatch.setattr(module, "_write", slow)
    train(tmp_path / "b", snapshots=recorder)
    assert len(held) == 10 and max(held) <= module.QUEUED
    for path in (tmp_path / "fast").rglob("*.*"):
        assert (tmp_path / "slow" / path.relative_to(tmp_path / "fast")).read_bytes() == path.read_bytes()


def test_weights_that_are_not_finite_are_recorded_and_training_decides(tmp_path):
    snapshots = writer(tmp_path / "steps", record=["spectra", "kernel"], steps=[0, 4], probe=6)
    with pytest.raises(UserError, match="Training diverged"):
        train(tmp_path / "run", config=run_config(lr=1e30, warmup=0.0), snapshots=snapshots)
    start, end = (load_file(tmp_path / "steps" / step_folder(step) / "spectra.safetensors") for step in (0, 4))
    assert all(values.isfinite().all() for values in start.values())
    assert any(values.isnan().all() for values in end.values())
    assert load_file(tmp_path / "steps" / step_folder(4) / "kernel.safetensors")["kernel"].isnan().all()


def test_unknown_record_is_refused(tmp_path):
    with pytest.raises(UserError, match="it takes weights, logits"):
        writer(tmp_path, record=["hessian"])


def test_options_of_the_kernel_are_heeded_and_unknown_ones_are_refused(tmp_path):
    snapshots = writer(tmp_path / "snapshots", record=["kernel"], steps=[7], probe=6, options={"normalize": True})
    train(tmp_path / "run", snapshots=snapshots)
    kernel = load_file(tmp_path / "snapshots" / step_folder(7) / "kernel.safetensors")["kernel"]
    torch.testing.assert_close(kernel.diagonal(), torch.ones(6))
    with pytest.raises(UserError, match="unknown option 'lyaers', did you mean 'layers'"):
        writer(tmp_path, record=["kernel"], options={"lyaers": "all"})
    with pytest.raises(UserError, match="fp32"):
        writer(tmp_path, record=["kernel"], options={"precision": "fp32"})


def test_probe_rows_spread_over_the_training_rows():
    assert probe_rows(10, 4).tolist() == [0, 2, 5, 7]
    assert probe_rows(3, 64).tolist() == [0, 1, 2]


def test_weight_matrices_of_transposed_fused_tied_and_grouped_layers():
    architecture = {"n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 20, "bos_token_id": 0, "eos_token_id": 0}
    gpt2 = build_model("text_classifier", input_shape=(4,), n_classes=2, seed=0, architecture=architecture)
    found = weight_matrices(gpt2)
    assert found["transformer.h.0.attn.c_attn.weight"].shape == (24, 8)
    assert found["transformer.h.0.attn.c_attn.weight[k]"].shape == (8, 8)
    assert found["transformer.h.0.mlp.c_proj.weight"].shape == (8, 32)
    assert found["transformer.wte.weight"].shape == (20, 8)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Conv2d(4, 6, 2, groups=2), nn.LayerNorm(3))
    tied[1].weight = tied[0].weight
    assert sorted(weight_matrices(tied)) == ["0.weight", "2.weight[group 0]", "2.weight[group 1]"]
