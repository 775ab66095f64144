r"""EK-FAC: eigenvalue-corrected Kronecker-factored Fisher matrix from streamed layer factors (arXiv:1806.03884).

Two passes over the data: the first gathers each layer's input and output-gradient moments, the second the exact second
moments in their eigenbasis. No per-sample gradient is kept; one layer's are formed for a few samples at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from kernels.capture.factor_stream import FactorBatch
from kernels.fisher.kronecker_blocks import Change, DiagonalBlock, FisherBlock, KroneckerBlock, block_key, empty_fisher
from kernels.gradients.blocks import Block
from kernels.inputs.samples import NotFiniteError, first_not_finite
from kernels.machine.counter_hash import stream_key, words
from kernels.machine.precision import float32_products
from kernels.machine.tensor_files import save_tensors

GRADIENT_BYTES = 256 * 2**20
"""Largest set of one layer's gradients that is formed at a time, unless one sample alone is larger."""


@dataclass
class EKFAC:
    r"""Block-diagonal Fisher matrix that can be inverted.

    Attributes
    ----------
    blocks : dict
        Approximation of each block of parameters.
    damping : float
        In units of each block's mean eigenvalue when ``relative``, else of the Fisher matrix itself.
    relative : bool
        See ``damping``; 0.1 relative follows arXiv:2308.03296.
    samples : int
        Number of samples that the Fisher matrix is a mean over.

    Examples
    --------
    >>> import torch
    >>> from kernels import fit_ekfac
    >>> fisher = fit_ekfac(torch.nn.Linear(2, 3), torch.eye(2), fisher="exact")
    >>> fisher.inverse_product({"weight": torch.ones(1, 3, 2), "bias": torch.zeros(1, 3)})["weight"].shape
    torch.Size([1, 3, 2])
    """

    blocks: dict[str, FisherBlock]
    damping: float
    relative: bool
    samples: int

    def block_damping(self, key: str) -> float:
        """Absolute damping of one block.

        Raises
        ------
        ValueError
            If the damped block is singular.
        """
        eigenvalues = self.blocks[key].eigenvalues
        rows = getattr(self.blocks[key], "rows", None)
        if isinstance(self.blocks[key], DiagonalBlock) and rows:
            eigenvalues = eigenvalues[rows[0] : rows[1]]
        if not eigenvalues.numel():  # a parameter without entries
            return self.damping
        value = self.damping * float(eigenvalues.mean()) if self.relative else self.damping
        if not value + float(eigenvalues.min()) > 1e-12 * float(eigenvalues.max()):
            raise ValueError(
                f"the Fisher block of {key} is singular at damping={self.damping}: it has eigenvalues of zero, so "
                "raise damping, or leave parameters without gradient out with layers="
            )
        return value

    @float32_products()
    def whiten(self, block: Block) -> Float[Tensor, "b r d"]:
        """(F + damping)^(-1/2) times the gradients of a batch, in the block's eigenbasis.

        The dot product of two such rows is their inverse-Fisher product.

        Parameters
        ----------
        block : Block
            Factors of a batch, from the same model and layers.
        """
        key = block_key(block)
        if key not in self.blocks:
            raise KeyError(f"no Fisher block for {key}: it was fitted on {', '.join(list(self.blocks)[:4])}, ...")
        fisher = self.blocks[key]
        fitted = fisher.eigenvalues.shape if isinstance(fisher, DiagonalBlock) else fisher.shape
        if block.shape != fitted:
            raise ValueError(
                f"{key} is {tuple(block.shape)} here and {tuple(fitted)} in the Fisher matrix: pass the model on which "
                "it was fitted"
            )
        scale = (fisher.eigenvalues + self.block_damping(key)).rsqrt()
        values = fisher.rotate(block)
        return (values * scale.to(values.dtype)).reshape(*values.shape[:2], -1)

    @float32_products()
    def inverse_product(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(F + damping)⁻¹ times vectors in parameter space.

        Parameters
        ----------
        vectors : mapping of str to Tensor, shape (n, *parameter)
            One entry for every parameter that was fitted.
        """
        return _summed(
            block.product(vectors, _divided_by(self.block_damping(key))) for key, block in self.blocks.items()
        )

    @float32_products()
    def function_product(
        self, function: Callable[[Tensor], Tensor], vectors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """f(F) times vectors in parameter space, for a function of the eigenvalues, without damping.

        Parameters
        ----------
        function : callable
            From eigenvalues to factors, entry by entry, such as ``lambda x: torch.exp(-x)``.
        vectors : mapping of str to Tensor, shape (n, *parameter)
            One entry for every parameter that was fitted.
        """

        def change(rotated: Tensor, values: Tensor) -> Tensor:
            return rotated * function(values).to(rotated.dtype)

        return _summed(block.product(vectors, change) for block in self.blocks.values())

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file."""
        tensors: dict[str, Tensor] = {}
        fields: dict[str, Any] = {}
        for key, block in self.blocks.items():
            values = {n: v.contiguous().cpu() for n, v in vars(block).items() if isinstance(v, Tensor)}
            tensors |= {f"{n}/{key}": v for n, v in values.items()}
            rest = {n: v for n, v in vars(block).items() if n not in values}
            fields[key] = {"type": type(block).__name__, **rest}
        about = {"damping": self.damping, "relative": self.relative, "samples": self.samples, "blocks": fields}
        save_tensors(tensors, Path(path), {"ekfac": json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> EKFAC:
        """Read what `save` wrote."""
        with safe_open(str(path), framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            if "ekfac" not in metadata:
                raise ValueError(f"{path} does not hold an EK-FAC Fisher matrix")
            about = json.loads(metadata["ekfac"])
            held, names = set(file.keys()), ("outputs", "inputs", "eigenvalues")
            if not held <= {f"{name}/{key}" for name in names for key in about["blocks"]}:
                raise ValueError(f"{path} holds an EK-FAC Fisher matrix of an earlier version: fit and save it again")
            blocks: dict[str, FisherBlock] = {}
            for key, fields in about["blocks"].items():
                tensors = {n: file.get_tensor(f"{n}/{key}") for n in names if f"{n}/{key}" in held}
                plain: dict[str, Any] = {
                    n: tuple(v) if isinstance(v, list) else v for n, v in fields.items() if n != "type"
                }
                if fields["type"] == "DiagonalBlock":
                    blocks[key] = DiagonalBlock(**plain, **tensors)
                else:
                    plain["shape"] = torch.Size(plain["shape"])
                    blocks[key] = KroneckerBlock(**plain, **tensors)
        return cls(blocks, about["damping"], about["relative"], about["samples"])


def _divided_by(damping: float) -> Change:
    return lambda rotated, values: rotated / (values + damping).to(rotated.dtype)


def _summed(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    total: dict[str, Tensor] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if name in total else value
    return total


@float32_products()
def accumulate_ekfac(
    batches: Callable[[], Iterator[FactorBatch]], *, damping: float = 0.1, relative: bool = True
) -> EKFAC:
    """EK-FAC of factors that can be streamed twice.

    Parameters
    ----------
    batches : callable
        Gives a fresh iterator over the same factors each time; several cotangents of a sample add up.
    damping, relative
        See `EKFAC`.

    Examples
    --------
    >>> import torch
    >>> from kernels import layer_factors
    >>> from kernels.fisher import accumulate_ekfac
    >>> fisher = accumulate_ekfac(lambda: layer_factors(torch.nn.Linear(2, 3), torch.eye(2), cotangent="sum"))
    >>> fisher.samples
    2
    """
    if isinstance(damping, bool) or not isinstance(damping, Real) or not 0 <= damping < math.inf:
        raise ValueError(f"damping={damping!r} must be a number, not negative and not infinite")
    if relative not in (True, False):
        raise ValueError(f"relative={relative!r}: use True, for multiples of each block's mean eigenvalue, or False")
    blocks: dict[str, FisherBlock] = {}
    samples = 0
    for part in batches():
        samples += len(part.logits)
        _require_own_factors(part)
        for block in part.blocks:
            key = block_key(block)
            if key not in blocks:
                blocks[key] = empty_fisher(block)
            blocks[key].gather_basis(block)
    for key, fisher in blocks.items():
        _require_finite(key, fisher, batches)
        fisher.finish_basis()
    for part in batches():
        for block in part.blocks:
            for piece in small_pieces(block):
                blocks[block_key(block)].gather_eigenvalues(piece)
    for key, fisher in blocks.items():
        _require_finite(key, fisher, batches)
        fisher.eigenvalues /= samples
    return EKFAC(blocks, damping, relative, samples)


def _require_finite(key: str, fisher: FisherBlock, batches: Callable[[], Iterable[FactorBatch]]) -> None:
    """Name the first sample whose gradient is NaN or infinite, where moments are."""
    if all(bool(value.sum().isfinite()) for value in vars(fisher).values() if isinstance(value, Tensor)):
        return
    for part in batches():
        start = part.rows.start
        for piece in (piece for block in part.blocks if block_key(block) == key for piece in small_pieces(block)):
            found = [first_not_finite(gradient) for gradient in piece.gradients().values()]
            bad = [at for at in found if at is not None]
            if bad:
                raise NotFiniteError(f"the gradient of {key} is NaN or infinite for sample {start + min(bad)}")
            start += len(next(iter(piece.gradients().values())))
    raise NotFiniteError(f"gradients of {key} are so large that their second moments are infinite: scale the outputs")


def _require_own_factors(part: FactorBatch) -> None:
    """Refuse gradients from the generic route in factored form: their factors say nothing about inputs and outputs."""
    names = part.certificate.get("generic")
    if names:
        raise RuntimeError(
            f"no rule reads {', '.join(names)} rightly in samples {part.rows.start} to {part.rows.stop}, so there are "
            f"no factors for EK-FAC: pass fallback={list(names)} here and wherever this Fisher matrix is used"
        )


def small_pieces(block: Block) -> Iterator[Block]:
    """Slices of a batch whose formed gradients stay within ``GRADIENT_BYTES``."""
    kept = block.roles[0] if hasattr(block, "roles") else block
    values = kept.values if hasattr(kept, "values") else kept.delta
    step = max(1, GRADIENT_BYTES // max(1, values.shape[1] * block.shape.numel() * values.element_size()))
    for start in range(0, len(values), step):
        yield block.take(slice(start, start + step))


def fisher_cotangent(
    fisher: Literal["sampled", "exact", "empirical"],
) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Loss whose gradients' second moment is the Fisher matrix, as a function of (logits, draws).

    ``sampled`` draws labels from the model (draws: uniform numbers, one column per label), each weighted by the root of
    its share, so that their second moments add up to a mean over draws; ``exact`` takes every label, weighted by the
    root of its probability (no draws); ``empirical`` takes the given labels. One logit means a logistic output.
    """
    if fisher not in ("sampled", "exact", "empirical"):
        raise ValueError(f"unknown fisher {fisher!r}: use one of sampled, exact, empirical")

    def losses(logits: Tensor, draws: Tensor | None) -> Tensor:
        both = torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
        negative = -torch.log_softmax(both, 1)
        probability = (-negative.detach()).exp()
        if fisher == "exact":
            return probability.sqrt() * negative
        if draws is None:
            raise ValueError("an empirical Fisher matrix needs labels: pass labels=, or a loader that yields them")
        if fisher == "empirical":
            return negative.gather(1, draws.long()[:, None])[:, 0]
        below = probability.cumsum(1)[:, None, :-1] <= draws.reshape(len(logits), -1, 1)
        return negative.gather(1, below.sum(2)) / below.shape[1] ** 0.5

    return losses


def uniform_draws(seed: int, samples: int, draws: int) -> Float[Tensor, "n r"]:
    """Uniform numbers in [0, 1) for each sample, the same in every pass and for every batch size."""
    word = words(stream_key(seed, "fisher/labels"), torch.arange(samples * draws))
    return ((word >> 11) & ((1 << 53) - 1)).double().reshape(samples, draws) / 2**53
