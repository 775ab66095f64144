"""Every row of the tables of docs/compare.md: what is refused, and the words that say what to do instead."""

import re
from pathlib import Path

import numpy as np
import pytest

from analysis import compare_layers, compare_runs, surrogate_report
from analysis.surrogates import KernelGLM
from tests.analysis.comparison.cases import kernel, layers, runs

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compare.md"
RUNS, LABELS = runs()
ARRAY = np.stack(list(RUNS.values()))
PROBABILITIES = np.exp(ARRAY) / np.exp(ARRAY).sum(axis=2, keepdims=True)
TRAIN, TEST, BOTH, NETWORK = kernel()


def changed(array, place, value):
    copy = np.array(array)
    copy[place] = value
    return copy


def with_run(**changes):
    """Five runs, some of them others; names are seed_0 and so on."""
    return {**RUNS, **{name.replace("_", " "): run for name, run in changes.items()}}


def with_layer(run, **changes):
    """Features of four runs of which one has other layers; None leaves a layer out."""
    found = layers()
    found[run] = {name: part for name, part in {**found[run], **changes}.items() if part is not None}
    return found


def streams(sizes=(20, 20), **other):
    """Two runs as batches; `other` gives a run other sizes."""
    found = {}
    for name, run in list(layers().items())[:2]:
        parts = other.get(name.replace(" ", "_"), sizes)
        ends = np.cumsum(parts)
        found[name] = [
            {layer: part[stop - size : stop] for layer, part in run.items()}
            for size, stop in zip(parts, ends, strict=True)
        ]
    return found


