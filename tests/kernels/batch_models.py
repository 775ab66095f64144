"""Small models in which the samples are not simply the first axis of every layer, in the same number of calls."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class ArangePositions(nn.Module):
    """nanoGPT: positions are looked up once for all samples, so their table has no axis of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe, self.norm = nn.Embedding(9, 4), nn.Embedding(6, 4), nn.LayerNorm(4)
        self.qkv, self.head = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids) + self.norm(self.wpe(torch.arange(ids.shape[1])))
        q, k, v = (z.unflatten(2, (2, 2)).transpose(1, 2) for z in self.qkv(x).chunk(3, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        return self.head(torch.tanh(x + y)[:, -1])


class TimeFirst(nn.Module):
    """A parameter (T, 1, d) that meets time-first samples in one of several operations."""

    HOW: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "add": lambda x, p: x + p,
        "add_slice": lambda x, p: x + p[: len(x)],
        "multiply": lambda x, p: x * p,
        "where": lambda x, p: torch.where(x > 0, x, p),
        "expand": lambda x, p: x + p.expand_as(x),
        "minus": lambda x, p: p - x,
    }

    def __init__(self, how: str) -> None:
        super().__init__()
        self.p, self.a, self.head, self.how = nn.Parameter(torch.randn(4, 1, 4)), nn.Linear(4, 4), nn.Linear(4, 3), how

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.a(self.HOW[self.how](x.transpose(0, 1), self.p))).mean(0))


class TimeFirstEncoder(nn.Module):
    """nn.TransformerEncoder in its default layout, with learned positions (T, 1, d)."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0)
        self.encoder, self.position = (
            nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
            nn.Parameter(torch.randn(4, 1, 4)),
        )
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x.transpose(0, 1) + self.position).mean(0))


class LearnedState(nn.Module):
    """A recurrent layer whose first state is a parameter, expanded to the batch."""

    def __init__(self, kind: type[nn.RNNBase], *, batch_first: bool) -> None:
        super().__init__()
        self.layer, self.head = kind(4, 3, batch_first=batch_first), nn.Linear(3, 3)
        self.first = nn.Parameter(torch.randn(1, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        state = self.first.expand(-1, len(x), -1).contiguous()
        x = x if self.layer.batch_first else x.transpose(0, 1)
        both = (state, torch.tanh(state)) if isinstance(self.layer, nn.LSTM) else state
        return self.head(self.layer(x, both)[0].mean(1 if self.layer.batch_first else 0))


class Packed(nn.Module):
    """A recurrent layer over a packed sequence; its states or its outputs are read."""

    def __init__(self, kind: type[nn.RNNBase], *, states: bool) -> None:
        super().__init__()
        self.word, self.layer = nn.Embedding(9, 4), kind(4, 3, batch_first=True)
        self.head, self.states = nn.Linear(3, 3), states

    def forward(self, ids: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.word(ids), (ids > 0).sum(1), batch_first=True, enforce_sorted=False)
        outputs, last = self.layer(packed)
        if self.states:
            return self.head((last[0] if isinstance(last, tuple) else last)[-1])
        return self.head(torch.tanh(pad_packed_sequence(outputs, batch_first=True)[0].sum(1)))


class SortsByLength(nn.Module):
    """The samples are sorted by length and put back."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.mix, self.head = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        length, order = (ids > 0).sum(1).sort(descending=True)
        h = torch.tanh(self.mix(self.word(ids[order])))
        kept = (torch.arange(ids.shape[1])[None] < length[:, None]).to(h)[..., None]
        return self.head((h * kept).sum(1) / length[:, None])[order.argsort()]


class UntilTheLongest(nn.Module):
    """One layer for as many chunks as the longest text of the batch has; short batches skip another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)
        self.layer, self.far = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, ids: Tensor) -> Tensor:
        total, longest, start = torch.zeros(len(ids), 4).to(self.head.weight), int((ids > 0).sum(1).max()), 0
        while start < longest:
            part = ids[:, start : start + 2]
            total = total + (torch.tanh(self.layer(self.word(part))) * (part > 0).to(total)[..., None]).sum(1)
            if start > 0:
                total = total + (torch.tanh(self.far(self.word(part))) * (part > 0).to(total)[..., None]).sum(1)
            start += 2
        return self.head(total)


class HitExperts(nn.Module):
    """A mixture that calls only experts that some token of the batch chose."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(4, 3), nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        share, chosen = torch.softmax(self.gate(rows), 1).max(1)
        out = torch.zeros_like(rows)
        for index in chosen.unique().tolist():
            at = torch.where(chosen == index)[0]
            out[at] = torch.tanh(self.experts[index](rows[at])) * share[at, None]
        return self.head(out.view_as(x).mean(1))


