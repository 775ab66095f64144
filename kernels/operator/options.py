"""Options of a kernel operator, beside those of every pass over a model."""

from __future__ import annotations

from typing import Annotated, Unpack, cast

from kernels.inputs.option import Option
from kernels.inputs.options import COTANGENT_OF_KIND, PassOptions, filled
from kernels.inputs.samples import Labels

PRECISIONS = ("float32", "float64")


class OperatorOptions(PassOptions, total=False):
    """Options of a kernel that is an operator."""

    kind: Annotated[
        str,
        Option(
            "trntk",
            "Which kernel. ``entk`` has a row per sample and logit, samples first.",
            tuple(COTANGENT_OF_KIND),
            hint="; conjugate and embedding kernels are the products of kernel_features",
        ),
    ]
    normalize: Annotated[
        bool,
        Option(
            False,
            "Divide by the root of both diagonals (cosine), which the engine computes exactly in one pass.",
            (True, False),
        ),
    ]
    labels: Annotated[
        Labels | None,
        Option(None, "Class indices of the training points, for ``loss_gradient`` and alignment."),
    ]
    test_labels: Annotated[
        Labels | None,
        Option(None, "Class indices of the test points, which use predicted classes without any."),
    ]
    memory: Annotated[
        str | int | None,
        Option(
            None,
            "Budget such as ``12GiB``. The passes of all batches are kept between products where half of it has room "
            "for them, and computed again otherwise.",
        ),
    ]
    zero_gradient: Annotated[
        str,
        Option(
            "error",
            "Under a cosine, refuse samples whose gradient is all zero, or give them a row of zeros.",
            ("error", "zero"),
        ),
    ]


def operator_options(**given: Unpack[OperatorOptions]) -> OperatorOptions:
    """Check these options and fill in the others.

    Raises
    ------
    ValueError
        Also for an arithmetic that only a contraction has.

    Examples
    --------
    >>> from kernels.operator.options import operator_options
    >>> operator_options(kind="pntk")["precision"]
    'float32'
    """
    found = cast(OperatorOptions, filled(OperatorOptions, given))
    if found["precision"] not in PRECISIONS:
        raise ValueError(
            f"precision={found['precision']!r}: an operator multiplies in {' or '.join(PRECISIONS)}; tf32 and bfloat16 "
            "are arithmetics of a kernel matrix"
        )
    return found
