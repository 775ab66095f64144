"""The gradients of one sample, with which rules are compared, and what the comparison detects."""

import functools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import kernel_matrix
from kernels.capture.capture import Capture
from kernels.gradients.blocks import TokenBlock
from kernels.gradients.one_sample import distances, norms, plain_gradients
from tests.kernels.cases import BY_NAME, make


class Reader(nn.Module):
    """A large table read once or twice, or also the output layer."""

    def __init__(self, twice: bool = False, tied: bool = False, frequency: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(300, 4, padding_idx=0, scale_grad_by_freq=frequency)
        self.twice, self.tied = twice, tied
        self.out = nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.table(ids).tanh().sum(1)
        if self.twice:
            h = h * self.table(ids[:, :1] + 1).sum(1)
        return F.linear(h, self.table.weight) if self.tied else self.out(h)


IDS = torch.tensor([[5, 0, 5, 7], [1, 2, 299, 2], [7, 7, 7, 0]])


@pytest.mark.parametrize("options", [{}, {"twice": True}, {"tied": True}, {"frequency": True}])
def test_gradients_are_those_of_autograd_and_sparse_only_where_nothing_else_reads_the_table(options: dict) -> None:
    model = Reader(**options).double().eval()
    parameters = {n: p for n, p in model.named_parameters() if n.startswith("table") or not model.tied}
    for p in parameters.values():
        p.requires_grad_(False)
    logits, truth, row = plain_gradients(model, IDS[1:2], parameters, None)
    assert not any(p.requires_grad for p in parameters.values())
    assert truth["table.weight"].is_sparse == (options in ({}, {"twice": True}))
    for p in parameters.values():
        p.requires_grad_(True)
    again = model(IDS[1:2])
    torch.testing.assert_close(logits, again.detach())
    expected = torch.autograd.grad(again, list(parameters.values()), row[None])
    for (name, found), true in zip(truth.items(), expected, strict=True):
        torch.testing.assert_close(found.to_dense() if found.is_sparse else found, true)
        assert norms(truth)[name] == pytest.approx(float(true.norm()))


def test_a_block_of_a_table_is_as_far_from_a_sparse_gradient_as_from_the_same_one_written_out() -> None:
    torch.manual_seed(0)
    delta = torch.randn(2, 1, 4, 3, dtype=torch.float64)
    block = TokenBlock("table", torch.Size((50, 3)), torch.tensor([[1, 2, 3, 4], [9, -1, 9, 8]]), delta)
    exact = block.take(slice(1, 2)).gradients()["table"][0, 0]
    for change in (0.0, 1.0):
        true = exact.clone()
        true[30] += change  # a row that the block does not read
        true[9] -= 0.5 * change
        sparse = true.to_sparse(1).coalesce()
        found = distances([block], 1, {"table": sparse})["table"]
        assert found == pytest.approx(distances([block], 1, {"table": true})["table"], abs=1e-12)
        assert found == pytest.approx(float((exact - true).norm()), abs=1e-12)


def test_a_table_that_no_rule_reads_rightly_is_found_out() -> None:
    class Louder(nn.Embedding):
        """Its gradient is three times as large in company."""

        def forward(self, ids: Tensor) -> Tensor:
            rows = super().forward(ids)
            return rows + (2.0 * (self.weight[ids] - self.weight.detach()[ids]) if len(ids) > 1 else 0.0)

    model = Reader().eval()
    assert not Capture(model, IDS[:3]).coverage.reasons
    model.table = Louder(300, 4)
    reasons = Capture(model, IDS[:3]).coverage.reasons
    assert reasons == {"table.weight": "no rule reproduces autograd"}


def test_a_decoder_keeps_nothing_for_generating_text_unless_its_answer_is_asked_for_whole() -> None:
    model, inputs, _ = make(BY_NAME["tiny_gpt2"], 5)
    assert model.config.use_cache
    kept = []
    model.register_forward_hook(lambda module, given, found: kept.append(found.past_key_values is not None))
    plain = kernel_matrix(model, inputs, precision="float64", zero_gradient="zero")
    assert kept and not any(kept)
    kept.clear()
    found = kernel_matrix(model, inputs, precision="float64", zero_gradient="zero", output=lambda answer: answer.logits)
    assert kept and all(kept)
    torch.testing.assert_close(found.matrix, plain.matrix)


class Answer(nn.Module):
    """Not one of the library's models, although its configuration and arguments have the same names."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.config = nn.Linear(4, 3), SimpleNamespace(use_cache=True)

    def forward(self, x: Tensor, use_cache: bool = True) -> SimpleNamespace:
        return SimpleNamespace(logits=self.inner(x) * (2 if use_cache else 1))


def test_arguments_that_only_look_like_a_decoders_are_left_alone() -> None:
    data = {"x": torch.randn(5, 4)}
    model = Answer().eval()
    whole = kernel_matrix(model, data, normalize=False, output=lambda answer: answer.logits)
    assert torch.equal(kernel_matrix(model, data, normalize=False).matrix, whole.matrix)
    decoder, inputs, _ = make(BY_NAME["tiny_gpt2"], 5)
    expected = kernel_matrix(decoder, inputs, precision="float64", zero_gradient="zero")
    original = decoder.forward

    @functools.wraps(original)
    def narrow(input_ids: Tensor, attention_mask: Tensor) -> Any:
        return original(input_ids=input_ids, attention_mask=attention_mask)

    decoder.forward = narrow
    found = kernel_matrix(decoder, inputs, precision="float64", zero_gradient="zero")
    torch.testing.assert_close(found.matrix, expected.matrix)


def test_hooks_on_a_large_table_see_the_gradient_that_they_always_saw() -> None:
    model = Reader().eval()
    plain = kernel_matrix(model, IDS)
    model.table.weight.register_hook(lambda gradient: gradient.clamp(-1e3, 1e3))
    hooked = kernel_matrix(model, IDS)
    torch.testing.assert_close(hooked.matrix, plain.matrix, rtol=1e-5, atol=1e-6)
    assert not hooked.metadata["coverage"]["fallback"]
