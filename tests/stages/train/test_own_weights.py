"""Weights that were trained elsewhere take a training's place in every stage, and nothing is trained."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from pipeline.stages.train.read import read_final_outputs, read_recorded_steps, read_snapshot_arrays
from tests.own_work import enter, network, write_images, write_network

OWN = ("model=custom", "model.target=mynet.MyNet")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a network, images and weights of two seeds at two steps; the overrides that name the rows."""
    folder = write_network(tmp_path / "my work")
    enter(folder, monkeypatch, "mynet")
    monkeypatch.syspath_prepend(str(folder))
    (folder / "runs").mkdir()
    for seed in (0, 1):
        for step in (0, 40):
            state = network(10 * seed + step).state_dict()
            torch.save({"state_dict": {f"model.{k}": v for k, v in state.items()}}, f"runs/{seed}-{step:03}.ckpt")
    return (*write_images(folder / "data"), *OWN, "paths.store=store")


def test_a_file_gives_the_network_its_outputs_and_its_scores(work, run_here):
    made = run_here(*work, "weights.path=runs/{seed}-{step}.ckpt", "seed=1", "stage=train")
    assert made.stage == "checkpoint" and made.metrics["stripped"] == "model." and made.metrics["random"] == []
    outputs = read_final_outputs(made)
    with np.load("data/test.npz") as rows:
        images = torch.from_numpy(rows["image"])[:, None].float() / 255
        labels = rows["label"]
    model = network(50).eval()
    with torch.no_grad():
        np.testing.assert_allclose(outputs["test.logits"], model(images).numpy(), rtol=1e-5, atol=1e-6)
    assert made.metrics["test_accuracy"] == np.mean(outputs["test.logits"].argmax(1) == labels)


def key(*words, stage="kernel"):
    """Address of a stage as a command would plan it."""
    return Graph(words).resolve(stage, compose_run(words)).key


def test_an_address_holds_the_content_of_weights_and_code_and_not_their_names(work):
    words = (*work, "weights.path=runs/{seed}-{step}.ckpt")
    first = key(*words)
    assert key(*words, "weights.step=40") != first, "a step that was asked for is said in the address"
    torch.save(network(3).state_dict(), "runs/0-040.ckpt")
    changed = key(*words)
    with open("runs/0-040.ckpt", "rb") as old, open("moved.pt", "wb") as new:
        new.write(old.read())
    assert key(*work, "weights.path=moved.pt") == changed != first
    with open("mynet_layers.py", "a") as layers:
        layers.write("# a comment counts\n")
    assert key(*words) != changed


@pytest.mark.slow
def test_files_by_step_serve_kernels_along_training_and_tracin(work, run_here):
    words = (*work, "weights.path=runs/{seed}-{step}.ckpt", "kernel.n_train=12", "kernel.n_test=6", "snapshots.probe=6")
    snapshots = run_here(*words, "snapshots.record=[kernel,spectra,logits]", "stage=snapshots")
    assert [moment["step"] for moment in read_recorded_steps(snapshots)] == [0, 40]
    early, late = (read_snapshot_arrays(snapshots, step, "kernel")["kernel"] for step in (0, 40))
    assert early.shape == (6, 6) and not np.allclose(early, late)
    tracin = ("attribution.method=tracin", "attribution.checkpoints=[0,-1]", "attribution.dim=16", "surrogate.draws=5")
    run_here(*words, *tracin, "attribution.rates=[0.1,0.05]", "stage=attribution")
    stages = {path.name for path in Path("store").iterdir()}
    assert {"checkpoint", "checkpoint_steps", "attribution"} <= stages and "train" not in stages


def test_what_stays_random_is_said(work, run_here):
    state = network(1).state_dict()
    del state["fc.bias"]
    torch.save(state, "part.pt")
    words = (*work, "weights.path=part.pt", "stage=train")
    with pytest.raises(
        UserError, match=r"part.pt does not fit model=mynet.MyNet: it lacks 1 of its 4 tensors \(fc.bias\)"
    ):
        run_here(*words)
    assert run_here(*words, "weights.allow=[missing]").metrics["random"] == ["fc.bias"]


def test_a_network_that_diverged_has_no_score(work, run_here):
    torch.save({name: value / 0 for name, value in network(1).state_dict().items()}, "nan.pt")
    with pytest.raises(UserError, match="nan.pt gives outputs that are not finite .*, as a training that"):
        run_here(*work, "weights.path=nan.pt", "stage=train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("weights.path=runs/{seed}-{step}.ckpt", "seed=2"),
            "no file .* for seed 2; there are runs/0-000.ckpt",
        ),
        (("weights.path=runs/0-040.ckpt", "cells.seed=0:3"), "is one file for 3 seeds; write {seed} where"),
        (("weights.path=runs/0-040.ckpt", "weights.step=40"), "write {step} where weights.path=runs/0-040.ckpt has"),
        (("weights.path=runs/0-040.ckpt", "model.args={width: 5}"), "holds 3 of another shape"),
        (("weights.source=path",), "needs weights.path, the files of the weights"),
        (("weights.source=init", "weights.path=x.pt"), "is not read by weights.source=init; set weights.path=null"),
        (("weights.allow=[missing]",), "name these, or leave them out"),
        (("weights.path=x.pt", "model.center_output=true"), "which files of weights do not hold"),
        (("attribution.rates=[0.1]",), "a training of ours knows its rates"),
        (("model.target=mynet.MyNot",), "mynet.py defines no MyNot; did you mean MyNet"),
        (("model.target=mynet",), "is a module, .*name a class or function in it: .*MyNet, "),
        (("model.target=mynett.MyNet",), "there is no module mynett on the Python path or in .*my work"),
        (("model.target=mynet.MyNet", "model.hub=gpt2"), "are two networks; keep one of them"),
        (("model.target=null",), "model=custom needs model.target, such as model.target=mynet.MyNet"),
        (("model.reads=images",), "model.reads=images is not one of image, text, vector"),
        (("model.reads=text",), "model=custom reads texts, but data=images holds image rows"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(work, run_here, words, message):
    with pytest.raises(UserError, match=message):
        run_here(*work, *words, "stage=train")


def test_code_that_is_edited_while_it_is_used_is_stored_under_no_address(work, run_here, monkeypatch):
    import pipeline.stages.train.own_weights as stage

    read = stage.read_weights

    def slow(*arguments):
        with open("mynet.py", "a") as file:
            file.write("# edited meanwhile\n")
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "read_weights", slow)
        with pytest.raises(UserError, match="model\\[custom\\].target names was changed while checkpoint .* was made"):
            run_here(*work, "weights.path=runs/0-040.ckpt", "stage=train")
    made = run_here(*work, "weights.path=runs/0-040.ckpt", "stage=train")
    assert made.metrics["parameters"] == 107
