"""Adversarial training: every batch of images is attacked before the step on it (arXiv:1706.06083, section 2.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.gradient_attack import PixelBall, projected_gradient_attack
from models.logits import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class BatchAttack:
    """Attack on the images of a training batch.

    Attributes
    ----------
    ball : PixelBall
        The region that attacked images stay in.
    steps : int
        Steps of projected gradient ascent.
    seed : int
        Seed of the random starts, independent of the seeds of model and data. Every training step derives its own,
        so that a resumed run draws the same starts.

    Examples
    --------
    >>> import torch
    >>> from models import BatchAttack, PixelBall
    >>> attack = BatchAttack(PixelBall.of(0.1, channels=1, mean=None, std=None), steps=3, seed=0)
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    >>> batch = {"image": torch.full((1, 1, 2, 2), 0.5), "label": torch.tensor([0])}
    >>> moved = attack(network, lambda batch: network(batch["image"]), batch, step=0)
    >>> round(float((moved["image"] - batch["image"]).abs().max()), 6)  # in a corner of the ball
    0.1
    """

    ball: PixelBall
    steps: int
    seed: int

    def __call__(self, network: nn.Module, scores: Callable[[Batch], Tensor], batch: Batch, step: int) -> Batch:
        """Replace the images of a batch.

        Parameters
        ----------
        network : nn.Module
            The network under attack; it is in evaluation mode meanwhile, so that the attack draws no dropout masks
            and leaves running statistics alone.
        scores : callable
            From a batch to the network's outputs, (m, C) or (m, 1).
        batch : dict
            With ``image`` and ``label``.
        step : int
            Optimizer steps so far.

        Returns
        -------
        dict
            The batch with attacked images.
        """
        word = hashlib.blake2b(f"{self.seed}|{step}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(word, "little") >> 1)
        image = batch["image"]
        with evaluation(network):
            moved = projected_gradient_attack(
                lambda images: scores({**batch, "image": images}),
                image,
                batch["label"],
                radius=self.ball.radius.to(image),
                low=self.ball.low.to(image),
                high=self.ball.high.to(image),
                steps=self.steps,
                generator=generator,
            )
        return {**batch, "image": moved}


@contextmanager
def evaluation(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and every module back into its previous mode afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
