"""One function per engine: (model, inputs, kind) -> unnormalized (N, N) kernel, as its documentation suggests.

Engines that give the per-sample gradient of one scalar go class by class for the trace kernel, which needs C times
less memory than all classes at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.kernel_cells import Inputs, call, first, gradient_rows


def ours(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    from kernels import kernel_matrix

    return kernel_matrix(model, inputs, kind=kind, normalize=False).matrix


def per_sample_loop(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    if kind == "pntk":
        rows = gradient_rows(model, inputs, kind)[0]
        return rows @ rows.T
    return sum_over_classes(model, inputs, lambda one: gradient_rows(one, inputs, "pntk")[0])


class Selected(nn.Module):
    """The model with one logit, or the sum of all, as its only output."""

    def __init__(self, model: nn.Module, index: int | None) -> None:
        super().__init__()
        self.model, self.index = model, index

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        output = self.model(*args, **kwargs)
        logits = output if isinstance(output, Tensor) else output.logits
        return logits.sum(1, keepdim=True) if self.index is None else logits[:, self.index : self.index + 1]


def sum_over_classes(model: nn.Module, inputs: Inputs, gradients: Callable[[nn.Module], Tensor]) -> Tensor:
    """Σ_c J_c J_cᵀ with one class's gradients in memory."""
    with torch.no_grad():
        head = {k: v[:1] for k, v in inputs.items()} if not isinstance(inputs, Tensor) else inputs[:1]
        classes = call(model, head).shape[1]
    total: Tensor | None = None
    for c in range(classes):
        rows = gradients(Selected(model, c))
        total = rows @ rows.T if total is None else total.addmm_(rows, rows.T)
        del rows
    assert total is not None
    return total


def scalar_outputs(kind: str, model: nn.Module, inputs: Inputs, gradients: Callable[[nn.Module], Tensor]) -> Tensor:
    if kind == "trntk":
        return sum_over_classes(model, inputs, gradients)
    rows = gradients(Selected(model, None))
    return rows @ rows.T


