"""transformers classifiers: random or local weights, eager attention, per-sample gradients, no pickle."""

import pytest
import torch
from torch.func import functional_call, grad, vmap

from models import build_model
from models.logits import logits_of

TINY_GPT2 = {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 50, "bos_token_id": 49, "eos_token_id": 49}
TINY_BERT = {
    "num_hidden_layers": 1,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
}
TINY_VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def tiny(family="gpt2", **options):
    architecture = TINY_GPT2 if family == "gpt2" else TINY_BERT
    options = {"architecture": architecture, **options}
    return build_model("text_classifier", input_shape=(12,), n_classes=3, seed=0, family=family, **options)


def text_batch(pad: int) -> dict[str, torch.Tensor]:
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, pad, pad]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    return {"input_ids": ids, "attention_mask": mask, "label": torch.tensor([0, 1]), "id": torch.arange(2)}


@pytest.mark.parametrize(("family", "pad"), [("gpt2", 49), ("bert", 0)])
def test_padding_does_not_change_the_logits(family, pad):
    model = tiny(family).eval()
    assert model.config._attn_implementation == "eager" and model.config.use_cache is False
    batch = text_batch(pad)
    alone = {"input_ids": batch["input_ids"][1:, :2], "attention_mask": batch["attention_mask"][1:, :2]}
    torch.testing.assert_close(logits_of(model, batch)[1:], logits_of(model, alone), atol=1e-6, rtol=1e-5)


def per_sample_gradients(model, ids, masks):
    parameters = dict(model.named_parameters())

    def first_logit(values, row, mask):
        inputs = {"input_ids": row[None], "attention_mask": mask[None]}
        return functional_call(model, values, kwargs=inputs).logits[0, 0]

    return vmap(grad(first_logit), in_dims=(None, 0, 0))(parameters, ids, masks)


@pytest.mark.parametrize(("family", "pad"), [("gpt2", 49), ("bert", 0)])
def test_per_sample_gradients_under_vmap(family, pad):
    model = tiny(family).eval()
    batch = text_batch(pad)
    masks = batch["attention_mask"]
    if family == "bert":
        # transformers looks at the values of a bidirectional 2-D mask, which vmap forbids; an additive
        # 4-D mask is taken as it is.
        masks = torch.finfo(torch.float32).min * (1.0 - masks[:, None, None, :])
    rows = per_sample_gradients(model, batch["input_ids"], masks)
    logits_of(model, batch)[1, 0].backward()
    for name, parameter in model.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(rows[name][1], expected, atol=1e-6, rtol=1e-4)


def test_weights_from_a_folder_fill_the_body_and_seed_the_head(tmp_path):
    tiny().transformer.save_pretrained(tmp_path)
    options = {"weights": "path", "path": str(tmp_path), "architecture": {"resid_pdrop": 0.0}}
    model = tiny(**options)
    assert model.training and model.config.resid_pdrop == 0.0
    torch.testing.assert_close(model.transformer.wte.weight, tiny().transformer.wte.weight)
    again = tiny(**options)
    assert torch.equal(model.score.weight, again.score.weight)


def test_a_pickled_checkpoint_is_not_opened(tmp_path):
    model = tiny()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="no safetensors weights"):
        tiny(weights="path", path=str(tmp_path), architecture={})


def test_hub_weights_that_are_not_here_name_the_ways_out(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="model.weights=path"):
        tiny(weights="hub", id="someone/absent-model", revision="0" * 40, architecture={})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "downloaded"}, "unknown model.weights"),
        ({"weights": "hub"}, "needs model.id"),
        ({"weights": "path"}, "needs model.path"),
        ({"family": "gtp2"}, "no model family"),
        ({"trainable": "tail"}, "unknown model.trainable"),
        ({"architecture": {**TINY_GPT2, "eos_token_id": 50256}}, "outside the vocabulary"),
        (
            {"architecture": {**TINY_GPT2, "eos_token_id": None, "pad_token_id": None}},
            "neither a padding nor an end token",
        ),
        ({"architecture": {**TINY_GPT2, "n_layer": -1}}, "model.architecture.n_layer=-1 is below 1"),
        ({"architecture": {**TINY_GPT2, "n_layers": 3}}, "'n_layers', which gpt2 does not have, did you mean n_layer"),
        ({"architecture": {**TINY_GPT2, "n_positions": 8}}, "exceed the model's 8 positions"),
    ],
)
def test_wrong_text_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_weights_of_another_family_are_refused(tmp_path):
    tiny().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model.family is 'bert'"):
        tiny("bert", weights="path", path=str(tmp_path), architecture={})


def test_a_body_that_the_file_does_not_fill_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny().transformer.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["h.1.mlp.c_fc.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks 1 weights of the model's body"):
        tiny(weights="path", path=str(tmp_path), architecture={})


def test_only_the_head_is_trained_on_request():
    trained = [name for name, p in tiny(trainable="head").named_parameters() if p.requires_grad]
    assert trained == ["score.weight"]


def test_text_without_a_mask_is_refused():
    with pytest.raises(KeyError, match="attention_mask"):
        logits_of(tiny(), {"input_ids": torch.zeros(1, 2, dtype=torch.int64)})
    with pytest.raises(KeyError, match="no model input"):
        logits_of(tiny(), {"label": torch.zeros(1)})


def test_vit_by_configuration():
    model = build_model("vit", input_shape=(1, 16, 16), n_classes=4, seed=0, architecture=TINY_VIT)
    assert type(model).__name__ == "ViTForImageClassification"
    assert logits_of(model.eval(), {"image": torch.rand(2, 1, 16, 16)}).shape == (2, 4)
    with pytest.raises(ValueError, match="patch size"):
        build_model("vit", input_shape=(1, 18, 18), n_classes=4, seed=0, architecture=TINY_VIT)
