"""Kernels, the kernel machines fitted on them, and kernel regression: impossible combinations."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.config.run import RunConfig

GRADIENT_KINDS = ("trntk", "pntk")
"""Kernels of gradients, which can be sketched and rebuilt."""
_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:[kmgt]i?)?b?", re.IGNORECASE)
REGRESSIONS = ("glm", "ridge")
"""Kernel machines that can be fitted to a network's outputs."""


def size_problems(name: str, value: str) -> Iterator[str]:
    """Yield what is impossible: a budget of memory that is no size.

    Examples
    --------
    >>> list(size_problems("kernel.memory", "2GiB")), len(list(size_problems("kernel.memory", "much")))
    ([], 1)
    """
    size = _SIZE.fullmatch(value.strip())
    if size is None or not float(size[1]):
        yield f"{name}={value} is no size above 0; write {name}=2GiB, 800MB or a number of bytes."


def kernel_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: sketches of kernels that have none.

    Examples
    --------
    >>> from pipeline.config.kernel import KernelConfig
    >>> list(kernel_problems(RunConfig(kernel=KernelConfig(kind="conjugate", sketch="tensorsketch"))))
    ['kernel.sketch compresses the gradients of trntk and pntk, not kind=conjugate.']
    """
    kernel = config.kernel
    yield from size_problems("kernel.memory", kernel.memory)
    if kernel.sketch is None:
        return
    if kernel.layerwise or not kernel.normalize:
        yield "kernel.sketch makes one normalized kernel; set kernel.layerwise=false and kernel.normalize=true."
    if kernel.kind not in GRADIENT_KINDS:
        yield f"kernel.sketch compresses the gradients of {' and '.join(GRADIENT_KINDS)}, not kind={kernel.kind}."


def surrogate_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: options of one kernel machine given to another.

    Examples
    --------
    >>> from pipeline.config.surrogate import SurrogateConfig
    >>> list(surrogate_problems(RunConfig(surrogate=SurrogateConfig(kind="svm", targets="network"))))
    ['surrogate.targets=network needs a regression: glm or ridge, not svm.']
    """
    surrogate = config.surrogate
    if surrogate.alpha is None and surrogate.kind != "glm":
        yield f"surrogate.alpha=null (cross-validation) is for surrogate=glm, not {surrogate.kind}; set a number."
    if surrogate.targets == "network" and surrogate.kind not in REGRESSIONS:
        yield f"surrogate.targets=network needs a regression: {' or '.join(REGRESSIONS)}, not {surrogate.kind}."


def regression_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: kernel regression and logistic studies.

    Examples
    --------
    >>> from pipeline.config.regression import RegressionConfig
    >>> list(regression_problems(RunConfig(regression=RegressionConfig(window=[40, 5]))))
    ['regression.window=[40, 5]; give the first and last eigenvalue index, counted from 1.']
    """
    regression = config.regression
    if regression.penalty_unit == "trace" and regression.protocol == "published":
        yield "regression.penalty_unit=trace needs regression.protocol=corrected; the published fit has no penalty."
    window = regression.window
    if len(window) != 2 or window[0] >= window[1]:
        yield f"regression.window={window}; give the first and last eigenvalue index, counted from 1."
    if regression.centers is not None and regression.protocol == "published":
        yield "regression.centers needs regression.protocol=corrected; the published fit has no penalty and no centers."