def torch_func(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """torch.func: vmap(grad) in chunks of 16 samples, contracted parameter by parameter."""

    return scalar_outputs(kind, model, inputs, lambda one: functional_gradients(one, inputs))


def functional_gradients(model: nn.Module, inputs: Inputs) -> Tensor:
    """(N, P) gradients of the model's first output."""
    parameters = {k: v.detach() for k, v in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def scalar(p: dict[str, Tensor], x: Inputs) -> Tensor:
        batch = x[None] if isinstance(x, Tensor) else {k: v[None] for k, v in x.items()}
        args, kwargs = ((batch,), {}) if isinstance(batch, Tensor) else ((), batch)
        return functional_call(model, (p, buffers), args, kwargs)[0, 0]

    found = vmap(grad(scalar), in_dims=(None, 0), chunk_size=16)(parameters, inputs)
    return torch.cat([g.flatten(1) for g in found.values()], 1)


def opacus(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """Opacus' GradSampleModule; hooks accumulate `grad_sample`."""
    from opacus import GradSampleModule

    def gradients(one: nn.Module) -> Tensor:
        wrapped = GradSampleModule(one.train(), loss_reduction="sum")  # it records nothing in eval mode
        output = wrapped(inputs) if isinstance(inputs, Tensor) else wrapped(**inputs)
        output.sum().backward()
        missing = [n for n, p in wrapped.named_parameters() if p.grad_sample is None]
        if missing:
            raise RuntimeError(f"no per-sample gradient for {len(missing)} parameters, such as {missing[0]}")
        rows = torch.cat([p.grad_sample.flatten(1) for p in wrapped.parameters()], 1)
        wrapped.zero_grad()
        wrapped.remove_hooks()
        return rows

    return scalar_outputs(kind, copy.deepcopy(model), inputs, gradients)


def asdl(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """ASDL's exact class-wise NTK, summed over classes."""
    from asdl.kernel import empirical_class_wise_direct_ntk

    one = Selected(model, None) if kind == "pntk" else model
    if not isinstance(inputs, Tensor):
        raise TypeError("takes one input tensor")
    return empirical_class_wise_direct_ntk(one, inputs).sum(2)


def asdl_hadamard(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """ASDL's fast NTK: product of input and output Grams."""
    from asdl.kernel import empirical_class_wise_hadamard_ntk

    one = Selected(model, None) if kind == "pntk" else model
    if not isinstance(inputs, Tensor):
        raise TypeError("takes one input tensor")
    return empirical_class_wise_hadamard_ntk(one, inputs).sum(2)


def nngeometry(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """NNGeometry's Gram matrix, class by class for the trace."""
    from nngeometry import GramMatrix

    if not isinstance(inputs, Tensor):
        raise TypeError("takes one input tensor")
    loader = DataLoader(TensorDataset(inputs), batch_size=len(inputs))
    with torch.no_grad():
        classes = [None] if kind == "pntk" else list(range(model(inputs[:1]).shape[1]))
    total: Tensor | None = None
    for c in classes:

        def function(batch: Tensor, c: int | None = c) -> Tensor:
            f = model(batch)
            return f.sum(1, keepdim=True) if c is None else f[:, c : c + 1]

        gram = GramMatrix(model, loader, function=lambda *batch: function(batch[0])).data[0, :, 0]
        total = gram if total is None else total + gram
    assert total is not None
    return total.detach()


def trak(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """TRAK's functional per-sample gradients, without its projection."""
    from trak.gradient_computers import FunctionalGradientComputer
    from trak.modelout_functions import AbstractModelOutput

    class Output(AbstractModelOutput):
        def __init__(self):
            pass

        @staticmethod
        def get_output(one, weights, buffers, *values):
            batch = [v[None] for v in values]
            args, kwargs = (
                ((batch[0],), {}) if isinstance(inputs, Tensor) else ((), dict(zip(inputs, batch, strict=True)))
            )
            return functional_call(one, (weights, buffers), args, kwargs)[0, 0]

        def get_out_to_loss_grad(self, *args):
            raise RuntimeError("not used")

    def gradients(one: nn.Module) -> Tensor:
        size = sum(p.numel() for p in one.parameters())
        computer = FunctionalGradientComputer(one, Output(), size, torch.float32, torch.device("cpu"))
        values = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
        count, parts = len(values[0]), []
        for i in range(0, count, 16):
            found = computer.compute_per_sample_grad([v[i : i + 16] for v in values])
            parts.append(torch.cat([g.detach().flatten(1) for g in found.values()], 1))
        return torch.cat(parts)

    return scalar_outputs(kind, model, inputs, gradients)


def dattri(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """dattri's TracIn with one checkpoint, weight 1 and no projection: gradient dot products of the summed logits."""
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    if kind != "pntk":
        raise TypeError("one target per call: no trace over classes")
    one = Selected(model, None)
    names = [] if isinstance(inputs, Tensor) else list(inputs)

    def target(parameters: dict[str, Tensor], data: tuple[Tensor, ...]) -> Tensor:
        batch = [v[None] for v in data]
        args, kwargs = ((batch[0],), {}) if not names else ((), dict(zip(names, batch, strict=True)))
        return functional_call(one, parameters, args, kwargs)[0, 0]

    task = AttributionTask(loss_func=target, model=one, checkpoints=one.state_dict())
    attributor = TracInAttributor(task=task, weight_list=torch.ones(1), normalized_grad=False)
    attributor.projector_kwargs = None
    values = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    loader = DataLoader(TensorDataset(*values), batch_size=16, shuffle=False)
    return attributor.attribute(loader, loader).T


def dattri_llm(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """dattri-llm's factorized gradients of one frozen probe, and `Gradient.similarity` of them.

    Frozen parameters spare it most weight gradients. A layer hooked as `linear_io` is exact; batch normalization has no
    per-sample gradient there and is left out. Position ids are given for every sample, since a lookup that the samples
    share would be summed over the batch.
    """
    from dattri_llm import REGISTER_ALL, HookManager, HookManagerConfig

    if isinstance(inputs, Tensor):
        batch: Inputs = inputs.clone().requires_grad_()
    else:
        ids = inputs["input_ids"]
        batch = {**inputs, "position_ids": torch.arange(ids.shape[1]).expand_as(ids).clone()}
    flags = [(p, p.requires_grad) for p in model.parameters()]
    classes = [None] if kind == "pntk" else list(range(call(model, first(inputs, 1)).shape[1]))
    total: Tensor | None = None
    try:
        model.requires_grad_(False)
        for module in model.modules():  # nothing in front of an embedding requires a gradient: its table must
            if isinstance(module, nn.Embedding):
                module.requires_grad_()
        for c in classes:
            one = Selected(model, c)
            config = HookManagerConfig(linear_io=REGISTER_ALL, include_frozen=True)
            with HookManager(one, config=config).collect(deregister_on_exit=True) as collector:
                (one(batch) if isinstance(batch, Tensor) else one(**batch)).sum().backward()
                gradient = collector.get_gradient()
            gram = gradient.similarity(gradient, reduce="all")
            total = gram if total is None else total + gram
            del gradient, collector
    finally:
        model.zero_grad()
        for p, flag in flags:
            p.requires_grad_(flag)
    assert total is not None
    return total


def kronfluence(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """Kronfluence's pairwise scores with the identity in place of the Fisher matrix."""
    import tempfile

    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task
    from kronfluence.utils.dataset import DataLoaderKwargs

    if kind != "pntk":
        raise TypeError("one scalar per sample: no trace over classes")

    class Summed(Task):
        def compute_train_loss(self, batch, model, sample=False):
            values = batch[0] if isinstance(inputs, Tensor) else dict(zip(inputs, batch, strict=True))
            return call(model, values).sum()

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

    task = Summed()
    prepared = prepare_model(copy.deepcopy(model), task)
    values = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    data = TensorDataset(*values)
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer("ntk", prepared, task, cpu=True, output_dir=folder, disable_tqdm=True)
        analyzer.set_dataloader_kwargs(DataLoaderKwargs(num_workers=0))
        analyzer.fit_all_factors("f", data, factor_args=FactorArguments(strategy="identity"), per_device_batch_size=16)
        analyzer.compute_pairwise_scores(
            "s", "f", data, data, per_device_query_batch_size=16, per_device_train_batch_size=16,
            score_args=ScoreArguments(damping_factor=0.0),
        )  # fmt: skip
        return analyzer.load_pairwise_scores("s")["all_modules"]


ENGINES: dict[str, Callable[[nn.Module, Inputs, str], Tensor]] = {
    f.__name__: f
    for f in (
        ours,
        torch_func,
        per_sample_loop,
        opacus,
        asdl,
        asdl_hadamard,
        nngeometry,
        trak,
        dattri,
        dattri_llm,
        kronfluence,
    )
}


def version(engine: str) -> str:
    """Installed version of the package behind an engine."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    names = {"trak": "traker", "asdl": "asdfghjkl", "asdl_hadamard": "asdfghjkl", "dattri_llm": "dattri-llm"}
    try:
        return installed(names.get(engine, engine))
    except PackageNotFoundError:
        return torch.__version__ if engine in ("torch_func", "per_sample_loop") else ""
