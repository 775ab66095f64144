"""A field says once what it takes; one generic check turns that into a sentence."""

import dataclasses
import math
from dataclasses import dataclass, field

import pytest
from omegaconf import OmegaConf

from models.fields import Renamed, choice, choices_of, problems, renamed, rule_of, setting


@dataclass
class Inner:
    share: float = setting(0.5, "A share.", at_least=0, below=1)


@dataclass
class Outer(Renamed):
    kind: str = choice("glm", "svm", default="glm", help="A machine.")
    sketch: str | None = choice("tensor", "count", default=None, help="A sketch, or none.")
    kinds: list[str] = choice("a", "b", default=["a"], help="Some letters.")
    count: int = setting(3, "A count.", at_least=1)
    rate: float = setting(0.1, "A rate.", above=0)
    costs: list[float] = setting([1.0], "Some costs.", above=0, filled=True)
    neighbors: int = setting(10, "Votes.", at_least=1)
    names: list[str] = setting([], "Some names.", distinct=True)
    options: dict[str, int] = setting({}, "Some options.", keys=("order", "targets"))
    rows: int | None = setting(None, "Rows; null takes all.", at_least=1)
    inner: Inner = field(default_factory=Inner)
    neighbours: int | None = renamed("outer.neighbors")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "knn"}, "outer.kind=knn is not one of glm, svm."),
        ({"sketch": "sum"}, "outer.sketch=sum is not one of tensor, count."),
        ({"kinds": ["a", "c"]}, "outer.kinds holds ['c']; it takes a, b."),
        ({"count": 0}, "outer.count=0 is below 1."),
        ({"rate": 0.0}, "outer.rate=0.0 is not above 0."),
        ({"rate": math.nan}, "outer.rate=nan is not above 0."),
        ({"rate": math.inf}, "outer.rate=inf is not above 0."),
        ({"costs": [1.0, -1.0]}, "outer.costs holds [-1.0]; it takes numbers above 0."),
        ({"costs": []}, "outer.costs is empty; name at least one entry."),
        ({"kinds": ["a", "a"]}, "outer.kinds holds 'a' twice; name each entry once."),
        ({"names": ["x", "y", "x"]}, "outer.names holds 'x' twice; name each entry once."),
        ({"options": {"ordr": 1}}, "outer.options holds 'ordr'; it takes order, targets."),
        ({"rows": -1}, "outer.rows=-1 is below 1; null takes all."),
        ({"inner": Inner(1.0)}, "outer.inner.share=1.0 is not in [0, 1)."),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_fits(values, sentence):
    assert list(problems("outer", Outer(**values))) == [sentence]


def test_defaults_and_null_pass_and_lists_are_not_shared():
    one, other = Outer(), Outer()
    assert list(problems("outer", one)) == []
    one.kinds.append("b")
    assert other.kinds == ["a"]
    assert choices_of(Outer, "kinds") == ("a", "b")
    assert rule_of(Outer.__dataclass_fields__["inner"]).help == ""


def test_structured_configurations_keep_types_and_defaults():
    node = OmegaConf.structured(Outer)
    assert OmegaConf.to_object(node) == Outer()
    with pytest.raises(Exception, match="could not be converted to Integer"):
        node.count = "ten"


def test_a_former_spelling_gives_its_value_to_the_new_one_with_a_warning():
    with pytest.warns(FutureWarning, match="outer.neighbours is called outer.neighbors now") as caught:
        old = OmegaConf.to_object(OmegaConf.merge(Outer, {"neighbours": 5}))
    assert len(caught) == 1
    assert (old.neighbors, old.neighbours) == (5, None)
    assert dataclasses.replace(old, neighbors=7).neighbors == 7, "no second warning, and the new value stays"
