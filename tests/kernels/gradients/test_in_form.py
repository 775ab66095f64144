"""A pass that uses its parameters otherwise still gives one block of the known form for each."""

import pytest
import torch

from kernels.gradients.blocks import Block, ConvBlock, OuterBlock, TiedBlock, TokenBlock, VectorBlock
from kernels.gradients.in_form import in_form, outline
from kernels.gradients.windows import Windows

SHAPE = torch.Size([4, 3])


def outer(batch: int, *, bias: str | None = None) -> OuterBlock:
    delta, inputs = torch.randn(batch, 2, 5, 4), torch.randn(batch, 5, 3)
    return OuterBlock("weight", SHAPE, delta, inputs, bias=bias, bias_shape=torch.Size([4]))


def convolution(batch: int) -> ConvBlock:
    windows = Windows(kernel=(3,), stride=(1,), dilation=(1,), before=(1,), space=(5,))
    shape = torch.Size([4, 1, 3])
    return ConvBlock("weight", shape, torch.randn(batch, 2, 5, 4), torch.randn(batch, 1, 5), windows=windows)


def tokens(batch: int) -> TokenBlock:
    return TokenBlock("weight", SHAPE, torch.randint(0, 4, (batch, 5)), torch.randn(batch, 2, 5, 3))


FORMS = {
    "outer": lambda n: outer(n),
    "outer_with_bias": lambda n: outer(n, bias="bias"),
    "convolution": convolution,
    "tokens": tokens,
    "vector": lambda n: VectorBlock("weight", SHAPE, torch.randn(n, 2, 12)),
    "tied": lambda n: TiedBlock("weight", SHAPE, (tokens(n), outer(n))),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_what_a_pass_does_not_use_is_zero_in_the_same_form(form: str) -> None:
    (found,) = in_form([], [outline(FORMS[form](3))], {}, torch.ones(7, 2, 9))
    assert type(found) is type(FORMS[form](3))
    for name, values in FORMS[form](7).gradients().items():
        assert found.gradients()[name].shape == values.shape and not found.gradients()[name].any()


@pytest.mark.parametrize("form", list(FORMS))
def test_another_form_is_turned_into_the_known_one(form: str) -> None:
    forms: list[Block] = [outline(FORMS[form](3))]
    whole = {name: torch.randn(7, 2, values[0, 0].numel()) for name, values in FORMS[form](7).gradients().items()}
    vectors: list[Block] = [VectorBlock(name, values.shape[2:], values) for name, values in whole.items()]
    given = {} if form != "vector" else whole
    for blocks, replaced in ((vectors, given), ([FORMS[form](7)], whole)):
        (found,) = in_form(blocks, forms, replaced, torch.ones(7, 2, 9))
        assert found.names == forms[0].names
        for name, values in found.gradients().items():
            torch.testing.assert_close(values.flatten(2), whole[name], rtol=1e-5, atol=1e-5)


def test_blocks_of_the_known_form_are_left_as_they_are() -> None:
    blocks: list[Block] = [outer(7, bias="bias"), VectorBlock("gain", torch.Size([2]), torch.ones(7, 2, 2))]
    assert in_form(blocks, [outline(block) for block in blocks], {}, torch.ones(7, 2, 9)) is blocks
