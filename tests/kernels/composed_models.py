"""Small models whose parameters reach the samples through other tensors, or in operations that have no rule."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SharedPositionBias(nn.Module):
    """T5: one table of distances becomes a bias per head, which two layers add to their scores under a padding mask."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.distance = nn.Embedding(9, 4), nn.Embedding(5, 2)
        self.q, self.k, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        h, length = self.word(ids), ids.shape[1]
        at = torch.arange(length)
        buckets = (at[None] - at[:, None]).clamp(-2, 2) + 2
        bias = self.distance(buckets).permute(2, 0, 1)[None]
        bias = torch.where((ids > 0)[:, None, None], bias, -30.0)
        for _ in range(2):
            q, k, v = (x.unflatten(2, (2, 2)).transpose(1, 2) for x in (self.q(h), self.k(h), h))
            h = h + F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
        return self.head(torch.tanh(h).mean(1))


class ShiftedWindows(nn.Module):
    """Swin: samples folded into windows, a learned bias by relative position, a mask that is repeated per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.table, self.head = nn.Linear(4, 4), nn.Parameter(torch.randn(3, 2)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        windows = self.inside(x).unflatten(1, (2, 2)).flatten(0, 1)  # (2n, 2, 4)
        heads = windows.unflatten(2, (2, 2)).transpose(1, 2)
        at = torch.arange(2)
        bias = self.table[(at[:, None] - at + 1).flatten()].view(2, 2, 2).permute(2, 0, 1)
        mask = torch.stack([torch.zeros(2, 2), torch.tensor([[0.0, -9.0], [-9.0, 0.0]])]).to(x.dtype)
        scores = heads @ heads.mT + (bias[None] + mask.repeat(len(x), 1, 1)[:, None])
        y = (torch.softmax(scores, -1) @ heads).transpose(1, 2).flatten(2)
        return self.head(torch.tanh(y).unflatten(0, (-1, 2)).mean((1, 2)))


class DerivedWeights(nn.Module):
    """A gain around one, a scaled and turned weight, a standardized one, merged factors, a scale through exp."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.log_scale = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(1))
        self.turned, self.standard = nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.left, self.right = nn.Parameter(torch.randn(4, 1)), nn.Parameter(torch.randn(1, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.rms_norm(x, (4,)) * (1.0 + self.gain)
        x = torch.tanh(x @ (self.turned / 2.0).T)
        w = self.standard.weight
        with torch.no_grad():
            size = w.norm()  # a constant, although computed from a parameter
        x = torch.tanh(F.linear(x, (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True) / size, self.standard.bias))
        x = F.linear(x, self.frozen.weight + self.left @ self.right)
        return self.log_scale.exp() * self.head(torch.tanh(x).mean(1))


class Recurrent(nn.Module):
    """A recurrent layer, or its cell in a loop, over time-first or batch-first inputs."""

    def __init__(self, layer: nn.Module, width: int, *, cell: bool = False) -> None:
        super().__init__()
        self.layer, self.head, self.cell = layer, nn.Linear(width, 3), cell

    def forward(self, x: Tensor) -> Tensor:
        if self.cell:
            state = None
            for t in range(x.shape[1]):
                state = self.layer(x[:, t], state)
            return self.head(state[0] if isinstance(state, tuple) else state)
        if self.layer.batch_first:
            return self.head(self.layer(x)[0].mean(1))
        return self.head(self.layer(x.transpose(0, 1))[0].mean(0))


class HeadWeights(nn.Module):
    """Weights with an axis of heads (einsum in both orders, one matrix per head), a matrix on the left, a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Parameter(torch.randn(4, 2, 3)), nn.Parameter(torch.randn(4, 2, 3))
        self.each, self.mix = nn.Parameter(torch.randn(2, 3, 3)), nn.Parameter(torch.randn(5, 3))
        self.position, self.head = nn.Parameter(torch.randn(1, 7, 4)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(torch.einsum("btd,dhe->bhte", x + self.position[:, : x.shape[1]], self.up))
        h = torch.tanh(torch.matmul(h, self.each))
        h = torch.tanh(torch.einsum("bhte,dhe->btd", h, self.down))
        return self.head(torch.tanh(self.mix @ h).mean(1))


class Lookups(nn.Module):
    """A table read by index, a class token that is repeated, and a bilinear map of the two."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.token = nn.Parameter(torch.randn(9, 4)), nn.Parameter(torch.randn(1, 1, 4))
        self.pair, self.head = nn.Bilinear(4, 4, 3), nn.Linear(3, 3)

    def forward(self, ids: Tensor) -> Tensor:
        h = torch.cat([self.token.repeat(len(ids), 1, 1), self.table[ids - 4]], 1)
        return self.head(torch.tanh(self.pair(torch.tanh(h.mean(1)), torch.tanh(h[:, 1]))))


def bag(mode: str, padding: int | None = None) -> nn.Module:
    return nn.Sequential(nn.EmbeddingBag(9, 4, mode=mode, padding_idx=padding), nn.Tanh(), nn.Linear(4, 3))
