"""To add a network, edit ``models/__init__.py`` and ``models/configs.py``: all else asks its configuration class."""

import sys
from dataclasses import dataclass, replace
from types import ModuleType
from typing import ClassVar

import pytest
from torch import nn

import models
from models.configs import MODEL_SCHEMAS, ModelConfig
from models.fields import choice, problems
from pipeline.checks.general import check
from pipeline.engine.cells import compose_run
from pipeline.engine.freeze import updated_table
from pipeline.engine.keys import defaults_table, flatten
from pipeline.errors import UserError
from pipeline.help import help_page
from pipeline.training.ensemble import refuse_unstackable


@dataclass
class TwigConfig(ModelConfig):
    """A network that this test alone knows."""

    kinds: ClassVar[tuple[str, ...]] = ("vector",)
    stackable: ClassVar[bool] = True

    name: str = "twig"
    bark: str = choice("rough", "smooth", default="rough", help="Its surface.")


@pytest.fixture
def twig(monkeypatch):
    """Register the network as a user would, in the two tables."""
    module = ModuleType("twig_network")
    module.build_twig = lambda input_shape, n_classes, bark: nn.Linear(input_shape[0], n_classes)
    monkeypatch.setitem(sys.modules, "twig_network", module)
    monkeypatch.setitem(MODEL_SCHEMAS, "twig", TwigConfig)
    monkeypatch.setitem(models.BUILDERS, "twig", ("twig_network", "build_twig"))


def test_a_new_network_is_built_checked_stacked_hashed_and_shown(twig):
    network = models.build_model("twig", input_shape=(3,), n_classes=2, seed=0, bark="smooth")
    assert network.weight.shape == (2, 3)
    config = replace(compose_run(("data=parabola",)), model=TwigConfig())
    check(config)
    refuse_unstackable(config)
    with pytest.raises(
        UserError, match="model=twig reads vectors, but data=fashion_mnist holds image rows; choose model=mlp, "
    ):
        check(replace(compose_run(()), model=TwigConfig()))
    with pytest.raises(UserError, match="choose model=mlp, twig"):
        check(compose_run(("data=parabola", "model=resnet18")))
    assert list(problems("model", TwigConfig(bark="wet"))) == ["model.bark=wet is not one of rough, smooth."]
    assert "model, name=twig: A network that this test alone knows." in help_page(["--help", "model"])
    added = updated_table(defaults_table())["train"]["added"]
    assert added["model[twig].bark"] == "rough"


def test_facts_of_a_network_are_no_settings():
    for schema in MODEL_SCHEMAS.values():
        paths = dict(flatten("model", schema()))
        assert not [path for path in paths if path.endswith((".kinds", "stackable", "one_output", "offered"))]
        assert schema.kinds and set(schema.kinds) <= {"image", "text", "vector"}


@pytest.mark.parametrize("name", MODEL_SCHEMAS)
def test_suggested_networks_can_be_chosen(name):
    for option in MODEL_SCHEMAS[name].offered or [name]:
        assert compose_run((f"model={option}",)).model.name == name
