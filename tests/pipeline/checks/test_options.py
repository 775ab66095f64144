"""Options that a recipe, a generator or a probe's kernel does not take are refused before anything is made."""

import pytest

from pipeline.checks.general import check
from pipeline.config.data import POISON_OPTIONS, SYNTHETIC_OPTIONS
from pipeline.data.poison import RECIPES
from pipeline.data.sources.synthetic import GENERATORS
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError

BADNETS = ("data=fashion_mnist", "data.poison.kind=badnets")
TOKEN = ("data=texts", "data.poison.kind=token_trigger", "model=gpt2_tiny", "data.poison.target=1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*BADNETS, "data.poison.options.sise=3"), "data.poison.options holds 'sise'; badnets takes size, margin."),
        ((*BADNETS, "data.poison.options.size=0"), "data.poison.options.size=0 is not a whole number of at least 1."),
        ((*BADNETS, "data.poison.options.size=[1,2]"), r"data.poison.options.size=\[1, 2\] is not one count."),
        ((*TOKEN, "data.poison.options.position=middle"), "position=middle is not one of start, end."),
        ((*TOKEN, "data.poison.options.token=5"), "data.poison.options.token=5 is not a word."),
        (("data=parabola", "data.synthetic.options.flipp=3"), "parabola takes train_grid, test_grid, flip."),
        (("data=parabola", "data.synthetic.options.train_grid=[3]"), r"train_grid=\[3\] is not 2 counts."),
        (("data=teacher", "data.synthetic.options.noise=loud", "training.loss=regression"), "noise=loud is not a numb"),
        (("data=teacher", "data.synthetic.options.normalized=1", "training.loss=regression"), "is not true or false."),
        (("snapshots.options={layer: fc}",), "snapshots.options does not fit: unknown option 'layer', did you mean"),
        (("snapshots.options={precision: flaot64}",), "snapshots.options does not fit: .*flaot64"),
    ],
    ids=lambda value: value[-1].partition("=")[0] if isinstance(value, tuple) else "",
)
def test_an_option_that_nothing_takes_is_refused_at_once(words, message):
    with pytest.raises(UserError, match=message):
        check(compose_run(words))


def test_every_recipe_and_generator_says_what_it_takes():
    assert set(POISON_OPTIONS) == set(RECIPES) and set(SYNTHETIC_OPTIONS) == set(GENERATORS)
