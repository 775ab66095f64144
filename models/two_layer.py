"""Two-layer student and its teacher at linear width: the toy model of spectral evolution.

``f(x) = output_scale * v^T s(input_scale * W x)`` with n, d and h of the same order (arXiv:2211.06506).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.configs import TwoLayerConfig
from models.dense import make_activation
from models.fields import choices_of

PARAMETERIZATIONS = choices_of(TwoLayerConfig, "parameterization")
TRAINED = choices_of(TwoLayerConfig, "trained")


@dataclass(frozen=True)
class ActivationMoments:
    """Moments of an activation under a standard Gaussian.

    Attributes
    ----------
    mean, deviation : float
        ``E s`` and the standard deviation of ``s``.
    slope, slope_square : float
        ``b = E s'`` and ``a = E s'^2`` of the normalized activation ``(s - mean) / deviation``.
    """

    mean: float
    deviation: float
    slope: float
    slope_square: float


@lru_cache
def activation_moments(name: str) -> ActivationMoments:
    """Gaussian moments of a named activation, by the midpoint rule; kinks at zero are harmless."""
    # One thread: a sum has other bits on two, and the first caller's would be kept for the whole process.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _moments(name)
    finally:
        torch.set_num_threads(threads)


def _moments(name: str) -> ActivationMoments:
    width = 24.0 / 400_000
    nodes = ((torch.arange(400_000, dtype=torch.float64) + 0.5) * width - 12.0).requires_grad_(True)
    weights = torch.exp(-0.5 * nodes.detach() ** 2) * (width / math.sqrt(2 * math.pi))
    with torch.enable_grad():
        values = make_activation(name)(nodes)
        (derivative,) = torch.autograd.grad(values.sum(), nodes)
    mean = float((weights * values.detach()).sum())
    deviation = math.sqrt(float((weights * (values.detach() - mean) ** 2).sum()))
    return ActivationMoments(
        mean=mean,
        deviation=deviation,
        slope=float((weights * derivative).sum()) / deviation,
        slope_square=float((weights * derivative**2).sum()) / deviation**2,
    )


class GaussianActivation(nn.Module):
    """Activation shifted and scaled to zero mean and unit variance under a standard Gaussian.

    An odd un-normalized student cannot express the mean of a teacher such as softplus.

    Parameters
    ----------
    name : str
        One of :data:`models.dense.ACTIVATIONS`.
    normalized : bool
        False keeps the plain activation.
    """

    def __init__(self, name: str, normalized: bool = True) -> None:
        super().__init__()
        self.activation = make_activation(name)
        moments = activation_moments(name)
        self.shift = moments.mean if normalized else 0.0
        self.scale = 1 / moments.deviation if normalized else 1.0

    def forward(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Apply the activation entry by entry."""
        return (self.activation(z) - self.shift) * self.scale


@dataclass(frozen=True)
class Parameterization:
    """Factors of the forward pass and standard deviations of the initial weights."""

    input_scale: float
    output_scale: float
    hidden_deviation: float
    readout_deviation: float


def parameterization_of(name: str, features: int, width: int) -> Parameterization:
    """Scales of a two-layer net; the three agree in function space at the start up to ``mean_field``'s factor.

    Parameters
    ----------
    name : {"ntk", "standard", "mean_field"}
        ``ntk``: weights N(0, 1), factors 1/sqrt(d) and 1/sqrt(h). ``standard``: no factors, variances 1/d
        and 1/h. ``mean_field``: weights N(0, 1), factors 1/sqrt(d) and 1/h.
    features, width : int
        ``d`` and ``h``.
    """
    if name not in PARAMETERIZATIONS:
        raise ValueError(f"unknown parameterization {name!r}; choose one of {', '.join(PARAMETERIZATIONS)}")
    d, h = 1 / math.sqrt(features), 1 / math.sqrt(width)
    if name == "standard":
        return Parameterization(1.0, 1.0, d, h)
    return Parameterization(d, h if name == "ntk" else h**2, 1.0, 1.0)


