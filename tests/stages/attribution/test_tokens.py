"""Tokens that speak for tokens: what is stored adds up to the kernel, and texts are shown as text."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

from analysis.pages import MarkedText, MarkedTexts, Section, write_page
from pipeline.checks.attribution import attribution_problems
from pipeline.data.datamodule import KernelInputs
from pipeline.engine.cells import compose_run
from pipeline.stages.attribution.report import _tokens
from pipeline.stages.attribution.tokens import token_rows
from pipeline.training.replaying import without_dropout

DATA = SimpleNamespace(tokenizer=SimpleNamespace(decode=lambda ids: f"<b>{ids[0]}</b>"))


def points(seed: int, n: int) -> KernelInputs:
    ids = torch.randint(1, 11, (n, 5), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[0, 3:], ids[0, 3:] = 0, 0
    return KernelInputs({"input_ids": ids, "attention_mask": mask}, torch.arange(n), torch.arange(n) % 3)


def made():
    torch.manual_seed(0)
    size = {"vocab_size": 11, "n_positions": 6, "n_embd": 8, "n_layer": 1, "n_head": 2}
    config = GPT2Config(**size, num_labels=3, pad_token_id=0, bos_token_id=None, eos_token_id=None)
    network = GPT2ForSequenceClassification(config).eval()
    test, train = points(1, 3), points(2, 6)
    chosen = np.array([[5, 0], [2, 3]])
    tokens, pairs = token_rows(network, DATA, test, np.array([0, 2]), np.array([1, 2]), train, chosen)
    return network, test, train, tokens, pairs


def test_values_of_tokens_add_up_to_the_product_of_gradients():
    network, test, train, tokens, pairs = made()

    def gradient(inputs: dict, row: int, label: int) -> torch.Tensor:
        logits = network(**{name: value[[row]] for name, value in inputs.items()}).logits[0]
        others = torch.stack([one for c, one in enumerate(logits) if c != label])
        value = logits[label] - others.logsumexp(0)
        found = torch.autograd.grad(value, list(network.parameters()), allow_unused=True, materialize_grads=True)
        return torch.cat([g.flatten() for g in found])

    for number, (row, label, places) in enumerate(((0, 1, [5, 0]), (2, 2, [2, 3]))):
        for rank, place in enumerate(places, start=1):
            whole = float(gradient(test.inputs, row, label) @ gradient(train.inputs, place, int(train.labels[place])))
            own = [one for one in tokens if (one["test"], one["rank"]) == (number, rank)]
            for side in ("test", "train"):
                total = sum(one["value"] for one in own if one["side"] == side) + own[0]["rest"]
                assert total == pytest.approx(whole, rel=1e-3, abs=1e-5)
    first = [one for one in tokens if (one["test"], one["rank"], one["side"]) == (0, 1, "test")]
    assert len(first) == 3, "padding has no tokens"
    assert len([one for one in pairs if (one["test"], one["rank"]) == (1, 2)]) == 5
    assert abs(pairs[0]["value"]) >= abs(pairs[1]["value"])


def test_tokens_are_shown_as_text_and_colored_by_their_value(tmp_path):
    *_, tokens, pairs = made()
    rows = {"tokens.parquet": tokens, "token_pairs.parquet": pairs}
    artifact = SimpleNamespace(key="0" * 12, rows=lambda name, optional=False: rows[name])
    blocks = _tokens("GPT-2", SimpleNamespace(artifact=artifact, command="python run.py"))
    assert isinstance(blocks[0], MarkedTexts) and len(blocks[0].texts) == 8 and len(blocks[1].rows) == 20
    page = write_page(tmp_path / "page.html", "Tokens", [Section("Attribution", blocks)]).read_text()
    assert "<b>4</b>" not in page and "&lt;b&gt;" in page, "a token is no markup"
    assert 'class="for4"' in page or 'class="against4"' in page


def test_marked_texts_need_a_value_for_each_token():
    with pytest.raises(ValueError, match="2 tokens have 1 values"):
        MarkedText("test", ["a", "b"], [1.0])
    with pytest.raises(ValueError, match="without a text"):
        MarkedTexts([], "Nothing.")


def test_images_have_no_tokens():
    config = compose_run(("attribution.tokens=2",))
    assert any("attribution.tokens splits texts" in line for line in attribution_problems(config))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("attribution.method=pixels", "data=tweets", "model=gpt2_tiny"), "for texts take bm25"),
        (("attribution.method=bm25",), "holds image rows; take pixels"),
    ],
)
def test_inputs_are_compared_as_what_they_are(words, message):
    assert any(message in line for line in attribution_problems(compose_run(words)))


def test_the_masks_of_a_network_are_left_out_by_the_setting_that_is_named():
    network, *_ = made()
    said = without_dropout(network)
    assert said == " by 'model.architecture={attn_pdrop: 0, embd_pdrop: 0, resid_pdrop: 0}'"
    words = ("data=tweets", "model=gpt2_tiny", said.partition("'")[2].rstrip("'"))
    architecture = compose_run(words).model.architecture
    assert architecture["attn_pdrop"] == 0 and architecture["n_embd"] == 64, "what else is set stays"
    network.config.attn_pdrop = network.config.embd_pdrop = network.config.resid_pdrop = 0.0
    assert without_dropout(network) == "" == without_dropout(torch.nn.Linear(1, 1))
