"""Products of texts' gradients split over token pairs: the parts are right, and they add up."""

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2ForSequenceClassification

from kernels import token_products


def gradient(model: nn.Module, value: torch.Tensor) -> torch.Tensor:
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


class Additive(nn.Module):
    """Each token adds its own term to the logits, so that a pair of tokens is a pair of one-token texts."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.outer = nn.Embedding(7, 4), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(self.table(input_ids)))).sum(1)


def texts(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    ids = torch.tensor(rows)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def test_a_pair_of_tokens_is_the_product_of_their_own_gradients():
    torch.manual_seed(0)
    model = Additive().double().eval()
    test, train = [[1, 2, 1], [3, 4, 5]], [[1, 6], [2, 2]]
    found = token_products(model, texts(test), texts(train), cotangent="sum", precision="float64")
    assert found.pairs.shape == (2, 2, 3, 2) and float(found.rest.abs().max()) == 0

    def own(token: int) -> torch.Tensor:
        return gradient(model, model(**texts([[token]])).sum())

    for m, x in enumerate(test):
        for n, z in enumerate(train):
            expected = torch.tensor([[float(own(a) @ own(b)) for b in z] for a in x], dtype=torch.float64)
            torch.testing.assert_close(found.pairs[m, n], expected, rtol=1e-10, atol=1e-12)


def gpt2() -> nn.Module:
    size = {"vocab_size": 11, "n_positions": 6, "n_embd": 8, "n_layer": 2, "n_head": 2}
    config = GPT2Config(**size, num_labels=3, pad_token_id=0, bos_token_id=None, eos_token_id=None)
    return GPT2ForSequenceClassification(config).double().eval()


def test_parts_of_gpt2_add_up_to_the_products_of_whole_gradients():
    torch.manual_seed(0)
    model = gpt2()
    test, train = texts([[1, 2, 3, 4, 5]]), texts([[5, 4, 3, 2, 1], [1, 2, 9, 9, 7]])
    train["attention_mask"][1, 3:] = 0
    train["input_ids"][1, 3:] = 0
    labels, asked = torch.tensor([0, 2]), torch.tensor([1])
    found = token_products(model, test, train, cotangent="loss", labels=labels, test_labels=asked, precision="float64")

    def own(inputs, labels):
        rows = []
        for place, label in enumerate(labels):
            one = {name: value[place : place + 1] for name, value in inputs.items()}
            rows.append(gradient(model, -model(**one).logits[0].log_softmax(0)[label]))
        return torch.stack(rows)

    expected = own(test, asked) @ own(train, labels).T
    torch.testing.assert_close(found.whole, expected, rtol=1e-8, atol=1e-10)
    padding = found.pairs[0, 1][:, 3:].abs().max()
    assert float(padding) < 1e-12 and float(found.pairs.abs().max()) > 1e-3


def test_what_is_no_text_or_gives_several_numbers_is_refused():
    model, some, one = gpt2().float(), texts([[1, 2]]), torch.tensor([0])
    with pytest.raises(ValueError, match="must be a mapping with input_ids"):
        token_products(model, torch.zeros(1, 2), some)
    with pytest.raises(ValueError, match="gives several"):
        token_products(model, some, some, cotangent="class")
    for ids, message in [
        (torch.tensor([1, 2]), "must be whole numbers of shape"),
        (torch.ones(1, 2), "must be whole numbers of shape"),
        (torch.tensor([[1, 900]]), "does not know a token or a place of the test texts: tokens go from 1 to 900"),
        (torch.ones(1, 99).long(), "over 99 places"),
    ]:
        with pytest.raises(ValueError, match=message):
            token_products(model, {"input_ids": ids}, some, labels=one, test_labels=one)
    aside = some | {"attention_mask": torch.ones(1, 5).long()}
    with pytest.raises(ValueError, match="attention_mask of test has the shape .1, 5. and input_ids .1, 2."):
        token_products(model, aside, some, labels=one, test_labels=one)
