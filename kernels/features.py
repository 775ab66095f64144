r"""Features whose inner products are kernels: sketched or whole gradients, last hidden layers, layer outputs.

(N, k) features serve data sets that are too large for a Gram matrix. For several cotangents (``trntk``: one per class)
every cotangent goes through the same map S, and :math:`\sum_c (S g_c) \cdot (S g'_c)` is the inner product of their
concatenation (arXiv:2305.14585, "projected" kernels).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.capture.capture import Capture
from kernels.capture.certificate import Certifier
from kernels.capture.layer_outputs import conjugate_source, embedding_source
from kernels.capture.sources import GradientSource, Source
from kernels.contraction.kernel_file import create_arrays, load_finished, map_arrays, put_in_place, stored_certificate
from kernels.contraction.result_files import PART
from kernels.contraction.tile_store import (
    FileTileStore,
    TileStore,
    stored_plan,
)
from kernels.feature_result import NAME, KernelFeatures, without_prefix
from kernels.gradients.blocks import Block
from kernels.inputs.fingerprints import answers, chosen, weights_digest
from kernels.inputs.loan import Loan
from kernels.inputs.option import require_whole_number
from kernels.inputs.options import COTANGENT_OF_KIND, FeatureOptions, documents, feature_options, refuse_meaningless
from kernels.inputs.outputs import cotangent_rows
from kernels.inputs.samples import PROBE, Place, Samples, first_not_finite
from kernels.machine.precision import precision_named
from kernels.sketches.base import Sketch
from kernels.sketches.countsketch import CountSketch
from kernels.sketches.rademacher import Rademacher
from kernels.sketches.tensorsketch import TensorSketch

SKETCHES: dict[str, type[Sketch]] = {one.kind: one for one in (TensorSketch, CountSketch, Rademacher)}
Scalar = Callable[[Tensor, Tensor | None], Tensor]
FEATURE_COTANGENTS = COTANGENT_OF_KIND | {"log_odds": "log_odds"}
FEATURE_KINDS = (*FEATURE_COTANGENTS, "conjugate", "embedding")
LABELED = ("loss_gradient", "log_odds")
BATCH = 64


@documents(FeatureOptions)
def kernel_features(
    model: nn.Module,
    data: Any,
    *,
    kind: str | Scalar = "pntk",
    sketch: str | None = "tensorsketch",
    dim: int | None = None,
    seed: int = 0,
    layerwise: bool = False,
    **options: Unpack[FeatureOptions],
) -> KernelFeatures:
    """Features whose inner products are (estimates of) a kernel.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, on the device to use.
    data : Tensor, mapping of tensors, or DataLoader
        As for :func:`kernels.kernel_matrix`.
    kind : {"pntk", "trntk", "entk", "loss_gradient", "log_odds", "conjugate", "embedding"} or callable
        Gradient of which output; ``log_odds`` is that of log p_y/(1 - p_y) (TRAK, arXiv:2303.14186). The last two
        are not gradients and need no sketch. A callable maps (logits, labels) to one scalar per sample, (n,), or
        several, (n, r), whose gradients are taken.
    sketch : {"tensorsketch", "countsketch", "rademacher", None}
        None keeps whole gradients: exact, P numbers per sample and cotangent.
    dim : int, optional
        Features per sample and cotangent; required with a sketch.
    seed : int
        Of the sketch. Features do not depend on batch size or order, and train and test need the same seed.
    layerwise : bool
        Also keep the features of each parameter apart.
    **options : FeatureOptions
        Arithmetic, layers, file and more: see the section Options.

    Raises
    ------
    ValueError
        For an unknown kind or sketch, ``dim`` below 1 or above the number of parameters, or an ``out`` of other
        weights, data or settings.

    Examples
    --------
    >>> import torch
    >>> from kernels import kernel_features
    >>> model = torch.nn.Linear(2, 3).eval()
    >>> points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> features = kernel_features(model, points, kind="pntk", sketch=None)
    >>> features.values.shape  # six weights and three biases
    torch.Size([3, 9])
    >>> features.gram(normalize=False)
    tensor([[6., 3., 6.],
            [3., 6., 6.],
            [6., 6., 9.]])
    """
    if layerwise not in (True, False):
        raise ValueError(f"layerwise={layerwise!r}: use True, for parts by parameter, or False")
    if not callable(kind) and kind not in FEATURE_KINDS:
        raise ValueError(f"unknown kind {kind!r}: use one of {', '.join(FEATURE_KINDS)}, or a callable")
    settings = feature_options(**options)
    refuse_meaningless(kind, settings)
    layers, output, output_layer = settings["layers"], settings["output"], settings["output_layer"]
    precision, out, append_one = settings["precision"], settings["out"], settings["append_one"]
    batch_size = settings["batch_size"] or BATCH
    sketcher = _sketch(kind, sketch, dim, seed)
    arithmetic = precision_named(precision)
    loan = Loan(model, arithmetic.passes, eval_mode=settings["eval_mode"], refuse=arithmetic.refuse_narrowing)
    with loan.lent() as own:
        device = loan.device
        samples = Samples(data, settings["labels"])
        probe = samples.first(PROBE, device, arithmetic.passes)
        known = None if samples.labels is None else samples.labels[:PROBE]
        with arithmetic.strict_passes():
            source: Source
            certifier = Certifier(settings["certify"])
            if kind == "conjugate":
                source = conjugate_source(own, probe, output_layer, append_one, output)
            elif kind == "embedding":
                source = embedding_source(own, probe, layers, output)
            else:
                capture = Capture(
                    own, probe, layers=layers, fallback=settings["fallback"], output=output, certifier=certifier
                )
                cotangent = kind if callable(kind) else FEATURE_COTANGENTS[kind]
                if kind in LABELED:
                    samples.check_labels(capture.outputs)
                source = GradientSource(capture, cotangent, split_bias=layerwise)
                _check_dim(sketcher, sum(p.numel() for p in capture.parameters.values()))
            maker = _Maker(source, sketcher, layerwise)
            logits, blocks = source.blocks(probe, known, None)
            first = maker(blocks)
            cotangents = first[NAME].shape[1]
            about = _about(sketcher, kind, precision, chosen(layers, own), weights_digest(own), cotangents)
            shapes: dict[str, tuple[int, ...]] = {
                name: (samples.count, value[0].numel()) for name, value in first.items()
            }
            if out is None:
                store = TileStore(shapes, arithmetic.passes)
                _fill(store, maker, samples, device, batch_size, cotangents)
                arrays = store.arrays
            else:
                shown = {"answers": answers(logits), "layer": f"{output_layer or ''}{' and 1' if append_one else ''}"}
                if callable(kind):
                    shown["cotangent"] = answers(cotangent_rows(logits, known, kind).flatten(1))
                arrays = _in_file(Path(out), shapes, maker, samples, device, batch_size, about, cotangents, shown)
            certificate = source.certificate() if out is None else stored_certificate(Path(out))
    return KernelFeatures(arrays.pop(NAME), cotangents, about, without_prefix(arrays), {"certificate": certificate})


def _with_prefix(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{PART}{name}": part for name, part in parts.items()}


def _sketch(kind: str | Scalar, name: str | None, dim: int | None, seed: int) -> Sketch | None:
    if kind in ("conjugate", "embedding") or name is None:
        if dim is not None:
            raise ValueError(f"dim={dim} has no meaning for {kind} features without a sketch")
        return None
    if not isinstance(name, str) or name not in SKETCHES:
        raise ValueError(f"unknown sketch {name!r}: use one of {', '.join(SKETCHES)}, or None for whole gradients")
    if dim is None:
        raise ValueError("a sketch needs dim=, its number of features per sample and cotangent")
    require_whole_number("dim", dim)
    require_whole_number("seed", seed)
    return SKETCHES[name](dim, seed)


def _check_dim(sketch: Sketch | None, size: int) -> None:
    if sketch is not None and sketch.dim > size:
        raise ValueError(
            f"dim={sketch.dim} exceeds the {size} parameters that take part: pass sketch=None for exact features"
        )


class _Maker:
    """Blocks of a batch to features by name: the total, and each parameter's where they are kept apart."""

    def __init__(self, source: Source, sketch: Sketch | None, layerwise: bool) -> None:
        self.source, self.sketch, self.layerwise = source, sketch, layerwise

    def __call__(self, blocks: Sequence[Block]) -> dict[str, Float[Tensor, "b r k"]]:
        parts: dict[str, Tensor] = {}
        if self.sketch is None:
            for block in blocks:
                for name, gradient in block.gradients().items():  # a packed parameter comes as blocks of its rows
                    flat = gradient.reshape(*gradient.shape[:2], -1)
                    parts[name] = parts[name] + flat if name in parts else flat
            return {NAME: torch.cat(list(parts.values()), 2)} | (_with_prefix(parts) if self.layerwise else {})
        total: Tensor | None = None
        for block in blocks:
            features = self.sketch.block(block)
            if self.layerwise:
                name = block.names[0]
                parts[name] = parts[name] + features if name in parts else features.clone()
            total = features if total is None else total.add_(features)
        assert total is not None
        return {NAME: total} | _with_prefix(parts)


