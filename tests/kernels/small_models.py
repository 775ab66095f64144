"""Small modules, each with one thing that is easy to get wrong in a per-sample gradient."""

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Mean(nn.Module):
    """Mean over every axis between the samples and the features (`last`) or after the channels."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=tuple(range(1, x.ndim - 1))) if self.last else x.flatten(2).mean(2)


def convolution(layer: nn.Module, channels: int) -> nn.Module:
    """A nonlinearity on both sides, so that inputs and output gradients both vary over positions."""
    return nn.Sequential(nn.Tanh(), layer, nn.Tanh(), Mean(last=False), nn.Linear(channels, 3))


class TiedLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class TiedLanguageModel(nn.Module):
    """Token embedding shared with the output projection; the logits are read at the last position."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.mix, self.lm_head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, ids: Tensor) -> Tensor:
        h = self.wte(ids)
        h = torch.tanh(self.mix(h + h.cumsum(1)))
        return self.lm_head(h).mean(1)[:, :3]


class UsedTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.head = nn.Linear(5, 5), nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(torch.tanh(self.inner(self.norm(torch.tanh(self.inner(x)))))))


class UsedAtTwoLengths(nn.Module):
    """One convolution over inputs of two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.tanh(self.conv(x)), 2)
        return self.head(torch.tanh(self.conv(x)).mean((2, 3)))


class BareParameters(nn.Module):
    """Class token, positional table, output scale and a weight that is used without its module."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.position = nn.Parameter(torch.randn(1, 4, 4))
        self.scale = nn.Parameter(torch.ones(()))
        self.mix, self.functional, self.head = nn.Linear(4, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        x = F.linear(torch.tanh(self.mix(x)), self.functional.weight)
        return self.scale * self.head(torch.tanh(x)[:, 0])


class PositionIds(nn.Module):
    """Positional embedding looked up for one row of ids and broadcast over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.position = nn.Embedding(9, 4, padding_idx=0), nn.Embedding(6, 4)
        self.mix, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.word(ids) + self.position(torch.arange(ids.shape[1], device=ids.device)[None])
        return self.head(torch.tanh(self.mix(h)).mean(1))


class LowRank(nn.Module):
    """LoRA as a parametrization: W + BA."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(2, columns)), nn.Parameter(torch.randn(rows, 2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.b @ self.a


def low_rank() -> nn.Module:
    layer = nn.Linear(5, 6)
    parametrize.register_parametrization(layer, "weight", LowRank(6, 5))
    layer.parametrizations.weight.original.requires_grad_(False)
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(6, 3))


class Attention(nn.Module):
    """Self-attention with a padding mask, or cross-attention from a learned query."""

    def __init__(self, *, cross: bool = False, batch_first: bool = True, **options) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first, **options)
        self.cross, self.batch_first = cross, batch_first
        self.inside, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        query = torch.tanh(self.inside(x[:, :2] if self.cross else x))
        if not self.batch_first:
            query, x = query.transpose(0, 1), x.transpose(0, 1)
        key = x if self.cross else query
        if self.cross and self.attention.kdim != 4:
            key = torch.cat([x, x[..., :2]], -1)
        y = self.attention(query, key, key, need_weights=False)[0]
        return self.head(torch.tanh(y).mean(1 if self.batch_first else 0))


class FlattenedTokens(nn.Module):
    """Linear over (N*T, d): the leading axis holds samples times positions."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        return self.head(torch.tanh(self.mix(x.reshape(n * t, d))).reshape(n, t, -1).mean(1))


class Gated(nn.Module):
    """A layer that sees only the tokens that open a gate, as a mixture's expert does."""

    def __init__(self) -> None:
        super().__init__()
        self.expert, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        h, open_gate = torch.zeros_like(rows), torch.nonzero(rows[:, 0] > 0).flatten()
        h[open_gate] = torch.tanh(self.expert(rows[open_gate]))
        return self.head(h.view_as(x).mean(1))


class Root(nn.Module):
    """Has an infinite gradient at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).abs().sqrt()


class Checkpointed(nn.Module):
    """Recomputes its first layers in the backward pass to save memory."""

    def __init__(self, *, reentrant: bool = False) -> None:
        super().__init__()
        self.body, self.head = mlp(5, 6, 5), nn.Linear(5, 3)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        h = torch.utils.checkpoint.checkpoint(self.body, x, use_reentrant=self.reentrant)
        return self.head(torch.tanh(h))


class InPlace(nn.Module):
    """`relu_` and `+=` overwrite what layers saw."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu_()
        y = self.b(x)
        x = x * 1.0
        x += y.relu_()
        return self.head(x)


class Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside)
        self.conv2, self.bn2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.shortcut(x)
        return self.relu(y)


def tiny_resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        Block(4, 4, 1),
        Block(4, 6, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def tiny_gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    config = GPT2Config(
        vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2, num_labels=3, pad_token_id=0,
        bos_token_id=1, eos_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return GPT2ForSequenceClassification(config)


def tiny_bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=8, num_labels=2, pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return BertForSequenceClassification(config)


def mlp(*widths: int, bias: bool = True, activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    layers: list[nn.Module] = []
    for inside, outside in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(inside, outside, bias=bias), activation()]
    return nn.Sequential(*layers[:-1])


def normalized(norm: nn.Module, channels: int, *, last: bool) -> nn.Module:
    return nn.Sequential(nn.Tanh(), norm, nn.Tanh(), Mean(last=last), nn.Linear(channels, 3))
