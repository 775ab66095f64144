"""Models, inputs and the float64 truth on which kernel engines are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Suite:
    about: str
    samples: int
    model: Callable[[], nn.Module]
    inputs: Callable[[int], Inputs]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def resnet18(max_pool: bool) -> nn.Module:
    from models.resnet18 import ResNet18

    model = ResNet18((3, 32, 32), 10, max_pool=max_pool)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer, std=0.1)
        if name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 1.5)
    return model


def _gpt2_config() -> Any:
    from transformers import GPT2Config

    config = GPT2Config(
        n_embd=128, n_layer=2, n_head=4, n_positions=64, num_labels=2, pad_token_id=0,
        embd_pdrop=0.0, resid_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return config


def gpt2() -> nn.Module:
    from transformers import GPT2ForSequenceClassification

    return GPT2ForSequenceClassification(_gpt2_config())


class TiedGPT2(nn.Module):
    """Two logits of the next token, from an output layer that is the token table."""

    def __init__(self) -> None:
        from transformers import GPT2LMHeadModel

        super().__init__()
        self.model = GPT2LMHeadModel(_gpt2_config())

    def forward(self, **inputs: Tensor) -> Tensor:
        return self.model(**inputs, logits_to_keep=1).logits[:, 0, 1:3]


def images(n: int) -> Tensor:
    return torch.randn(n, 3, 32, 32)


def text(n: int) -> dict[str, Tensor]:
    """64 tokens each, Zipf-like frequencies as in real text, no padding."""
    rank = torch.arange(1, 50_257, dtype=torch.float64)
    ids = torch.multinomial(1 / (rank + 2.7), n * 64, replacement=True).reshape(n, 64) + 1
    return {"input_ids": ids.clamp(max=50_256), "attention_mask": torch.ones(n, 64, dtype=torch.long)}


SUITES: dict[str, Suite] = {
    "mlp": Suite("MLP 784-512-512-10", 512, mlp, lambda n: torch.randn(n, 784)),
    "resnet18": Suite("ResNet-18, 3x3 stem", 64, lambda: resnet18(False), images),
    "resnet18_pool": Suite("ResNet-18, 3x3 stem + max-pool", 64, lambda: resnet18(True), images),
    "gpt2": Suite("GPT-2, 2 layers, d=128, 64 tokens, 2 labels", 64, gpt2, text),
    "gpt2_tied": Suite("GPT-2 with a tied output layer, 2 logits", 64, TiedGPT2, text),
}


def build(suite: str, samples: int | None = None) -> tuple[nn.Module, Inputs]:
    """Seeded model in eval mode and its inputs."""
    torch.manual_seed(0)
    chosen = SUITES[suite]
    model = chosen.model().eval()
    return model, chosen.inputs(samples or chosen.samples)


def first(inputs: Inputs, n: int, dtype: torch.dtype | None = None) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs[:n].to(dtype)
    return {key: value[:n] for key, value in inputs.items()}


def part(inputs: Inputs, rows: slice) -> Inputs:
    return inputs[rows] if isinstance(inputs, Tensor) else {key: value[rows] for key, value in inputs.items()}


def count(inputs: Inputs) -> int:
    return len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))


def call(model: nn.Module, inputs: Inputs) -> Tensor:
    output = model(inputs) if isinstance(inputs, Tensor) else model(**inputs)
    return output if isinstance(output, Tensor) else output.logits


def gradient_rows(model: nn.Module, inputs: Inputs, kind: str) -> Tensor:
    """(R, N, P): one backward per sample and cotangent; R = 1 for pntk, the number of classes for trntk."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    size = count(inputs)
    rows: Tensor | None = None
    for i in range(size):
        one = inputs[i : i + 1] if isinstance(inputs, Tensor) else {k: v[i : i + 1] for k, v in inputs.items()}
        f = call(model, one)[0]
        values = [f.sum()] if kind == "pntk" else list(f)
        for r, value in enumerate(values):
            found = torch.autograd.grad(value, parameters, retain_graph=r + 1 < len(values))
            flat = torch.cat([g.reshape(-1) for g in found])
            if rows is None:
                rows = flat.new_empty(len(values), size, len(flat))
            rows[r, i] = flat
    assert rows is not None
    return rows


def truth(model: nn.Module, inputs: Inputs, kind: str, n: int = 6) -> Tensor:
    """(n, n) kernel of the first samples in float64."""
    rows = gradient_rows(model.double(), first(inputs, n, torch.float64), kind)
    return torch.einsum("rnp,rmp->nm", rows, rows)


def largest_error(found: Tensor, expected: Tensor) -> float:
    """Largest entry error in units of sqrt(K_ii K_jj)."""
    scale = expected.diagonal().sqrt()
    n = len(expected)
    return float(((found[:n, :n].double() - expected).abs() / (scale[:, None] * scale)).max())