class TwoLayerNet(nn.Module):
    """Two-layer net without biases, one output.

    Parameters
    ----------
    features, width : int
        ``d`` and ``h``.
    activation : str
        Name of the hidden activation.
    parameterization : {"ntk", "standard", "mean_field"}
        See :func:`parameterization_of`.
    trained : {"both", "first"}
        ``first`` freezes the readout, the setting of the theorem in arXiv:2211.06506.
    normalized : bool
        Normalize the activation under a standard Gaussian.
    center_output : bool
        Return f - f_0, f_0 being the net as constructed; its weights travel as buffers.
    """

    def __init__(
        self,
        features: int,
        width: int = 1500,
        activation: str = "tanh",
        parameterization: str = "ntk",
        trained: str = "both",
        normalized: bool = True,
        center_output: bool = False,
    ) -> None:
        super().__init__()
        if features < 1 or width < 1:
            raise ValueError(f"features and width must be positive, got {features} and {width}")
        if trained not in TRAINED:
            raise ValueError(f"trained must be one of {', '.join(TRAINED)}, got {trained!r}")
        self.scales = parameterization_of(parameterization, features, width)
        self.hidden = nn.Linear(features, width, bias=False)
        self.activation = GaussianActivation(activation, normalized)
        self.readout = nn.Linear(width, 1, bias=False)
        nn.init.normal_(self.hidden.weight, std=self.scales.hidden_deviation)
        nn.init.normal_(self.readout.weight, std=self.scales.readout_deviation)
        self.readout.weight.requires_grad_(trained == "both")
        self.center_output = center_output
        if center_output:
            self.register_buffer("hidden_start", self.hidden.weight.detach().clone())
            self.register_buffer("readout_start", self.readout.weight.detach().clone())

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n 1"]:
        """Map a batch to one output per row."""
        scaled = x.flatten(1) * self.scales.input_scale
        out = self.readout(self.activation(self.hidden(scaled)))
        if self.center_output:
            start = nn.functional.linear(scaled, self.get_buffer("hidden_start"))
            out = out - nn.functional.linear(self.activation(start), self.get_buffer("readout_start"))
        return out * self.scales.output_scale


def build_two_layer(
    *, input_shape: Sequence[int], n_classes: int = 1, outputs: int | None = None, **options: object
) -> TwoLayerNet:
    """Build a :class:`TwoLayerNet` for inputs of a shape; it has exactly one output."""
    wanted = n_classes if outputs is None else outputs
    if wanted != 1:
        raise ValueError(f"the two-layer student is a scalar regression net: it has 1 output, not {wanted}")
    return TwoLayerNet(math.prod(input_shape), **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TeacherSample:
    """Inputs and noisy targets from a teacher.

    Attributes
    ----------
    inputs : Tensor (n, d)
        Standard Gaussian rows.
    targets : Tensor (n,)
    directions : Tensor (k, d)
        Orthonormal teacher directions beta.
    """

    inputs: Float[Tensor, "n d"]
    targets: Float[Tensor, " n"]
    directions: Float[Tensor, "k d"]


def sample_teacher(
    samples: int,
    features: int,
    generator: torch.Generator,
    *,
    activation: str = "softplus",
    normalized: bool = True,
    noise: float = 0.3,
    quadratic: float = 0.0,
    indices: int = 1,
    directions: Float[Tensor, "k d"] | None = None,
    dtype: torch.dtype = torch.float32,
) -> TeacherSample:
    """Draw ``y = k**-0.5 sum_j s(beta_j^T x) + (quadratic / d) ||x||^2 + noise * e``.

    Parameters
    ----------
    samples, features : int
        ``n`` and ``d``.
    generator : torch.Generator
        CPU generator; draws are made in float64, so they agree between dtypes.
    activation, normalized
        Teacher's link function.
    noise : float
        Standard deviation of the label noise.
    quadratic : float
        The weight tau of ``||x||^2 / d``.
    indices : int
        Number of teacher directions (1: single-index).
    directions : Tensor (k, d), optional
        Reuse the teacher of another sample, as for a test set; otherwise orthonormal directions are drawn.
    dtype : torch.dtype
        Of the result.

    References
    ----------
    Teacher of arXiv:2211.06506, section 2.

    Examples
    --------
    >>> import torch
    >>> from models import sample_teacher
    >>> train = sample_teacher(50, 20, torch.Generator().manual_seed(0))
    >>> test = sample_teacher(10, 20, torch.Generator().manual_seed(1), directions=train.directions)
    >>> train.inputs.shape, test.targets.shape, torch.equal(train.directions, test.directions)
    (torch.Size([50, 20]), torch.Size([10]), True)
    """
    if samples < 1 or noise < 0:
        raise ValueError(f"samples must be positive and noise non-negative, got {samples} and {noise}")
    if directions is None:
        if not 1 <= indices <= features:
            raise ValueError(f"indices must be between 1 and the {features} features, got {indices}")
        raw = torch.randn(features, indices, generator=generator, dtype=torch.float64)
        directions = torch.linalg.qr(raw).Q.T
    beta = directions.to(torch.float64)
    x = torch.randn(samples, features, generator=generator, dtype=torch.float64)
    link = GaussianActivation(activation, normalized)
    y = link(x @ beta.T).sum(1) / math.sqrt(beta.shape[0])
    y = y + quadratic / features * (x**2).sum(1)
    y = y + noise * torch.randn(samples, generator=generator, dtype=torch.float64)
    return TeacherSample(x.to(dtype), y.to(dtype), beta.to(dtype))
