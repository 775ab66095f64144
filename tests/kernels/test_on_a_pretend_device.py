"""Everything runs on a device that refuses to mix its tensors with the CPU's, and gives the same bits as on the CPU.

Weights are on the device; data, labels and results are in main memory. See :mod:`tests.kernels.pretend_device`.
"""

import multiprocessing
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from kernels import (
    fit_ekfac,
    influence_scores,
    kernel_features,
    kernel_matrix,
    layer_factors,
    layer_features,
    layer_jacobians,
    verify,
)
from kernels.capture.capture import Capture
from kernels.contraction.forms import available_forms
from kernels.inputs.options import FORMS
from kernels.inputs.outputs import bind_cotangent
from kernels.jacobians import fisher_blocks
from tests.kernels import ready_processes
from tests.kernels.cases import BY_NAME, Inputs, make
from tests.kernels.pretend_device import on_device, register
from tests.references.per_sample_jacobian import rows

Calculation = Callable[[nn.Module, Inputs, Tensor, Path], Any]
MODELS = ("conv2d",)  # with a linear layer behind it: the blocks of most networks, in three exact forms
SLOW = ("conv2d_groups", "tiny_resnet", "tied_language_model", "prelu", "tiny_gpt2", "tiny_bert")
SLOW_MODELS = [pytest.param(name, marks=pytest.mark.slow) for name in SLOW]
_LIBRARY: list[torch.library.Library] = []


def square(**options: Any) -> Calculation:
    return lambda model, inputs, labels, _: _parts(kernel_matrix(model, inputs, labels=labels, **options))


def rectangular(**options: Any) -> Calculation:
    def run(model: nn.Module, inputs: Inputs, labels: Tensor, folder: Path) -> list[Any]:
        # Copies, as the device makes them: BLAS may round by where memory begins, and a view begins inside a block.
        train, test = (tree_map(torch.clone, rows(inputs, some)) for some in (slice(0, 4), slice(2, 6)))
        return _parts(kernel_matrix(model, train, test, labels=labels[:4], **options))

    return run


def _parts(found: Any) -> list[Any]:
    return [found.matrix, found.diagonal, found.column_diagonal, found.parts]


def _in_file(model: nn.Module, inputs: Inputs, labels: Tensor, folder: Path) -> list[Any]:
    options = {"block_rows": 4, "batch_size": 3, "out": folder / "gram.safetensors"}
    return [_parts(kernel_matrix(model, inputs, **options)) for _ in range(2)]  # computed, then reopened


def _influence(model: nn.Module, inputs: Inputs, labels: Tensor, folder: Path) -> Any:
    fisher = fit_ekfac(model, inputs, labels=labels)
    return influence_scores(model, fisher, inputs, inputs, labels=labels, test_labels=labels, layerwise=True)


def _verified(model: nn.Module, inputs: Inputs, labels: Tensor, folder: Path) -> Any:
    found = verify(model, inputs)
    return [found.ok, found.contraction_error < 1e-5, found.ruled, found.fallback, found.unused, found.frozen]


def _factors(model: nn.Module, inputs: Inputs, labels: Tensor, folder: Path) -> Any:
    return [[b.gradients() for b in part.blocks] for part in layer_factors(model, inputs, labels=labels)]


CALCULATIONS: dict[str, Calculation] = {
    "pntk": square(kind="pntk"),
    "trntk in chunks of classes": square(memory="1GiB"),
    "trntk in little memory": square(memory="300KB"),
    "pntk bfloat16": rectangular(kind="pntk", precision="bfloat16"),
    "entk by tensor": rectangular(kind="entk", layerwise=True, normalize="part", precision="float64"),
    "trntk by module": rectangular(layerwise="module", normalize=False),
    "loss gradient": square(kind="loss_gradient"),
    "loss gradient of predictions": rectangular(kind="loss_gradient"),
    "embedding": rectangular(kind="embedding"),
    **{f"trntk {form}": square(forms=form) for form in FORMS},
    **{f"entk {form}": rectangular(forms=form, kind="entk") for form in FORMS},
    **{f"trntk {name}": rectangular(sketch=name, dim=8) for name in ("tensorsketch", "countsketch", "rademacher")},
    "trntk in a file": _in_file,
    "features": lambda model, inputs, *_: kernel_features(model, inputs, kind="trntk", dim=8, layerwise=True).parts,
    "whole gradients": lambda model, inputs, *_: kernel_features(model, inputs, sketch=None).gram(),
    "log odds in a file": lambda model, inputs, labels, folder: (
        kernel_features(
            model, inputs, kind="log_odds", labels=labels, dim=8, out=folder / "features.safetensors"
        ).values
    ),
    "verify": _verified,
    "factors": _factors,
    "layer features": lambda model, inputs, *_: [one.features for one in layer_features(model, inputs)],
    "jacobians": lambda model, inputs, *_: layer_jacobians(model, inputs),
    "fisher": lambda model, inputs, *_: {n: b.matrix for n, b in fisher_blocks(model, inputs, smaller=True).items()},
    "influence": _influence,
}
OFTEN = (
    "trntk in chunks of classes", "pntk bfloat16", "entk by tensor", "loss gradient", "embedding", "trntk position",
    "trntk shift", "trntk feature", "trntk tensorsketch", "trntk in a file", "features", "factors", "jacobians",
    "influence",
)  # fmt: skip
"""Calculations of the default tests: every function, every form, each way of holding results."""


