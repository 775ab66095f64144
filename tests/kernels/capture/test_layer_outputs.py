"""``layer_features`` streams what modules return."""

import torch

from kernels import layer_features
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow


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
