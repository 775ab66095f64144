"""Mixtures of experts: rows routed to matrices, and Hugging Face's layers that are made of them."""

import pytest
import torch
from torch import nn

from kernels import kernel_matrix
from kernels.rules import experts
from kernels.rules.experts import routed_linear
from tests.references import per_sample_jacobian as reference

WIDTH, EXPERTS, TOP = 8, 3, 2
SIZES = {"vocab_size": 20, "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 4} | {
    "num_key_value_heads": 1,
    "intermediate_size": 6,
    "num_experts_per_tok": TOP,
    "num_labels": 3,
    "pad_token_id": 0,
}
STORED = {  # as (outputs, inputs), and as (inputs, outputs) with biases
    "qwen3_moe": SIZES | {"num_experts": EXPERTS, "moe_intermediate_size": 8, "decoder_sparse_step": 1},
    "gpt_oss": SIZES | {"num_local_experts": EXPERTS, "layer_types": ["full_attention"]},
}


def mixture(kind: str) -> nn.Module:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.for_model(kind, **STORED[kind])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config, experts_implementation="eager").double().eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.2 * torch.randn(p.shape, dtype=p.dtype))
    return model


def sentences(count: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 20, (count, 5), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(5) < 5 - torch.arange(count)[:, None] % 3).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.fixture(params=[experts._GATHERED, 0], ids=["gathered", "sorted"])
def way(request, monkeypatch):
    monkeypatch.setattr(experts, "_GATHERED", request.param)


@pytest.mark.parametrize("transposed", [False, True])
def test_every_row_meets_the_matrix_of_its_expert(way, transposed):
    weight, bias = torch.randn(4, 5, 2).double(), torch.randn(4, 5).double()
    rows, chosen = torch.randn(6, 2).double(), torch.tensor([3, 0, 3, 3, 1, 0])  # and none chooses the third
    found = routed_linear(rows, weight.mT if transposed else weight, chosen, bias=bias, transposed=transposed)
    torch.testing.assert_close(found, torch.stack([weight[e] @ x + bias[e] for x, e in zip(rows, chosen, strict=True)]))


@pytest.mark.parametrize("kind", STORED)
def test_a_mixtures_kernel_is_exact_by_rule_whatever_the_batch(way, kind):
    model, batch = mixture(kind), sentences(5)
    jacobian = reference.flat(reference.jacobian(model, batch))
    expected = reference.trntk(jacobian, jacobian)
    for size in (None, 2):
        found = kernel_matrix(model, batch, normalize=False, precision="float64", batch_size=size)
        assert not found.metadata["coverage"]["fallback"]
        torch.testing.assert_close(found.matrix, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize("implementation", experts.IMPLEMENTATIONS)
def test_any_implementation_gives_the_same_kernel(implementation):
    model, batch = mixture("qwen3_moe").float(), sentences(3)
    expected = kernel_matrix(model, batch, normalize=False).matrix
    model.set_experts_implementation(implementation)
    torch.testing.assert_close(kernel_matrix(model, batch, normalize=False).matrix, expected, rtol=0, atol=0)
    logits = model(**batch).logits  # and the model is as it was
    model.set_experts_implementation("eager")
    torch.testing.assert_close(logits, model(**batch).logits)


def test_frozen_matrices_leave_the_biases_their_rule():
    model, batch = mixture("gpt_oss"), sentences(4)
    for name, p in model.named_parameters():
        p.requires_grad_(name.endswith("proj_bias"))
    jacobian = reference.flat(reference.jacobian(model, batch))
    found = kernel_matrix(model, batch, normalize=False, precision="float64")
    assert not found.metadata["coverage"]["fallback"]
    torch.testing.assert_close(found.matrix, reference.trntk(jacobian, jacobian))
