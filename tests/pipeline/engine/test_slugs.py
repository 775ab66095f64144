"""A folder's name tells what its settings say beyond the usual, and follows from the address alone."""

import pytest

from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.slugs import own_words, slug_of

WORDS = ("data=fashion_mnist", "model=resnet18")


def slug(stage, *more):
    words = (*WORDS, *more)
    return Graph(words).resolve(stage, compose_run(words)).slug


def test_width_kernel_and_seed_are_in_the_name_of_everything_that_rests_on_them():
    more = ("model.width=8", "kernel=trntk", "seed=3")
    assert slug("train", *more) == "fashion_mnist-resnet18-width8-s3"
    assert slug("kernel", *more) == "fashion_mnist-resnet18-width8-trntk-s3"
    assert slug("surrogate", *more, "surrogate=svm") == "fashion_mnist-resnet18-width8-trntk-svm-s3"
    assert slug("train", "model.width=16") != slug("train", "model.width=8")
    assert slug("prepare", *more) == "fashion_mnist"


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("training.lr=0.03", "-lr0.03-"),
        ("training.optimizer=adam", "-adam-"),
        ("weights.source=init", "-init-"),
        ("data.drop=[1,2,3]", "-drop3-"),
        ("model.max_pool=true", "-max_pool-"),
        ("numerics.deterministic=false", "resnet18-pntk-s0"),
    ],
)
def test_what_is_as_usual_is_left_out(override, word):
    assert word in slug("kernel", override) and word not in slug("kernel").replace("resnet18-pntk-s0", "")


def test_another_choice_of_what_an_artifact_does_not_depend_on_leaves_its_name():
    assert slug("train", "kernel=trntk", "surrogate=svm") == slug("train") == "fashion_mnist-resnet18-s0"


def test_names_stay_short_and_steer_no_terminal():
    named = slug("train", "training.attack.radius=0.123456", "training.lr=0.000123456789")
    assert len(named) < 120 and all(character.isprintable() and character != "/" for character in named)


def test_long_names_fit_into_a_folder_with_what_is_added_to_them():
    args = {"a": "日本" * 12, "b": "語" * 24}
    words = (f"data.name='{'ü' * 50}'", "model=custom", f"model.target=mynet.{'Very' * 40}")
    config = compose_run(words)
    slug = slug_of(config, False, "train", own_words("train", {"model[custom].args": args}))
    assert len(slug.encode()) <= 180 and slug.startswith("ü" * 50) and slug.endswith("-s0")


def test_a_command_without_overrides_has_the_usual_values():
    assert Graph(()).resolve("train", compose_run(())).slug == "fashion_mnist-mlp-s0"


def test_free_fields_of_a_network_are_told_apart():
    names = [
        Graph(words).resolve("train", compose_run(words)).slug
        for layers in (1, 2)
        for words in [("data=cola", "model=gpt2_tiny", f"model.architecture.n_layer={layers}")]
    ]
    assert names[0] != names[1] and "n_layer2" in names[1]
