"""Kernels and surrogates: impossible combinations."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.checks.attribution import _METHODS, adversarial_problems, attribution_problems, retraining_problems
from pipeline.checks.training import training_attack_problems
from pipeline.config.run import RunConfig


def surrogate_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: kernels, surrogates and what rests on them."""
    kernel, surrogate, attribution = config.kernel, config.surrogate, config.attribution
    if kernel.sketch is not None and kernel.sketch not in ("tensorsketch", "countsketch", "rademacher"):
        yield f"kernel.sketch={kernel.sketch} is not one of tensorsketch, countsketch, rademacher (null: exact)."
    if kernel.sketch is not None and (kernel.layerwise or not kernel.normalize):
        yield "kernel.sketch makes one normalised kernel; set kernel.layerwise=false and kernel.normalize=true."
    if kernel.sketch is not None and kernel.kind not in ("trntk", "pntk"):
        yield f"kernel.sketch compresses the gradients of trntk and pntk, not kind={kernel.kind}."
    if not kernel.test_splits:
        yield "kernel.test_splits is empty; name at least one split, such as test."
    if surrogate.alpha is None and surrogate.kind != "glm":
        yield f"surrogate.alpha=null (cross-validation) is for surrogate=glm, not {surrogate.kind}; set a number."
    if surrogate.alpha is not None and not surrogate.alpha >= 0:
        yield f"surrogate.alpha={surrogate.alpha} must be at least 0."
    if surrogate.targets == "network" and surrogate.kind not in ("glm", "ridge"):
        yield f"surrogate.targets=network needs a regression: glm or ridge, not {surrogate.kind}."
    unknown = sorted({attribution.method, *attribution.methods} - _METHODS)
    if unknown:
        yield f"attribution.methods holds {unknown}; it takes {sorted(_METHODS)}."
    yield from attribution_problems(config)
    yield from retraining_problems(config)
    yield from adversarial_problems(config)
    yield from training_attack_problems(config)