OF_RUNS = {
    "no runs": lambda: compare_runs({}, LABELS),
    "one run": lambda: compare_runs({"seed 0": ARRAY[0]}, LABELS),
    "runs of different lengths": lambda: compare_runs(with_run(seed_1=ARRAY[1, :-1]), LABELS),
    "runs with different classes": lambda: compare_runs(with_run(seed_1=ARRAY[1, :, :2]), LABELS),
    "fewer labels than examples": lambda: compare_runs(RUNS, LABELS[:-1]),
    "labels outside the classes": lambda: compare_runs(RUNS, changed(LABELS, 0, 3)),
    "words as labels": lambda: compare_runs(RUNS, np.array(["cat", "dog", "owl"])[LABELS]),
    "no labels": lambda: compare_runs(RUNS, None),
    "fractional labels": lambda: compare_runs(RUNS, LABELS + 0.5),
    "a row of NaN": lambda: compare_runs(with_run(seed_1=changed(ARRAY[1], 7, np.nan)), LABELS),
    "all runs but one to be dropped": lambda: compare_runs(
        [ARRAY[0], changed(ARRAY[1], 7, np.inf)], LABELS, on_bad_run="drop"
    ),
    "a name twice": lambda: compare_runs(ARRAY, LABELS, names=["a", "b", "a", "c", "d"]),
    "too few names": lambda: compare_runs(ARRAY, LABELS, names=["a", "b"]),
    "names for a mapping": lambda: compare_runs(RUNS, LABELS, names=list("abcde")),
    "an array of objects": lambda: compare_runs(with_run(seed_1=ARRAY[1].astype(object)), LABELS),
    "rows of different lengths": lambda: compare_runs(with_run(seed_1=[[1.0, 2.0], [1.0]]), LABELS),
    "texts as outputs": lambda: compare_runs(with_run(seed_0=ARRAY[0].astype(str)), LABELS),
    "complex outputs": lambda: compare_runs(with_run(seed_0=ARRAY[0] + 1j), LABELS),
    "a number as outputs": lambda: compare_runs(with_run(seed_0=0.5), LABELS),
    "(examples, runs, classes)": lambda: compare_runs(ARRAY.swapaxes(0, 1), LABELS),
    "(runs, classes, examples)": lambda: compare_runs(ARRAY.swapaxes(1, 2), LABELS),
    "a run as (classes, examples)": lambda: compare_runs({name: run.T for name, run in RUNS.items()}, LABELS),
    "one array of two axes": lambda: compare_runs(ARRAY[0], LABELS),
    "one array of four axes": lambda: compare_runs(ARRAY[None], LABELS),
    "a run of three axes": lambda: compare_runs(with_run(seed_0=ARRAY[:1]), LABELS),
    "an empty run": lambda: compare_runs(with_run(seed_0=ARRAY[0, :0]), LABELS),
    "probabilities, not said": lambda: compare_runs(PROBABILITIES, LABELS),
    "single outputs in [0, 1], not said": lambda: compare_runs(list(PROBABILITIES[..., 0]), LABELS > 0),
    "logits said to be probabilities": lambda: compare_runs(RUNS, LABELS, is_probability=True),
    "probabilities beside logits": lambda: compare_runs(with_run(seed_1=PROBABILITIES[1]), LABELS),
    "rows that do not sum to 1": lambda: compare_runs(
        changed(PROBABILITIES, (0, 4), 0.5 / 3), LABELS, is_probability=True
    ),
    "decided classes": lambda: compare_runs(list(ARRAY.argmax(axis=2)), LABELS),
    "decided classes as floats": lambda: compare_runs(list(ARRAY.argmax(axis=2).astype(float)), LABELS),
    "an unknown quantity": lambda: compare_runs(RUNS, LABELS, quantity="margins"),
    "the gap of three classes": lambda: compare_runs(RUNS, LABELS, quantity="gap"),
    "an impossible tolerance": lambda: compare_runs(RUNS, LABELS, tolerance=5),
    "an impossible precision": lambda: compare_runs(RUNS, LABELS, precision=0),
    "a misspelled on_bad_run": lambda: compare_runs(RUNS, LABELS, on_bad_run="skip"),
    "a number of bins that is not whole": lambda: compare_runs(RUNS, LABELS, bins=2.5),
    "a seed below 0": lambda: compare_runs(RUNS, LABELS, seed=-1),
    "a number for the names": lambda: compare_runs(ARRAY, LABELS, names=3),
    "a word for a truth value": lambda: compare_runs(RUNS, LABELS, is_probability="yes"),
}
OF_LAYERS = {
    "no mapping": lambda: compare_layers([layers()]),
    "a layer missing in one run": lambda: compare_layers(with_layer("seed 1", second=None)),
    "another layer in one run": lambda: compare_layers(with_layer("seed 1", third=np.ones((40, 2)))),
    "layers of different lengths": lambda: compare_layers(with_layer("seed 1", second=np.ones((39, 2)))),
    "three examples": lambda: compare_layers(layers(examples=3)),
    "NaN in a layer": lambda: compare_layers(
        with_layer("seed 1", first=changed(layers()["seed 1"]["first"], (5, 0), np.nan))
    ),
    "a number for a layer": lambda: compare_layers(with_layer("seed 0", first=1.0)),
    "no layers": lambda: compare_layers({"seed 0": {}, "seed 1": {}}),
    "too little memory": lambda: compare_layers(layers(), memory=1000),
    "too little memory for a stream": lambda: compare_layers(streams(), memory=1000),
    "batches of two examples": lambda: compare_layers(layers(), pairs="batch", batch=2),
    "too little memory within batches": lambda: compare_layers(
        {"seed 0": layers()["seed 0"]}, pairs="batch", memory=1000
    ),
    "other pairs": lambda: compare_layers(layers(), pairs="some"),
    "a stream that ends early": lambda: compare_layers(streams(seed_1=(20,))),
    "batches of different sizes": lambda: compare_layers(streams(seed_1=(10, 30))),
    "a stream that was read before": lambda: compare_layers({"seed 0": iter([]), "seed 1": iter([])}),
    "mappings and streams together": lambda: compare_layers({**streams(), "seed 1": layers()["seed 1"]}),
    "an array for a run": lambda: compare_layers({"seed 0": np.ones((4, 2)), "seed 1": np.ones((4, 2))}),
    "batches that are no mappings": lambda: compare_layers({"seed 0": [np.ones((4, 2))]}),
    "an unknown measure": lambda: compare_layers(layers(), measures=["cca"]),
    "a word for the measures": lambda: compare_layers(layers(), measures="procrustes"),
    "neighbors from a stream": lambda: compare_layers(streams(), measures=["neighbors"]),
    "as many neighbors as examples": lambda: compare_layers(layers(), measures=["neighbors"], neighbors=40),
    "further measures of one run": lambda: compare_layers({"a": layers()["seed 0"]}, measures=["neighbors"]),
    "too little memory for a rotation": lambda: compare_layers(
        {run: {"wide": np.ones((200, 200)) + np.eye(200)} for run in "ab"},
        measures=["procrustes"],
        memory=600_000,
        batch=16,
    ),
    "a word for the memory": lambda: compare_layers(layers(), memory="1GiB"),
}
OF_SURROGATES = {
    "a kernel that is not square": lambda: surrogate_report(TRAIN[:-1], TEST, BOTH, NETWORK),
    "kernel_test transposed": lambda: surrogate_report(TRAIN, TEST.T, BOTH, NETWORK),
    "kernel_test of other points": lambda: surrogate_report(TRAIN, TEST[:, :-1], BOTH, NETWORK),
    "an asymmetric kernel": lambda: surrogate_report(changed(TRAIN, (3, 4), 9.0), TEST, BOTH, NETWORK),
    "NaN in a kernel": lambda: surrogate_report(TRAIN, changed(TEST, (2, 4), np.nan), BOTH, NETWORK),
    "kernels of different names": lambda: surrogate_report({"a": TRAIN}, {"b": TEST}, BOTH, NETWORK),
    "a mapping and a matrix": lambda: surrogate_report({"a": TRAIN}, TEST, BOTH, NETWORK),
    "no labels of the test points": lambda: surrogate_report(TRAIN, TEST, BOTH[0], NETWORK),
    "a class without training points": lambda: surrogate_report(
        TRAIN, TEST, (np.minimum(BOTH[0], 1), BOTH[1]), NETWORK
    ),
    "outputs of other points": lambda: surrogate_report(TRAIN, TEST, BOTH, NETWORK[:-1]),
    "NaN in the outputs": lambda: surrogate_report(TRAIN, TEST, BOTH, changed(NETWORK, 3, np.nan)),
    "probabilities of the network, not said": lambda: surrogate_report(
        TRAIN, TEST, BOTH, np.exp(NETWORK) / np.exp(NETWORK).sum(1, keepdims=True)
    ),
    "an unknown machine": lambda: surrogate_report(TRAIN, TEST, BOTH, NETWORK, machine="forest"),
    "no whole number of draws": lambda: surrogate_report(TRAIN, TEST, BOTH, NETWORK, draws=20.5),
    "a class as machine": lambda: surrogate_report(TRAIN, TEST, BOTH, NETWORK, machine=KernelGLM),
}
TABLES = {"compare_runs": OF_RUNS, "compare_layers": OF_LAYERS, "surrogate_report": OF_SURROGATES}


def rows():
    """The page's rows: function, input and words of the message."""
    parts = re.split(r"^### By `(\w+)`$", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    for function, text in zip(parts[::2], parts[1::2], strict=True):
        for line in re.findall(r"^\| (.+) \|$", text, re.M)[2:]:
            case, _, message = line.partition(" | ")
            yield function, case, message


def test_the_page_and_the_tests_list_the_same_inputs():
    listed = [(function, case) for function, case, _ in rows()]
    assert listed == [(function, case) for function, cases in TABLES.items() for case in cases]


@pytest.mark.parametrize(
    ("function", "case", "message"), [pytest.param(*row, id=f"{row[0]}, {row[1]}") for row in rows()]
)
def test_it_is_refused_in_the_words_of_the_page(function, case, message):
    with pytest.raises(ValueError) as caught:
        TABLES[function][case]()
    said = str(caught.value)
    assert message in said
    assert "\n" not in said and len(said) < 400
