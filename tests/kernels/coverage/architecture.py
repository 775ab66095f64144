"""One configuration of the coverage table: a small network of a published architecture, and inputs for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 4
Batch = Tensor | dict[str, Tensor]
MakeBatch = Callable[[int, torch.Generator], Batch]


@dataclass(frozen=True)
class Architecture:
    """A class of transformers with the settings that make it small.

    Attributes
    ----------
    name : str
        As in the table.
    model : str
        Class in transformers.
    settings : dict
        Of its configuration.
    batch : callable
        Makes n inputs.
    output : callable, optional
        Turns what the network returns into logits.
    single : str
        Why the network computes in float32 whatever its parameters are, so that errors are of its order.
    twice : str
        Why the reference takes each sample twice: torch differentiates it wrongly alone.
    refused : str
        The sentence with which the engine rightly refuses the network.
    """

    name: str
    model: str
    settings: dict[str, Any]
    batch: MakeBatch
    output: Callable[[Any], Tensor] | None = None
    single: str = ""
    twice: str = ""
    refused: str = ""

    def build(self) -> nn.Module:
        """Make the network, without downloads, from its configuration."""
        import transformers

        kind = getattr(transformers, self.model)
        return perturbed(kind(kind.config_class(**self.settings)))


def perturbed(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in evaluation mode, with gains, biases and running statistics that would show a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim <= 1:
                p.add_(0.2 * torch.randn(p.shape, generator=generator).to(p.dtype))
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(0.3 * torch.randn(b.shape, generator=generator))
            if name.endswith("running_var"):
                b.copy_(0.5 + torch.rand(b.shape, generator=generator))
    return model.eval()


def text(length: int = 8, *, vocabulary: int = 40, pad: int = 0, **more: Callable[..., Tensor]) -> MakeBatch:
    """Token ids padded on the right, each sample with a length of its own, and their mask."""

    def make(n: int, g: torch.Generator) -> dict[str, Tensor]:
        ids = torch.randint(3, vocabulary, (n, length), generator=g)
        lengths = length - torch.arange(n) % (length // 2)
        mask = (torch.arange(length)[None] < lengths[:, None]).long()
        batch = {"input_ids": torch.where(mask.bool(), ids, pad), "attention_mask": mask}
        return batch | {name: value(n, g) for name, value in more.items()}

    return make


def plain_text(length: int = 8, *, vocabulary: int = 40) -> MakeBatch:
    """Token ids of one length, for networks that know no mask."""
    return lambda n, g: {"input_ids": torch.randint(3, vocabulary, (n, length), generator=g)}


def image(size: int = 16, *, channels: int = 3) -> MakeBatch:
    """Images of independent pixels."""
    return lambda n, g: {"pixel_values": torch.randn(n, channels, size, size, generator=g)}


def numbers(**shapes: tuple[int, ...]) -> MakeBatch:
    """Named tensors of independent normal numbers."""
    return lambda n, g: {name: torch.randn(n, *shape, generator=g) for name, shape in shapes.items()}


def boxes(length: int = 8) -> Callable[..., Tensor]:
    """Bounding boxes (left, top, right, bottom) on a page of 64 x 64."""

    def make(n: int, g: torch.Generator) -> Tensor:
        corner = torch.randint(0, 30, (n, length, 2), generator=g)
        return torch.cat([corner, corner + torch.randint(1, 30, (n, length, 2), generator=g)], 2)

    return make


def last_token(found: Any) -> Tensor:
    """Logits of the first classes at the last position of a language model."""
    return found.logits[:, -1, :CLASSES]