def _fill(store: TileStore, maker: _Maker, samples: Samples, device: torch.device, size: int, cotangents: int) -> None:
    for rows, inputs in samples.batches(0, samples.count, size, device, store.dtype):
        key = f"{rows.start}:{rows.stop}"
        maker.source.enter(Place.of(rows))
        if store.done(key):
            continue
        labels = None if samples.labels is None else samples.labels[rows].to(device)
        for name, value in maker(maker.source.blocks(inputs, labels, None)[1]).items():
            bad = first_not_finite(value)
            if value.shape[1] != cotangents or bad is not None:
                at = rows.start + (bad or 0)
                raise ValueError(f"features of sample {at} are not finite, or have another shape than the first ones'")
            store.arrays[name][rows] = value.flatten(1).to("cpu", store.dtype)
        store.cover("", rows)
        store.finish(key, maker.source.record())


def _in_file(
    out: Path,
    shapes: dict[str, tuple[int, ...]],
    maker: _Maker,
    samples: Samples,
    device: torch.device,
    size: int,
    about: dict[str, str],
    cotangents: int,
    shown: dict[str, Any],
) -> dict[str, Tensor]:
    fingerprint = shown | {"features": about, "data": samples.digest(), "parts": sorted(set(shapes) - {NAME})}
    found = load_finished(out, fingerprint)
    if found is not None:
        return found[0]
    plan = stored_plan(out, fingerprint) or {"batch_size": size}
    out.parent.mkdir(parents=True, exist_ok=True)
    dtype = precision_named(about["precision"]).passes
    store = FileTileStore(shapes, dtype, out, fingerprint, plan)
    try:
        maker.source.resume(store.records)
        _fill(store, maker, samples, device, plan["batch_size"], cotangents)
        temporary = out.with_name(out.name + ".finishing")
        metadata = about | {"fingerprint": json.dumps(fingerprint, sort_keys=True), "cotangents": str(cotangents)}
        metadata["certificate"] = json.dumps(maker.source.certificate(), sort_keys=True)
        for name, array in create_arrays(temporary, shapes, dtype, metadata).items():
            array.copy_(store.arrays[name])
        put_in_place(temporary, out)
        store.discard()
    finally:
        store.close()
    return map_arrays(out)


def _about(
    sketch: Sketch | None, kind: str | Scalar, precision: str, layers: str, weights: str, cotangents: int
) -> dict[str, str]:
    named = f"callable {getattr(kind, '__qualname__', type(kind).__qualname__)}" if callable(kind) else kind
    fixed = {"kind": named, "precision": precision, "layers": layers, "weights": weights}
    if sketch is None:
        return fixed | {"sketch": "none", "expected_error": "0"}
    return fixed | sketch.description | {"expected_error": f"{sketch.expected_error(cotangents):.3g}"}
