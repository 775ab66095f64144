"""Outputs that another framework wrote end in a report, without rows, networks or training."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from pipeline.errors import UserError

N, RUNS = 40, 3


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Outputs of three runs and the labels, in a folder with a blank in its name."""
    folder = tmp_path / "their runs"
    folder.mkdir()
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, N)
    logits = rng.normal(0, 1, (RUNS, N, 3)) + 2 * np.eye(3)[labels]
    np.save("labels.npy", labels)
    return logits.astype(np.float32), labels


WORDS = ("data=logits", "paths.store=store", "statistics.draws=20", "cells.seed=0:3")


def save(form, run, logits, labels):
    """Write one run in one of the formats."""
    name = f"{run}.{form}"
    if form == "npy":
        np.save(name, logits)
    elif form == "npz":
        np.savez(name, logits=logits, labels=labels)
    elif form == "safetensors":
        save_file({"logits": logits, "labels": labels}, name)
    elif form == "pt":
        torch.save(torch.from_numpy(logits).bfloat16().float(), name)
    else:
        frame = pd.DataFrame(logits, columns=["cat", "dog", "eel"]).assign(label=labels)
        frame.to_csv(name, index=False) if form == "csv" else frame.to_parquet(name)


@pytest.mark.slow
def test_statistics_of_files_end_in_a_page(outputs, run_here):
    logits, labels = outputs
    for run, values in enumerate(logits):
        np.save(f"{run}.npy", values)
    words = (*WORDS, "data.path.logits={seed}.npy", "data.path.labels=labels.npy")
    page = (run_here(*words, "stage=statistics").folder / "report.html").read_text()
    assert "Runs from files" in page and "trained" not in page.partition("</head>")[2].partition("Where each")[0]
    accuracy = np.mean(logits.argmax(2) == labels)
    assert f"{100 * accuracy:.3g}" in page
    made = run_here(*words, "stage=train", "seed=2")
    assert made.metrics["test_accuracy"] == np.mean(logits[2].argmax(1) == labels)


@pytest.mark.parametrize("form", ["npz", "csv", "parquet", "safetensors", "pt"])
def test_outputs_are_read_from_each_format(outputs, run_here, form):
    logits, labels = outputs
    save(form, 1, logits[1], labels)
    more = ("data.path.labels=labels.npy",) if form == "pt" else ()
    made = run_here(*WORDS, f"data.path.logits={{seed}}.{form}", *more, "stage=train", "seed=1")
    found = made.arrays("logits.safetensors")
    np.testing.assert_allclose(found["test.logits"], logits[1], atol=0.02 if form == "pt" else 1e-6)
    assert np.array_equal(found["test.labels"], labels)


def test_one_file_may_hold_all_runs_and_probabilities_are_taken_as_such(outputs, run_here):
    logits, _ = outputs
    shares = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    np.save("all.npy", shares)
    words = (*WORDS, "data.path.logits=all.npy", "data.path.labels=labels.npy", "stage=train", "seed=2")
    with pytest.raises(UserError, match="sums to 1: set data.path.outputs=probabilities"):
        run_here(*words)
    found = run_here(*words, "data.path.outputs=probabilities").arrays("logits.safetensors")["test.logits"]
    np.testing.assert_allclose(found, np.log(shares[2]), rtol=1e-4)
    with pytest.raises(UserError, match="holds 3 runs, counted from 0, and none for seed 3; .*'cells.seed=0:3'"):
        run_here(*words[:-1], "seed=3")


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (None, ("data.path.logits=9{seed}.npy",), "there is no file 90.npy for seed 0"),
        (lambda x: x[:-1], (), "has outputs for 39 examples and labels.npy has 40 labels"),
        (lambda x: x[:, :2], (), r"labels.npy, row \d+: label 2 is none of the 2 classes"),
        (lambda x: np.where(x == x[3, 1], np.nan, x), (), "row 3: .*is not finite; a run that diverged"),
        (lambda x: x.astype(str), (), "outputs have type <U.*; numbers are needed"),
        (lambda x: x[None, None], (), "holds outputs of shape"),
        (None, ("data.path.labels=null",), "holds no labels; name the file that does by data.path.labels"),
        (None, ("data.path.outputs=probabilities",), "does not hold probabilities"),
        (None, ("data.path.logits=null",), "needs data.path.logits, the files of outputs"),
        (None, ("stage=kernel",), "holds outputs alone, and stage=kernel needs rows and networks"),
        (None, ("stage=statistics", "~cells.seed"), "say which by cells.seed, such as cells.seed=0:5"),
        (None, ("data.class_names=[a,b]",), "names"),
    ],
)
def test_bad_files_are_refused_with_what_to_do(outputs, run_here, change, words, message):
    values = outputs[0][0] if change is None else change(outputs[0][0])
    np.save("0.npy", values)
    words = ("data.path.logits={seed}.npy", "data.path.labels=labels.npy", "stage=train", *words)
    with pytest.raises(UserError, match=message):
        run_here(*WORDS, *words)


def test_labels_that_are_words_are_numbered_by_the_names_of_the_classes(outputs, run_here):
    logits, labels = outputs
    names = np.array(["cat", "dog", "eel"])
    np.save("0.npy", logits[0])
    np.save("words.npy", names[labels])
    words = (*WORDS, "data.path.logits={seed}.npy", "data.path.labels=words.npy", "stage=train")
    with pytest.raises(UserError, match="is the name of no class; .*'data.class_names=\\[cat,dog\\]'"):
        run_here(*words)
    found = run_here(*words, "data.class_names=[cat,dog,eel]").arrays("logits.safetensors")
    assert np.array_equal(found["test.labels"], labels)
    pd.DataFrame(logits[0], columns=names).assign(label=names[labels]).to_csv("0.csv", index=False)
    assert run_here(*words[:-3], "data.path.logits={seed}.csv", "stage=train").metrics["test_n"] == N


def test_two_files_that_disagree_about_the_examples_are_refused(outputs, run_here):
    logits, labels = outputs
    np.savez("0.npz", logits=logits[0], labels=labels, ids=np.arange(N))
    np.savez("ids.npz", labels=labels, ids=np.arange(N)[::-1])
    np.save("other.npy", (labels + 1) % 3)
    for file, what in (("ids.npz", "ids"), ("other.npy", "labels")):
        with pytest.raises(UserError, match=f"0.npz and {file} hold different {what}; bring both into one order"):
            run_here(*WORDS, "data.path.logits={seed}.npz", f"data.path.labels={file}", "stage=train")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda x: 1 / (1 + np.exp(-x)), "set data.path.outputs=probabilities"),
        (lambda x: x > 0, "as decisions are"),
    ],
)
def test_a_column_of_probabilities_or_decisions_is_not_taken_for_logits(outputs, run_here, values, message):
    np.save("0.npy", values(outputs[0][0, :, 0]) * 1)
    np.save("two.npy", outputs[1] % 2)
    with pytest.raises(UserError, match=message):
        run_here(*WORDS, "data.path.logits={seed}.npy", "data.path.labels=two.npy", "stage=train")


def test_copies_of_one_run_under_several_seeds_are_refused(outputs, run_here):
    for run in range(RUNS):
        np.save(f"{run}.npy", outputs[0][0])
    words = (*WORDS, "data.path.logits={seed}.npy", "data.path.labels=labels.npy", "stage=statistics")
    with pytest.raises(UserError, match="Seeds 0 and 1 of all cells have the very same outputs"):
        run_here(*words)
