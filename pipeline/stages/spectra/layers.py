"""Which weights of a network get a spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch

from torch import Tensor, nn

from analysis.spectra.matrix_views import skip_reason, weight_matrices
from pipeline.config.run import RunConfig
from pipeline.config.spectra import SpectraConfig
from pipeline.data.datamodule import DataModule
from pipeline.errors import UserError


def foresee(config: RunConfig, data: DataModule, network: nn.Module) -> None:
    """Choose the weights of an untrained network, whose sizes are those of the trained one."""
    wide_enough(weight_matrices(network), config.spectra)


def wide_enough(matrices: Mapping[str, Tensor], config: SpectraConfig) -> tuple[list[str], dict[str, str]]:
    """Split the chosen weights into those that get a spectrum, and the others with the reason why not.

    Raises
    ------
    UserError
        If a pattern matches nothing, or no weight is left.
    """
    labels = choose_layers(list(matrices), config.layers)
    reasons = {label: skip_reason(matrices[label], config.min_side) for label in labels}
    skipped = {label: reason for label, reason in reasons.items() if reason is not None}
    kept = [label for label in labels if label not in skipped]
    if not kept:
        sides = [min(matrices[label].shape) for label in labels if matrices[label].ndim == 2]
        way = f"Set spectra.min_side={max(sides)}, take" if sides and max(sides) > 1 else "Take"
        raise UserError(
            f"No weight has a short side of {config.min_side} or more: "
            + (", ".join(f"{label} ({reason})" for label, reason in skipped.items()) or "it has none that is a matrix")
            + f". {way} a wider network, or take spectra out of wants."
        )
    return kept, skipped


def choose_layers(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Names that match any pattern, in the network's order.

    Raises
    ------
    UserError
        If a pattern matches nothing; the message lists the names.
    """
    for pattern in patterns:
        if names and not any(fnmatch(name, pattern) for name in names):
            raise UserError(f"spectra.layers={pattern!r} matches no weight. Weights: {', '.join(names)}.")
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
