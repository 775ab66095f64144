"""An option of the kernels is one entry of one class: functions accept it, documentation lists it, checks know it."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

import kernels
from kernels.inputs.options import FeatureOptions, KernelOptions, ModelOptions, PassOptions, entries

MODEL = nn.Linear(3, 2).eval()
DATA = torch.eye(3)
LABELS = torch.tensor([0, 1, 0])
FISHER = kernels.fit_ekfac(MODEL, DATA)

TAKERS = {
    "kernel_matrix": (KernelOptions, lambda **options: kernels.kernel_matrix(MODEL, DATA, **options)),
    "plan_kernel": (KernelOptions, lambda **options: kernels.plan_kernel(MODEL, DATA, **options)),
    "kernel_features": (FeatureOptions, lambda **options: kernels.kernel_features(MODEL, DATA, sketch=None, **options)),
    "layer_factors": (PassOptions, lambda **options: list(kernels.layer_factors(MODEL, DATA, **options))),
    "layer_jacobians": (PassOptions, lambda **options: kernels.layer_jacobians(MODEL, DATA, **options)),
    "fisher_blocks": (PassOptions, lambda **options: kernels.fisher_blocks(MODEL, DATA, **options)),
    "fit_ekfac": (PassOptions, lambda **options: kernels.fit_ekfac(MODEL, DATA, **options)),
    "influence_scores": (
        PassOptions,
        lambda **options: kernels.influence_scores(
            MODEL, FISHER, DATA, DATA, labels=LABELS, test_labels=LABELS, **options
        ),
    ),
    "verify": (ModelOptions, lambda **options: kernels.verify(MODEL, DATA, **options)),
}


@pytest.mark.parametrize("name", TAKERS)
def test_every_entry_is_accepted_and_documented(name: str) -> None:
    options, call = TAKERS[name]
    defaults = {key: option.default for key, option in entries(options).items()}
    call(**defaults)
    for key, option in entries(options).items():
        assert f"\n{key} : " in (getattr(kernels, name).__doc__ or "")
        assert option.sentence[:20] in getattr(kernels, name).__doc__
    signature = inspect.signature(getattr(kernels, name))
    assert defaults == {key: signature.parameters[key].default for key in entries(options)}


@pytest.mark.parametrize("name", TAKERS)
def test_a_misspelled_option_is_named_with_the_right_ones(name: str) -> None:
    options, call = TAKERS[name]
    with pytest.raises(TypeError, match="unknown option 'evalmode', did you mean 'eval_mode'.*layers, fallback"):
        call(evalmode=True)


@pytest.mark.parametrize(
    ("wrong", "right", "call"),
    [
        ("fishr", "fisher", lambda **options: kernels.fit_ekfac(MODEL, DATA, **options)),
        ("sktech", "sketch", lambda **options: kernels.kernel_matrix(MODEL, DATA, **options)),
        ("cotangents", "cotangent", lambda **options: kernels.fisher_blocks(MODEL, DATA, **options)),
        ("test_label", "test_labels", lambda **options: kernels.influence_scores(MODEL, FISHER, DATA, DATA, **options)),
    ],
    ids=["fit_ekfac", "kernel_matrix", "fisher_blocks", "influence_scores"],
)
def test_a_misspelled_keyword_of_one_function_is_named_too(wrong: str, right: str, call) -> None:
    with pytest.raises(TypeError, match=f"unknown option '{wrong}', did you mean '{right}'.*layers"):
        call(**{wrong: None})


def test_a_stream_refuses_options_before_it_is_read() -> None:
    with pytest.raises(TypeError, match="unknown option 'evalmode'"):
        kernels.layer_factors(MODEL, DATA, evalmode=True)


def test_one_class_names_every_option() -> None:
    assert kernels.KernelOptions is KernelOptions
    for name in entries(KernelOptions):
        assert f"\n{name} : " in (KernelOptions.__doc__ or "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", None),
        ("normalize", None),
        ("layerwise", None),
        ("zero_gradient", None),
        ("normalize", {"weight": True}),
    ],
)
def test_only_options_that_may_be_absent_or_a_mapping_are(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name}=.*: use one of "):
        kernels.plan_kernel(MODEL, DATA, **{name: value})


def test_choices_and_minima_are_checked_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="layerwise='layer': use one of True, False, tensor, module"):
        kernels.plan_kernel(MODEL, DATA, layerwise="layer")
    with pytest.raises(ValueError, match="forms='quick': use one of position"):
        kernels.plan_kernel(MODEL, DATA, forms={"weight": "quick"})
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        list(kernels.layer_factors(MODEL, DATA, batch_size=0))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"eval_mode": "yes"}, "eval_mode='yes': use one of True, False"),
        ({"kind": "conjugate", "append_one": "no"}, "append_one='no': use one of True, False"),
        ({"output": "logits"}, "output='logits' is no function"),
        ({"layers": 3}, "layers=3: pass a name, or a list of names"),
        ({"layers": None}, "layers=None: pass a name"),
        ({"fallback": [0]}, r"fallback=\[0\]: pass a name"),
        ({"layerwise": {"mine": 3}}, "layerwise, mine=3: pass a name"),
        ({"sketch": "tensorsketch", "dim": "8"}, "dim='8' is no whole number"),
        ({"sketch": "tensorsketch", "dim": 2, "seed": 0.5}, "seed=0.5 is no whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_of_another_type_is_named(options, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        kernels.kernel_matrix(MODEL, DATA, **options)


def test_one_name_may_stand_alone() -> None:
    found = kernels.kernel_matrix(MODEL, DATA, fallback="weight", layerwise={"mine": "bias"}, normalize=False)
    assert torch.equal(found.parts["mine"], torch.full((3, 3), 2.0))
