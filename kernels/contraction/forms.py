r"""Cost of each exact form of a layer's contraction, and the choice between them.

Costs are multiply-adds (MAC) per pair of samples and per sample, for R cotangents, T positions, O outputs and I inputs:

=========  ===========================================  =================
form       MAC per pair                                 MAC per sample
=========  ===========================================  =================
position   T^2 (R O + I)                                --
shift      T^2 (R O) + r^2-strided pixel Gram + sums    --
feature    R O I                                        T R O I
tokens     about R O per shared token                   --
=========  ===========================================  =================

with R^2 for R where the blocks of an empirical NTK are kept apart, plus the memory-traffic cost of every element of a
T x T intermediate, see :mod:`kernels.contraction.traffic`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.contraction.columns import ImageColumns
from kernels.contraction.factors import Factors
from kernels.contraction.operands import DenseGradients, Operand
from kernels.contraction.tokens import TiedTokens, Tokens
from kernels.contraction.traffic import HOST, TrafficCost
from kernels.gradients.blocks import Block, ConvBlock, OuterBlock, TiedBlock, TokenBlock, VectorBlock
from kernels.machine.scratch import places_of


@dataclass(frozen=True)
class LayerForm:
    """How one block is contracted and what it costs.

    ``kept`` says what is stored per sample: ``"factors"`` or ``"gradient"``. ``pair_mac`` and ``sample_mac`` are
    multiply-adds, ``sample_bytes`` the storage; ``pair_traffic`` is the memory-traffic cost of intermediates, in
    equivalent multiply-adds.
    """

    names: tuple[str, ...]
    form: str
    kept: str
    pair_mac: float
    sample_mac: float
    sample_bytes: float
    pair_traffic: float = 0.0

    def cost(self, pairs: float, samples: float) -> float:
        """All work on that many pairs and samples, in multiply-adds."""
        return (self.pair_mac + self.pair_traffic) * pairs + self.sample_mac * samples


def choose_form(
    block: Block,
    *,
    cotangents: int,
    full: bool,
    samples: int,
    pairs: float,
    width: int,
    traffic_cost: TrafficCost,
    forced: str | None = None,
) -> LayerForm:
    """Pick the cheapest exact form of a block.

    Parameters
    ----------
    block : Block
        The layer's block for a few probe samples and one cotangent.
    cotangents : int
        Cotangents R of the kernel.
    full : bool
        Whether the R x R blocks of an empirical NTK are kept.
    samples : int
        Samples whose gradients may have to be formed.
    pairs : float
        Pairs of samples in the kernel.
    width : int
        Bytes per stored number.
    traffic_cost : TrafficCost
        Of the device, for intermediates.
    forced : str, optional
        A form to use regardless of cost.

    Raises
    ------
    ValueError
        When the forced form does not exist for this block.
    """
    options = {option.form: option for option in _options(block, cotangents, full, width, traffic_cost)}
    if forced is not None:
        if forced not in options:
            raise ValueError(f"{block.names[0]} has no form {forced!r}; it has {', '.join(sorted(options))}")
        return options[forced]
    return min(options.values(), key=lambda one: one.cost(pairs, samples))


def make_operand(block: Block, chosen: LayerForm, dtype: torch.dtype) -> Operand:
    """Keep what the chosen form needs of one batch's block."""
    if chosen.kept == "gradient":
        return DenseGradients(_flat_gradient(block).to(dtype))
    if isinstance(block, ConvBlock) and chosen.form == "feature":
        return ImageColumns.of(block, dtype)
    if isinstance(block, OuterBlock):
        return Factors.of(block, chosen.form, dtype)
    if isinstance(block, TokenBlock):
        return Tokens.of(block, dtype)
    assert isinstance(block, TiedBlock)
    return TiedTokens.of(block, dtype)


