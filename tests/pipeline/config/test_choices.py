"""The words that settings take are declared once; what looks them up, and what comments say of them, is held to it."""

import re

import pytest

from analysis.probes.linear_svm import Scaling
from analysis.surrogates.glm_losses import Formulation
from analysis.surrogates.glm_solver import Penalty
from analysis.surrogates.tangent_machine import KINDS as TANGENT_KINDS
from analysis.variability.gaps import Quantity
from kernels.features import SKETCHES
from kernels.inputs.options import KINDS as KERNEL_KINDS
from kernels.machine.precision import PRECISIONS
from models import BUILDERS
from models.configs import ACTIVATIONS, MODEL_SCHEMAS
from models.dense import ACTIVATIONS as ACTIVATION_MODULES
from models.fields import choices_of
from models.losses import LOSSES
from models.optimizers.schedules import OPTIMIZERS, SCHEDULES
from pipeline.checks.kernels import GRADIENT_KINDS
from pipeline.config.attribution import AttributionConfig
from pipeline.config.data import (
    PackagedConfig,
    PathConfig,
    PoisonConfig,
    SplitConfig,
    SyntheticConfig,
    TextConfig,
)
from pipeline.config.kernel import KernelConfig
from pipeline.config.probes import ProbesConfig
from pipeline.config.shift import ShiftConfig
from pipeline.config.snapshots import SnapshotsConfig
from pipeline.config.statistics import StatisticsConfig
from pipeline.config.surrogate import SurrogateConfig
from pipeline.config.training import TrainingConfig
from pipeline.data import divide, poison
from pipeline.data.sources.files import READERS
from pipeline.data.sources.pins import PACKAGED
from pipeline.data.sources.synthetic import GENERATORS
from pipeline.data.text_rules import MASKS
from pipeline.engine.cells import CONF
from pipeline.stages.attribution.methods import GRADIENT_METHODS
from pipeline.stages.shift.claims import RIVAL_CLAIMS
from pipeline.stages.statistics.report import CLAIMS
from tests.pipeline.test_help import FIELDS

TABLES = [
    (PathConfig, "format", READERS),
    (PackagedConfig, "name", PACKAGED),
    (SyntheticConfig, "function", GENERATORS),
    (SplitConfig, "recipe", divide.RECIPES),
    (TextConfig, "mask", MASKS),
    (PoisonConfig, "kind", ["none", *poison.RECIPES]),
    (TrainingConfig, "loss", LOSSES),
    (TrainingConfig, "optimizer", OPTIMIZERS),
    (TrainingConfig, "schedule", SCHEDULES),
    (SnapshotsConfig, "kernel", KERNEL_KINDS),
    (KernelConfig, "sketch", SKETCHES),
    (KernelConfig, "precision", [*PRECISIONS, "bf16"]),
    (SurrogateConfig, "link", Formulation.__args__),
    (SurrogateConfig, "penalty", Penalty.__args__),
    (ProbesConfig, "scaling", Scaling.__args__),
    (StatisticsConfig, "claims", CLAIMS),
    (ShiftConfig, "rivals", [name for name, *_ in RIVAL_CLAIMS]),
]


@pytest.mark.parametrize(("schema", "name", "table"), TABLES, ids=[f"{one.__name__}.{name}" for one, name, _ in TABLES])
def test_what_looks_a_word_up_knows_exactly_the_declared_ones(schema, name, table):
    assert set(choices_of(schema, name)) == set(table)


def test_lists_that_are_parts_of_others():
    assert ACTIVATIONS == tuple(ACTIVATION_MODULES)
    assert set(choices_of(KernelConfig, "kind")) <= set(KERNEL_KINDS)
    assert set(GRADIENT_KINDS) == set(TANGENT_KINDS)
    assert set(GRADIENT_METHODS) <= set(choices_of(AttributionConfig, "methods"))
    assert set(choices_of(StatisticsConfig, "quantity")) - {"auto"} <= set(Quantity.__args__)
    assert set(MODEL_SCHEMAS) == set(BUILDERS)


def comments():
    """Every comment of ``conf/`` with its file; the lines of one block are joined."""
    for path in sorted(CONF.rglob("*.yaml")):
        block = ""
        for line in [*path.read_text().splitlines(), ""]:
            found = re.search(r"(?:^|\s)#(.*)", line)
            if found and not line.partition("#")[0].strip():
                block += f" {found[1]}"
                continue
            if block:
                yield path, block
            block = found[1] if found else ""


def test_comments_name_settings_and_choices_that_exist():
    groups = {
        folder.name: {path.stem for path in folder.glob("*.yaml")} for folder in CONF.iterdir() if folder.is_dir()
    }
    rules = {}
    for name, rule in FIELDS:
        rules.setdefault(name, []).append(rule)
    free = {"data.path.extra", "data.poison.options", "data.synthetic.options", "cells", "hydra"}
    checked = 0
    for path, text in comments():
        for name, value in re.findall(r"(?<![\w./+])\+?([a-z_]+(?:\.[a-z_0-9]+)*)=([\w./-]+)", text):
            value = value.rstrip(".")
            place = f"{path.relative_to(CONF)}: {name}={value}"
            if name in groups:
                assert value in groups[name] or value == "null" or value.isupper(), place
            elif not any(name == one or name.startswith(f"{one}.") for one in free):
                assert name in rules, f"{place} is not a setting"
                choices = {choice for rule in rules[name] for choice in rule.choices}
                assert not choices or value in choices, place
                assert all(rule.renamed_to is None for rule in rules[name]), f"{place} is a former spelling"
            checked += 1
    assert checked > 30


def test_only_the_first_page_repeats_a_list_and_it_is_held_to_its_group():
    for path, text in comments():
        assert " | " not in text or path.name == "config.yaml", f"{path} repeats a list that --help makes"
