r"""The table of rules: which torch function is covered by which rule.

A rule gives the per-sample gradient of its parameters for the output gradient :math:`\delta` of one sample. Each family
of operations has a module of its own in this folder. :data:`kernels.rules.rewrites.REWRITES` is consulted first; a
function that is in neither table sends its parameters to the generic per-sample fallback.

To add a rule: write it in the module of its family, name it here, and add a model that needs it to
``tests/kernels/cases.py``, on which it is compared with the per-sample Jacobian.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.rules.base import Rule
from kernels.rules.conv import CONVOLUTION, TRANSPOSED_CONVOLUTION
from kernels.rules.elementwise import (
    ADD,
    DIVIDE,
    EXPAND,
    MULTIPLY,
    REVERSED_ADD,
    REVERSED_MULTIPLY,
    REVERSED_SUBTRACT,
    SUBTRACT,
    WHERE,
)
from kernels.rules.embedding import EMBEDDING
from kernels.rules.experts import ROUTED, routed_linear
from kernels.rules.linear import ADDMM, LINEAR, MATMUL
from kernels.rules.norm import BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM, RMS_NORM

RULES: dict[Any, Rule] = {
    F.linear: LINEAR,
    torch.addmm: ADDMM,
    **dict.fromkeys((torch.matmul, torch.mm, torch.mv, Tensor.matmul, Tensor.mm, Tensor.mv, Tensor.__matmul__), MATMUL),
    F.embedding: EMBEDDING,
    routed_linear: ROUTED,
    **dict.fromkeys((torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__), ADD),
    **dict.fromkeys((torch.sub, Tensor.sub, Tensor.sub_, Tensor.__sub__, Tensor.__isub__), SUBTRACT),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__), MULTIPLY),
    **dict.fromkeys((torch.div, torch.true_divide, Tensor.div, Tensor.__truediv__), DIVIDE),
    **dict.fromkeys((torch.where, Tensor.where), WHERE),
    **dict.fromkeys((Tensor.expand, torch.broadcast_to), EXPAND),
    Tensor.__radd__: REVERSED_ADD,
    Tensor.__rsub__: REVERSED_SUBTRACT,
    Tensor.__rmul__: REVERSED_MULTIPLY,
    F.layer_norm: LAYER_NORM,
    F.rms_norm: RMS_NORM,
    F.group_norm: GROUP_NORM,
    F.batch_norm: BATCH_NORM,
    F.instance_norm: INSTANCE_NORM,
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), CONVOLUTION),
    **dict.fromkeys((torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d), TRANSPOSED_CONVOLUTION),
}