def _flat_gradient(block: Block) -> torch.Tensor:
    """Gradients as vectors; the order of their entries is the same for every sample, and does not matter."""
    if isinstance(block, VectorBlock):
        return block.values
    if isinstance(block, OuterBlock):
        parts = [part.flatten(2) for part in block.outer_by_band(places_of(block.inputs, "kept"))]
        parts += [block.bias_vector()] if block.bias is not None else []
    else:
        parts = [value.flatten(2) for value in block.gradients().values()]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _options(block: Block, r: int, full: bool, width: int, traffic_cost: TrafficCost) -> list[LayerForm]:
    if isinstance(block, VectorBlock):
        d = block.values.shape[2]
        return [LayerForm(block.names, "feature", "gradient", (r * r if full else r) * d, 0.0, width * r * d)]
    if isinstance(block, OuterBlock):
        return _outer_options(block, r, full, width, traffic_cost)
    numel = float(block.shape.numel())
    dense = LayerForm(
        block.names,
        "feature",
        "gradient",
        numel * r * (r if full else 1),
        numel * r * traffic_cost.shift,
        width * numel * r,
    )
    options = [dense]
    if isinstance(block, TokenBlock) or TiedTokens.fits(block):
        operand = (
            Tokens.of(block, torch.float32) if isinstance(block, TokenBlock) else TiedTokens.of(block, torch.float32)
        )
        per_sample = r * operand.nbytes / max(1, operand.samples) * width / 4
        mac = per_sample / width * (r if full else 1)
        if isinstance(operand, TiedTokens):
            mac = operand.pair_bytes(operand, full) * (r * r if full else r) + 2 * mac
        options.append(LayerForm(block.names, "tokens", "factors", mac, 0.0, per_sample))
    return options


def _outer_options(block: OuterBlock, r: int, full: bool, width: int, traffic_cost: TrafficCost) -> list[LayerForm]:
    t, numbers = _kept_positions(block, r)
    groups = block.groups
    outputs, inputs = block.delta.shape[3] // groups, block.width // groups + (block.bias is not None)
    classes = r * r if full else r
    stored = width * numbers
    pairs = t * t
    traffic = (traffic_cost.positions * pairs if t > 1 else traffic_cost.pairs) * (classes if full else 1)
    position = groups * pairs * (classes * outputs + inputs)
    sample = t * inputs * groups if isinstance(block, ConvBlock) else 0.0
    gradient = groups * outputs * inputs * r
    feature_mac, forming = groups * outputs * inputs * classes, t * groups * outputs * inputs * r
    kept = "gradient" if width * gradient < stored else "factors"
    options = [
        LayerForm(block.names, "position", "factors", position, sample, stored, groups * traffic),
        LayerForm(block.names, "feature", kept, float(feature_mac), forming, min(width * float(gradient), stored)),
    ]
    if isinstance(block, ConvBlock) and groups == 1 and max(block.windows.kernel) > 1:
        cells = block.inputs.shape[2:].numel()
        strides = torch.Size(block.windows.stride).numel()
        pixel = cells * cells / strides
        sums = sum(block.windows.kernel) * traffic_cost.shift * (pixel / strides + pairs) / 2
        mac = pairs * classes * outputs + pixel * block.inputs.shape[1]
        options.append(LayerForm(block.names, "shift", "factors", mac, 0.0, stored, sums + traffic))
    return options


def _kept_positions(block: OuterBlock, r: int) -> tuple[float, float]:
    """Positions of a sample through which something flows, and numbers that its factors hold."""
    samples, cotangents = max(1, block.delta.shape[0]), max(1, block.delta.shape[1])
    if isinstance(block, ConvBlock):
        return float(block.delta.shape[2]), (block.inputs.numel() + r * block.delta.numel() / cotangents) / samples
    kept = Factors.of(block, "position", torch.float32)
    return max(kept.extents.mean, 1.0 / samples), (kept.inputs.numel() + r * kept.delta.numel() / cotangents) / samples


def forced_form(block: Block, forms: dict[str, str]) -> str | None:
    """Form that the caller asks for, by parameter or layer; one for all layers holds where a layer has it."""
    for name in (*block.names, *(n.rpartition(".")[0] for n in block.names)):
        if name and name in forms:
            return forms[name]
    general = forms.get("")
    return general if general is not None and general in available_forms(block) else None


def available_forms(block: Block) -> set[str]:
    """Names of the exact forms that a block has."""
    return {option.form for option in _options(block, 1, False, 4, HOST)}
