r"""Products of two texts' gradients, split over pairs of tokens.

The gradient of a matrix that is applied at every position is :math:`G = \sum_t \delta_t a_t^T`, so that the product of
the gradients of two texts is :math:`\sum_{tu} (\delta_t \cdot \delta_u)(a_t \cdot a_u)`: one number for each pair of
positions. Embeddings have :math:`\delta_t \cdot \delta_u` where the same row is read. What has no positions (gains and
biases of norms, layers after pooling) is given apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.capture.factor_stream import layer_factors
from kernels.gradients.blocks import Block, OuterBlock, TiedBlock, TokenBlock
from kernels.inputs.options import PassOptions, documents
from kernels.inputs.outputs import Cotangent
from kernels.inputs.samples import Samples


@dataclass(frozen=True)
class TokenProducts:
    """Products of gradients, test against training texts.

    Attributes
    ----------
    pairs : Tensor, shape (m, n, t, u)
        Part of each pair of positions, those of the test text first.
    rest : Tensor, shape (m, n)
        Part of parameters whose gradient has no positions.
    """

    pairs: Float[Tensor, "m n t u"]
    rest: Float[Tensor, "m n"]

    @property
    def whole(self) -> Float[Tensor, "m n"]:
        """Products of the whole gradients."""
        return self.pairs.sum((2, 3)) + self.rest


@documents(PassOptions)
def token_products(
    model: nn.Module,
    test: Any,
    train: Any,
    *,
    cotangent: Cotangent = "log_odds",
    labels: Tensor | None = None,
    test_labels: Tensor | None = None,
    **options: Unpack[PassOptions],
) -> TokenProducts:
    """Split the products of gradients of texts over pairs of their tokens, exactly.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    test, train : mapping of tensors
        With ``input_ids`` of shape (n, t): a few texts, since every pair of tokens is kept.
    cotangent : str or callable
        One number per text that is differentiated.
    labels, test_labels : Tensor, optional
        Class indices of the training and the test texts, where the cotangent needs them.
    **options : PassOptions
        Layers, arithmetic, samples per pass and more: see the section Options.

    Raises
    ------
    ValueError
        If the inputs are no texts, other inputs have no entry for each token, the network does not know a token or a
        place, or the cotangent gives several numbers per text.

    Examples
    --------
    >>> import torch
    >>> from transformers import GPT2Config, GPT2ForSequenceClassification
    >>> from kernels import token_products
    >>> config = GPT2Config(vocab_size=9, n_positions=4, n_embd=4, n_layer=1, n_head=1, num_labels=2, pad_token_id=0)
    >>> model = GPT2ForSequenceClassification(config).eval()
    >>> texts = {"input_ids": torch.tensor([[1, 2, 3], [4, 5, 6]]), "attention_mask": torch.ones(2, 3).long()}
    >>> found = token_products(model, texts, texts, labels=torch.tensor([0, 1]), test_labels=torch.tensor([0, 1]))
    >>> found.pairs.shape
    torch.Size([2, 2, 3, 3])
    """
    left = _collected(model, test, cotangent, test_labels, "test", options)
    right = (
        left
        if test is train and test_labels is labels
        else _collected(model, train, cotangent, labels, "train", options)
    )
    sizes = [next(iter(inputs.values())).shape for inputs in (test, train)]
    (m, t), (n, u) = ((shape[0], shape[1]) for shape in sizes)
    pairs, rest = torch.zeros(m, n, t, u, dtype=torch.float64), torch.zeros(m, n, dtype=torch.float64)
    for (rows, blocks), (columns, others) in ((a, b) for a in left for b in right):
        for one, other in zip(blocks, others, strict=True):
            for first in _roles(one):
                for second in _roles(other):
                    _add(pairs[rows, columns], rest[rows, columns], first, second)
    return TokenProducts(pairs, rest)


def _collected(
    model: nn.Module, texts: Any, cotangent: Cotangent, labels: Tensor | None, name: str, options: Any
) -> list[tuple[slice, list[Block]]]:
    if not isinstance(texts, dict) or "input_ids" not in texts:
        raise ValueError(
            f"token_products splits texts: {name} must be a mapping with input_ids, of shape (texts, tokens)"
        )
    _require_tokens(texts, name)
    Samples(texts, labels, name)
    try:
        found = [
            (part.rows, list(part.blocks))
            for part in layer_factors(model, texts, cotangent=cotangent, labels=labels, **options)
        ]
    except IndexError as error:  # of an embedding
        ids = texts["input_ids"]
        raise ValueError(
            f"the network does not know a token or a place of the {name} texts: tokens go from {int(ids.min())} to "
            f"{int(ids.max())} over {ids.shape[1]} places; take its own tokenizer and its largest length"
        ) from error
    for _, blocks in found:
        for block in blocks:
            for role in _roles(block):
                if _values(role).shape[1] != 1:
                    raise ValueError(
                        f"token_products splits one number per text; cotangent={cotangent!r} gives several"
                    )
    return found


def _require_tokens(texts: dict[str, Any], name: str) -> None:
    """Refuse tokens that are none, and inputs beside them that have no entry for each."""
    ids = texts["input_ids"]
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point():
        given = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else f"a {type(ids).__name__}"
        raise ValueError(f"input_ids of {name} must be whole numbers of shape (texts, tokens), not {given}")
    for other, values in texts.items():
        if isinstance(values, Tensor) and values.ndim == 2 and values.shape != ids.shape:
            raise ValueError(
                f"{other} of {name} has the shape {tuple(values.shape)} and input_ids {tuple(ids.shape)}: each token "
                "needs its own entry"
            )


def _roles(block: Block) -> tuple[Any, ...]:
    return block.roles if isinstance(block, TiedBlock) else (block,)


def _values(role: Any) -> Tensor:
    return role.values if hasattr(role, "values") else role.delta


def _add(pairs: Tensor, rest: Tensor, first: Any, second: Any) -> None:
    """Add the product of two blocks of one parameter to their pairs of positions, or to the rest."""
    t, u = pairs.shape[2:]
    if isinstance(first, OuterBlock) and isinstance(second, OuterBlock) and first.delta.shape[2] == t:
        if second.delta.shape[2] == u and first.rows == second.rows and type(first) is type(second) is OuterBlock:
            pairs += _outer(first, second).cpu()
            return
    if isinstance(first, TokenBlock) and isinstance(second, TokenBlock):
        if first.delta.shape[2] == t and second.delta.shape[2] == u:
            same = (first.ids[:, None, :, None] == second.ids[None, :, None, :]) & (first.ids >= 0)[:, None, :, None]
            products = torch.einsum("mto,nuo->mntu", first.delta[:, 0], second.delta[:, 0])
            pairs += (products * same).double().cpu()
            return
    a, b = first.gradients(), second.gradients()
    for name in a.keys() & b.keys():
        rest += (a[name].flatten(1).double() @ b[name].flatten(1).double().T).cpu()


def _outer(first: OuterBlock, second: OuterBlock) -> Tensor:
    groups = first.groups
    total: Tensor | float = 0.0
    for d, e, x, z in zip(
        first.delta[:, 0].chunk(groups, 2),
        second.delta[:, 0].chunk(groups, 2),
        first.a.chunk(groups, 2),
        second.a.chunk(groups, 2),
        strict=True,
    ):
        bias = first.bias_scale * second.bias_scale if first.bias is not None else 0.0
        inputs = torch.einsum("mti,nui->mntu", x, z) + bias
        total = total + (torch.einsum("mto,nuo->mntu", d, e) * inputs).double()
    assert isinstance(total, Tensor)
    return total
