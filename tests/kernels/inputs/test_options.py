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