def compare(name: str, folder: Path, device: str = "pretend", some: Collection[str] = CALCULATIONS) -> list[str]:
    """Run calculations of one model on the CPU and on a device, and say what differs."""
    model, inputs, labels = make(BY_NAME[name], 6, dtype=torch.float32)
    moved = on_device(model, device)
    assert {p.device.type for p in moved.parameters()} == {device}
    wrong = []
    _, blocks = Capture(model, rows(inputs, slice(0, 3))).blocks(inputs, bind_cotangent("class", None))
    forms = set.union(*(available_forms(block) for block in blocks))
    for about, calculation in ((about, CALCULATIONS[about]) for about in some):
        if about in {f"{kind} {form}" for kind in ("trntk", "entk") for form in {*FORMS} - forms}:
            continue  # this network would be computed in its own forms once more
        places = [folder / about / side for side in ("cpu", device)]
        for place in places:
            place.mkdir(parents=True)
        expected = calculation(model, inputs, labels, places[0])
        try:
            found = calculation(moved, inputs, labels, places[1])
        except RuntimeError as error:
            wrong.append(f"{about}: {error}")
            continue
        tolerance = 0.0 if device == "pretend" else 2e-2 if "bfloat16" in about else 1e-3
        if not same(found, expected, tolerance):
            wrong.append(f"{about}: other numbers")
    return wrong


def same(found: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Equal bits, wherever they are, or numbers that are near in units of the largest."""
    if isinstance(expected, Tensor):
        if not tolerance:
            return isinstance(found, Tensor) and torch.equal(found.cpu(), expected)
        return float((found.cpu() - expected).norm()) <= tolerance * float(expected.norm())
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key], tolerance) for key in expected)
    if isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(map(same, found, expected, [tolerance] * len(found)))
    return bool(found == expected)


def refusals() -> list[str]:
    """Name what the device lets pass although an accelerator, or this test, would not."""
    here, there = torch.ones(3, 3), torch.ones(3, 3).to("pretend")
    mixed: dict[str, Callable[[], Any]] = {
        "sum": lambda: here + there,
        "sum in place": lambda: here.add_(there),
        "product": lambda: there @ here,
        "product into": lambda: torch.mm(here, here, out=there),
        "join": lambda: torch.cat([there, here]),
        "choice": lambda: torch.where(there > 0, there, here),
        "index": lambda: there[torch.arange(2)],
        "foreign index": lambda: here[torch.arange(2, device="pretend")],
        "mask": lambda: there[here > 0],
        "assignment by mask": lambda: there.__setitem__(here > 0, 0.0),
        "array": lambda: there.numpy(),
    }
    passed = []
    for name, operation in mixed.items():
        try:
            operation()
        except (RuntimeError, TypeError):
            continue
        passed.append(name)
    allowed = [there * torch.tensor(2.0), there.cpu() + here, here.copy_(there), there[0, 0].item(), there.tolist()]
    return passed if len(allowed) == 5 and torch.equal(there.cpu(), torch.ones(3, 3)) else [*passed, "broke a copy"]


def _start() -> None:
    torch.set_num_threads(1)
    _LIBRARY.append(register())


@pytest.fixture(scope="module")
def other_process() -> Iterator[ProcessPoolExecutor]:
    """A process that knows the device: registering it is global and final."""
    ready_processes.prepare()
    with ProcessPoolExecutor(1, multiprocessing.get_context(ready_processes.METHOD), _start) as pool:
        yield pool


def test_the_device_refuses_to_mix(other_process: ProcessPoolExecutor) -> None:
    assert other_process.submit(refusals).result() == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", [*MODELS, *SLOW_MODELS])
def test_every_calculation_runs_on_a_card(name: str, tmp_path: Path) -> None:
    assert compare(name, tmp_path, "cuda") == []


def test_calculations_of_every_function_run_on_the_device(other_process: ProcessPoolExecutor, tmp_path: Path) -> None:
    assert other_process.submit(compare, MODELS[0], tmp_path, some=OFTEN).result() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, *SLOW])
def test_every_calculation_runs_on_the_device(name: str, other_process: ProcessPoolExecutor, tmp_path: Path) -> None:
    assert other_process.submit(compare, name, tmp_path).result() == []
