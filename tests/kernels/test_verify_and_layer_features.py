"""`verify` tells right from wrong on a few samples; `layer_features` streams what modules return."""

import importlib
import pkgutil
import types

import pytest
import torch
from torch import nn

import kernels
from kernels import layer_factors, layer_features, plan_kernel, verify
from kernels.rules.table import RULES
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow


@pytest.mark.parametrize("name", ["mlp_relu_without_bias", "tiny_resnet", "tiny_gpt2", "embedding_bag_max"])
def test_a_sound_model_is_ok(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name], 4, dtype=torch.float32)
    found = verify(model, inputs)
    assert found.ok and found.float32_error < 1e-3 and found.contraction_error < 1e-5
    total = found.ruled + found.fallback + found.unused + found.frozen
    assert total == sum(p.numel() for p in model.parameters())
    assert (found.fallback > 0) == (name == "embedding_bag_max") == ("generic route" in str(found))


def test_settings_of_the_process_do_not_enter() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = verify(model, inputs)
    assert found == verify(model, inputs) and found.contraction_error < 1e-5


def test_relu_flips_are_counted() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    close = torch.tensor([[1.0, -1.0 + 1e-9], [1.0, 2.0]], dtype=torch.float64)
    assert verify(model.eval(), close).relu_flips > 0


def test_a_rule_that_misreads_its_operation_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    linear = RULES[nn.functional.linear]
    wrong = replace(linear, reduce=lambda use, delta: 2 * linear.reduce(use, delta))
    monkeypatch.setitem(RULES, nn.functional.linear, wrong)
    model, inputs, _ = make(BY_NAME["mlp"], 4, dtype=torch.float32)
    found = verify(model, inputs)
    assert found.ok and found.ruled == 0 and "no rule reproduces autograd" in str(found)


def test_layer_features_in_batches() -> None:
    model, inputs, labels = make(BY_NAME["tiny_resnet"], 7)
    names = ["0", "8"]
    whole: dict[str, torch.Tensor] = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda _m, _a, out, name=name: whole.__setitem__(name, out.detach().clone())
        )
    logits = slow.logits(model, inputs).detach()
    expected = dict(whole)
    parts = list(layer_features(model, inputs, names, labels=labels, batch_size=3))
    assert [part.rows for part in parts] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    torch.testing.assert_close(torch.cat([part.logits for part in parts]), logits)
    assert torch.equal(torch.cat([part.labels for part in parts]), labels)
    for name in names:
        torch.testing.assert_close(torch.cat([part.features[name] for part in parts]), expected[name])
    pooled = next(layer_features(model, inputs, ["0"], "mean"))
    torch.testing.assert_close(pooled.features["0"], expected["0"].flatten(2).mean(2))
    flat = next(layer_features(model, inputs, lambda name: name == "0", "flatten"))
    assert flat.features["0"].shape == (7, expected["0"][0].numel())


@pytest.mark.parametrize("cotangent", ["sum", "loss", "log_odds", "class"])
def test_layer_factors_pull_back_the_named_cotangent(cotangent: str) -> None:
    model, inputs, labels = make(BY_NAME["mlp"], 5)
    logits = slow.logits(model, inputs).detach().requires_grad_()
    chosen = logits.gather(1, labels[:, None])[:, 0]
    others = logits.masked_fill(torch.nn.functional.one_hot(labels, 3).bool(), float("-inf"))
    scalar = {
        "sum": lambda: logits.sum(),
        "loss": lambda: nn.functional.cross_entropy(logits, labels, reduction="sum"),
        "log_odds": lambda: (chosen - others.logsumexp(1)).sum(),
    }
    if cotangent == "class":
        rows = torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    else:
        rows = torch.autograd.grad(scalar[cotangent](), logits)[0].unsqueeze(1)
    jacobian = slow.jacobian(model, inputs)
    for part in layer_factors(model, inputs, cotangent=cotangent, labels=labels, precision="float64", batch_size=2):
        for block in part.blocks:
            for name, found in block.gradients().items():
                expected = torch.einsum("nrc,ncp->nrp", rows[part.rows], jacobian[name][part.rows])
                torch.testing.assert_close(found.flatten(2), expected, rtol=1e-10, atol=1e-12)


def test_a_plan_can_be_read() -> None:
    model, inputs, _ = make(BY_NAME["tiny_gpt2"], 4, dtype=torch.float32)
    text = str(plan_kernel(model, inputs, kind="pntk", memory="1GiB"))
    assert "transformer.wte.weight" in text and "tokens" in text and "memory budget 1 GiB" in text


def test_every_public_name_stays_a_function_whatever_was_imported() -> None:
    for name in kernels.__all__:
        getattr(kernels, name)
    for module in pkgutil.iter_modules(kernels.__path__):
        importlib.import_module(f"kernels.{module.name}")
    assert not [name for name in kernels.__all__ if isinstance(getattr(kernels, name), types.ModuleType)]