class Siamese(nn.Module):
    """Two views of every sample go through one encoder as 2B rows."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.norm, self.head = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.norm(torch.tanh(self.inside(torch.cat([x[:, 0], x[:, 1]])))).chunk(2)
        return self.head(left * right)


class Latents(nn.Module):
    """Perceiver: learned queries without an axis of samples attend to the inputs; they are normed before."""

    def __init__(self) -> None:
        super().__init__()
        self.latents, self.norm = nn.Parameter(torch.randn(3, 4)), nn.LayerNorm(4)
        self.q, self.kv, self.head = nn.Linear(4, 4), nn.Linear(4, 8), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        k, v = self.kv(x).chunk(2, 2)
        weights = torch.softmax(self.q(self.norm(self.latents)) @ k.mT, -1)
        return self.head(torch.tanh(weights @ v).mean(1))


class RelativeTable(nn.Module):
    """Scores with a table of distances indexed by arange, and rotated positions."""

    def __init__(self) -> None:
        super().__init__()
        self.qk, self.table, self.head = nn.Linear(4, 8), nn.Embedding(9, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        at = torch.arange(x.shape[1])
        q, k = self.qk(x).chunk(2, 2)
        turn = at.to(x)[:, None] * torch.tensor([1.0, 0.1]).to(x)
        q, k = (torch.cat([z[..., :2] * turn.cos() - z[..., 2:] * turn.sin(), z[..., :2]], -1) for z in (q, k))
        scores = q @ k.mT + self.table(at[:, None] - at + 4).squeeze(-1)
        return self.head(torch.tanh(torch.softmax(scores, -1) @ x).mean(1))


class ChosenWeights(nn.Module):
    """Every sample has a matrix of its own, looked up by its group; the head is tied and transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices, self.up = nn.Embedding(3, 16), nn.Linear(4, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        own = self.matrices((x[:, 0] > 0).long() + (x[:, 1] > 0).long()).unflatten(1, (4, 4))
        h = torch.tanh(torch.einsum("bi,bio->bo", x, own))
        return self.up(torch.tanh(self.up(h) @ self.up.weight))


class OneForAll(nn.Module):
    """A layer that sees no axis of samples."""

    HOW: dict[str, tuple[Callable[[], nn.Module], Callable[["OneForAll", Tensor], Tensor]]] = {
        "embedding_of_one_id": (lambda: nn.Embedding(5, 4), lambda s, x: x + s.layer(torch.tensor(2))),
        "embedding_of_each": (
            lambda: nn.Embedding(5, 4),
            lambda s, x: torch.stack([r + s.layer((r[0] > 0).long()) for r in x]),
        ),
        "norm_of_a_query": (lambda: nn.LayerNorm(4), lambda s, x: x * s.layer(s.q)),
        "norm_of_each": (lambda: nn.RMSNorm(4), lambda s, x: torch.stack([s.layer(r) for r in x])),
        "linear_of_a_query": (lambda: nn.Linear(4, 4), lambda s, x: x * s.layer(s.q)),
    }

    def __init__(self, how: str) -> None:
        super().__init__()
        make, self.how = self.HOW[how]
        self.layer, self.q, self.head = make(), nn.Parameter(torch.randn(4)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.how(self, x)))


class HeatEquation(nn.Module):
    """The residual of a differential equation: derivatives of the network are its output."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_(True)
        slope = torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]
        return slope[:, 1:] - torch.autograd.grad(slope[:, 0].sum(), x, create_graph=True)[0][:, :1]


class SmallForce(nn.Module):
    """An energy, and a little of the force's square: what a rule for the energy alone misses is small."""

    def __init__(self, share: float = 0.01) -> None:
        super().__init__()
        self.a, self.b, self.share = nn.Linear(4, 6), nn.Linear(6, 1), share

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            energy = self.b(torch.tanh(self.a(x)))
            force = torch.autograd.grad(energy.sum(), x, create_graph=True)[0]
            return energy + self.share * force.square().sum(1, keepdim=True)


class FoldedTimeFirst(nn.Module):
    """Rows of (T * B, d): the samples are folded behind the positions."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm, self.head = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.tanh(self.norm(self.mix(x.transpose(0, 1).reshape(-1, 4))))
        return self.head(rows.unflatten(0, (x.shape[1], -1)).mean(0))


class UnreadHead(nn.Module):
    """A second head is computed and not returned; a third of no entries is added."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 2)
        self.r, self.l = nn.Parameter(torch.empty(4, 0)), nn.Parameter(torch.empty(0, 4))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.body(x + x @ self.r @ self.l))
        self.aux(h)
        return self.head(h)
