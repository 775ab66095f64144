"""Operands filled batch by batch equal those of one pass, in newly allocated and in reused memory."""

import pytest
import torch
from torch import Tensor

from kernels.contraction.columns import Batches, ImageColumns
from kernels.contraction.factors import Factors
from kernels.contraction.gathering import OperandBuffer
from kernels.contraction.operands import DenseGradients, Operand
from kernels.gradients.blocks import ConvBlock, OuterBlock
from kernels.gradients.windows import Windows

WIDE = torch.float64


def linear(n: int, dead: bool) -> OuterBlock:
    delta = torch.randn(n, 2, 4, 3, dtype=WIDE)
    if dead:
        delta[:, :, torch.arange(4) % 2 == 0] = 0
        delta[0, :, 1] = 0  # another number of positions in the first sample
    return OuterBlock("w", torch.Size((3, 5)), delta, torch.randn(n, 4, 5, dtype=WIDE), bias="b")


def image(n: int) -> ConvBlock:
    windows = Windows((3, 3), (1, 1), (1, 1), (1, 1), (4, 4))
    return ConvBlock(
        "w", torch.Size((3, 2, 3, 3)), torch.randn(n, 2, 16, 3, dtype=WIDE), torch.randn(n, 2, 4, 4, dtype=WIDE),
        bias="b", windows=windows,
    )  # fmt: skip


def kept(block: OuterBlock, form: str) -> Operand:
    if isinstance(block, ConvBlock) and form == "feature":
        return ImageColumns.of(block, WIDE)
    return Factors.of(block, form, WIDE)


def gram(left: Operand, right: Operand) -> Tensor:
    out = torch.zeros(left.samples, right.samples, dtype=WIDE)
    left.accumulate(right, out, False, left is right, 2.0**20)
    return out.triu() if left is right else out


@pytest.mark.parametrize(
    ("kind", "form"),
    [(kind, form) for kind in ("linear", "dead", "image") for form in ("position", "feature")] + [("image", "shift")],
)
@pytest.mark.parametrize("sizes", [(6,), (3, 3), (4, 2), (1, 2, 3)])
def test_batches_equal_one_pass(kind: str, form: str, sizes: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    block = image(6) if kind == "image" else linear(6, kind == "dead")
    whole = kept(block, form)
    gathered, first = OperandBuffer(6), 0
    for size in sizes:
        gathered.add(kept(block.take(slice(first, first + size)), form))
        first += size
    joined = gathered.joined()
    assert isinstance(joined, Batches) == (form == "feature" and len(sizes) > 1)
    torch.testing.assert_close(gram(joined, joined), gram(whole, whole), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gram(joined, whole), gram(whole, whole.take(slice(0, 6))), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(joined.squared_norms(2.0**20), whole.squared_norms(2.0**20), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gram(joined.take(slice(1, 5)), whole), gram(whole, whole.take(slice(0, 6)))[1:5])
    assert (joined.samples, joined.cotangents, joined.nbytes) == (6, 2, whole.nbytes)


def test_a_batch_is_copied_into_its_place_and_let_go() -> None:
    pieces = [DenseGradients(torch.randn(2, 1, 5)) for _ in range(3)]
    gathered = OperandBuffer(6)
    for piece in pieces:
        gathered.add(piece)
    joined = gathered.joined()
    assert torch.equal(joined.values, torch.cat([piece.values for piece in pieces]))
    assert joined.values.data_ptr() not in {piece.values.data_ptr() for piece in pieces}
    alone = OperandBuffer(2)
    alone.add(pieces[0])
    assert alone.joined() is pieces[0], "a single batch is not copied"


def test_memory_for_long_samples_is_let_go_when_short_ones_follow() -> None:
    def block(n: int, positions: int) -> Factors:
        delta, inputs = torch.randn(n, 1, positions, 3), torch.randn(n, positions, 5)
        return Factors.of(OuterBlock("w", torch.Size((3, 5)), delta, inputs), "position", torch.float32)

    gathered = OperandBuffer(40)
    gathered.add(block(2, 64))
    gathered.add(block(2, 4))
    (kept,) = (part for part in gathered._parts if part.extents.length == 64)
    assert kept.delta.untyped_storage().nbytes() == 2 * 64 * 3 * 4
    for _ in range(9):
        gathered.add(block(4, 4))
    assert gathered.joined().extents.each() == [64] * 2 + [4] * 38
