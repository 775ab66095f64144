"""Attribution methods behind one interface: a score of every training point for every test point.

Each method reads the same points as the run's kernel. Positive scores support the attributed class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import softmax
from torch import Tensor, nn

from analysis.attribution.decomposition import attribute
from analysis.attribution.representer import RepresenterHead, refit_representer_head, representer_scores
from analysis.attribution.similarity import embedding_scores, random_scores, same_label_scores
from analysis.attribution.text_overlap import bm25_scores
from analysis.attribution.tracin import tracin_scores
from analysis.attribution.trak import TrakNetwork, trak_scores
from kernels import fit_ekfac, influence_scores, kernel_features
from kernels.fisher import EKFAC
from pipeline.config.attribution import AttributionConfig
from pipeline.data.datamodule import DataModule, KernelInputs
from pipeline.engine.build import Build
from pipeline.stages.attribution.curvature import Curvature, influence_damping
from pipeline.stages.attribution.unrolled import Unrolled
from pipeline.stages.kernel.read import KernelSide
from pipeline.stages.surrogate.read import read_coefficients
from pipeline.stages.train.read import load_snapshot, outputs_at, read_network_outputs, read_recorded_steps
from pipeline.training.kept_files import KeptFiles
from pipeline.training.networks import build_network, output_layer, trained_network
from pipeline.training.replaying import open_replay

GRADIENT_METHODS = (
    "grad_dot",
    "grad_cos",
    "tracin",
    "trak",
    "influence",
    "exact_influence",
    "cg_influence",
    "magic",
    "source",
    "representer",
    "embedding",
    "activations",
)
"""Methods that need the network; the others read stored arrays only."""
_BUDGET = "2GiB"
"""Memory of influence scores: a number of its own, since the size of pieces decides last bits."""
SELF_METHODS = (
    "kernel",
    "grad_dot",
    "tracin",
    "trak",
    "influence",
    "exact_influence",
    "cg_influence",
    "magic",
    "source",
    "representer",
    "random",
)
"""Methods whose score of a training point for itself measures how hard it is to learn from the others."""


class Attributor:
    """All methods for one network, its kernel and its surrogate.

    Parameters
    ----------
    config : AttributionConfig
        Sketch size, ridge, damping, penalty and seed.
    train : KernelSide
        Training points of the kernel.
    weights, offsets : ndarray, shapes (C, n), (C,), or None
        The surrogate's; None for k-NN.
    network : nn.Module or None
        In evaluation mode, for the methods of `GRADIENT_METHODS`.
    inputs : KernelInputs
        The training points as the network takes them.
    checkpoints : sequence of (float, nn.Module)
        For tracin: learning rate and network at each checkpoint.
    others : sequence of (ndarray of shape (n, C), nn.Module)
        For trak: log-scores of the training points and network of each other training.
    head : str or None
        Module that computes the logits, where the user names it.
    curvature : Curvature or None
        For exact_influence and cg_influence.
    unrolled : Unrolled or None
        For magic and source.
    """

    def __init__(
        self,
        config: AttributionConfig,
        train: KernelSide,
        weights: Float[np.ndarray, "C n"] | None,
        offsets: Float[np.ndarray, " C"] | None,
        network: nn.Module | None,
        inputs: KernelInputs,
        checkpoints: Sequence[tuple[float, nn.Module]] = (),
        others: Sequence[tuple[Float[np.ndarray, "n C"], nn.Module]] = (),
        head: str | None = None,
        curvature: Curvature | None = None,
        unrolled: Unrolled | None = None,
    ) -> None:
        self.config, self.train, self.network, self.inputs, self.head = config, train, network, inputs, head
        self.weights, self.offsets = weights, offsets
        self.checkpoints, self.others, self.curvature, self.unrolled = checkpoints, others, curvature, unrolled
        self._features: dict[str, Float[Tensor, "n k"]] = {}

    def scores(
        self, method: str, side: KernelSide, points: KernelInputs, classes: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m n"]:
        """Score the training points for one class of each point of a side.

        Parameters
        ----------
        method : str
            One of the configuration's names.
        side : KernelSide
            Kernel rows of the test points.
        points : KernelInputs
            The same points as the network takes them.
        classes : ndarray of int, shape (m,)
            Attributed classes.
        """
        table: dict[str, Callable[[KernelSide, KernelInputs, np.ndarray], np.ndarray]] = {
            "kernel": self._kernel,
            "similarity": lambda side, points, classes: np.asarray(side.kernel, np.float64),
            "grad_dot": self._grad_dot,
            "grad_cos": self._grad_cos,
            "tracin": self._tracin,
            "trak": self._trak,
            "influence": self._influence,
            "exact_influence": lambda side, points, classes: self._exact.dual(points, classes),
            "cg_influence": lambda side, points, classes: self._exact.conjugate(points, classes),
            "magic": lambda side, points, classes: self._unrolled.magic(points, classes),
            "source": lambda side, points, classes: self._unrolled.source(points, classes),
            "representer": self._representer,
            "embedding": lambda side, points, classes: embedding_scores(
                self._hidden(points), self._hidden(self.inputs)
            ),
            "activations": lambda side, points, classes: embedding_scores(
                self._activations(points), self._activations(self.inputs)
            ),
            "pixels": lambda side, points, classes: embedding_scores(_plain(points), _plain(self.inputs)),
            "bm25": lambda side, points, classes: bm25_scores(_tokens(points), _tokens(self.inputs)),
            "same_label": lambda side, points, classes: same_label_scores(classes, self.train.labels),
            "random": lambda side, points, classes: random_scores(
                len(classes), len(self.train.labels), np.random.default_rng([self.config.seed, len(classes)])
            ),
        }
        return table[method](side, points, classes)

    def damped(
        self, method: str, points: KernelInputs, classes: Int[np.ndarray, " m"], times: float
    ) -> Float[np.ndarray, "m n"]:
        """Score by influence with ``times`` the damping that the configuration stands for."""
        if method == "exact_influence":
            return self._exact.dual(points, classes, times=times)
        if method == "cg_influence":
            return self._exact.conjugate(points, classes, times=times)
        fisher = dataclasses.replace(self._fisher, damping=times * self._fisher.damping)
        return self._ekfac_scores(fisher, points, classes)

    def forget_gradients(self) -> None:
        """Drop what methods share, so that the next one pays for itself when it is timed."""
        self._features.clear()

    def self_scores(self, method: str) -> Float[np.ndarray, " n"]:
        """Score every training point for its own label at itself."""
        return np.diagonal(self.scores(method, self.train, self.inputs, self.train.labels)).copy()

    def _kernel(self, side: KernelSide, points: KernelInputs, classes: np.ndarray) -> np.ndarray:
        assert self.weights is not None and self.offsets is not None
        return attribute(self.weights, self.offsets, np.asarray(side.kernel, np.float64), classes)

    def _gradients(
        self, kind: str, points: KernelInputs, labels: np.ndarray, network: nn.Module | None = None
    ) -> np.ndarray:
        """Sketched gradients; those of the run's network at training points under their own labels are cached."""
        own = network is None and points is self.inputs and np.array_equal(labels, self.train.labels)
        if own and kind in self._features:
            return self._features[kind].numpy()
        network = network or self._network
        dim = min(self.config.dim, sum(p.numel() for p in network.parameters()))
        made = kernel_features(
            network,
            points.inputs,
            kind=kind,
            sketch="tensorsketch",
            dim=dim,
            seed=self.config.seed,
            labels=torch.from_numpy(np.ascontiguousarray(labels)),
        )
        values = made.values.double().cpu()
        if own:
            self._features[kind] = values
        return values.numpy()

    @property
    def _network(self) -> nn.Module:
        assert self.network is not None
        return self.network

    def _grad_dot(self, side: KernelSide, points: KernelInputs, classes: np.ndarray) -> np.ndarray:
        train = self._gradients("loss_gradient", self.inputs, self.train.labels)
        return self._gradients("loss_gradient", points, classes) @ train.T

    def _grad_cos(self, side: KernelSide, points: KernelInputs, classes: np.ndarray) -> np.ndarray:
        train = self._gradients("loss_gradient", self.inputs, self.train.labels)
        return embedding_scores(self._gradients("loss_gradient", points, classes), train, "cosine")

    def _tracin(self, side: KernelSide, points: KernelInputs, classes: np.ndarray) -> np.ndarray:
        grams = (
            self._gradients("loss_gradient", points, classes, network)
            @ self._gradients("loss_gradient", self.inputs, self.train.labels, network).T
            for _, network in self.checkpoints
        )
        return tracin_scores(grams, [rate for rate, _ in self.checkpoints])

    def _trak(self, side: KernelSide, points: KernelInputs, classes: np.ndarray) -> np.ndarray:
        networks = []
        for outputs, network in ((self.train.network, None), *self.others):
            train = self._gradients("log_odds", self.inputs, self.train.labels, network)
            test = self._gradients("log_odds", points, classes, network)
            own = softmax(outputs, axis=1)[np.arange(len(train)), self.train.labels]
            networks.append(TrakNetwork(train, test, own))
        return trak_scores(networks, self.config.ridge).scores

    @cached_property
    def _fisher(self) -> EKFAC:
        return fit_ekfac(self._network, self.inputs.inputs, seed=self.config.seed, damping=self.config.damping)

    @property
    def _exact(self) -> Curvature:
        assert self.curvature is not None
        return self.curvature

    @property
    def _unrolled(self) -> Unrolled:
        assert self.unrolled is not None
        return self.unrolled

    def _activations(self, points: KernelInputs) -> np.ndarray:
        made = kernel_features(self._network, points.inputs, kind="embedding", sketch=None)
        return made.values.double().cpu().numpy()

    def _influence(self, side: KernelSide, points: KernelInputs, classes: np.ndarray) -> np.ndarray:
        return self._ekfac_scores(self._fisher, points, classes)

    def _ekfac_scores(self, fisher: EKFAC, points: KernelInputs, classes: np.ndarray) -> np.ndarray:
        found = influence_scores(
            self._network,
            fisher,
            self.inputs.inputs,
            points.inputs,
            labels=torch.from_numpy(self.train.labels),
            test_labels=torch.from_numpy(np.ascontiguousarray(classes)),
            memory=_BUDGET,
        )
        assert isinstance(found, Tensor)
        return found.double().cpu().numpy()

    def _hidden(self, points: KernelInputs) -> np.ndarray:
        if points is not self.inputs or "hidden" not in self._features:
            made = kernel_features(self._network, points.inputs, kind="conjugate", sketch=None, output_layer=self.head)
            values = made.values.double().cpu()
            if points is not self.inputs:
                return values.numpy()
            self._features["hidden"] = values
        return self._features["hidden"].numpy()

    def _representer(self, side: KernelSide, points: KernelInputs, classes: np.ndarray) -> np.ndarray:
        train, test = (np.column_stack([h, np.ones(len(h))]) for h in map(self._hidden, (self.inputs, points)))
        return representer_scores(test, train, self._head.alphas, classes)

    @cached_property
    def _head(self) -> RepresenterHead:
        hidden = self._hidden(self.inputs)
        return refit_representer_head(
            np.column_stack([hidden, np.ones(len(hidden))]), self.train.labels, self.config.penalty
        )


def _plain(points: KernelInputs) -> Float[np.ndarray, "n d"]:
    """Flatten images and vectors."""
    assert isinstance(points.inputs, Tensor)
    return points.inputs.double().flatten(1).numpy()


def _tokens(points: KernelInputs) -> list[Int[np.ndarray, " t"]]:
    """List the tokens of each text, without padding."""
    assert isinstance(points.inputs, dict)
    ids, masks = points.inputs["input_ids"].numpy(), points.inputs["attention_mask"].numpy()
    return [row[mask != 0] for row, mask in zip(ids, masks, strict=True)]


def open_attributor(
    build: Build, data: DataModule, train: KernelSide, methods: list[str], device: torch.device
) -> Attributor:
    """Load the networks that the methods need: the run's, its checkpoints and those of other seeds."""
    config, network = build.config, None
    if set(methods) & set(GRADIENT_METHODS):
        network = trained_network(config, data, build.inputs["weights"]).to(device)
    checkpoints: list[tuple[float, nn.Module]] = []
    others = []
    if "checkpoints" in build.inputs:
        recorded, rates = build.inputs["checkpoints"], config.attribution.rates
        for row in read_recorded_steps(recorded):
            network_then = load_snapshot(build_network(config, data), recorded, row["step"])
            rate = rates[len(checkpoints)] if rates else row["lr"]
            checkpoints.append((rate, network_then.to(device)))
    for role, other in build.inputs.items():
        if role.startswith("seed "):
            outputs = outputs_at(read_network_outputs(config, other), "train", train.ids)
            others.append((outputs, trained_network(config, data, other).to(device)))
    inputs = data.kernel_inputs("train", config.kernel.n_train)
    machine = read_coefficients(build.inputs["surrogate"])
    head, choice = output_layer(config), config.attribution
    curvature = None
    if network is not None and {"exact_influence", "cg_influence"} & set(methods):
        damping = influence_damping(config, data.size("train"))
        loss = config.training.loss
        curvature = Curvature(
            network, inputs, train.labels, loss, damping, choice.damping, choice.cg_tol, choice.cg_steps
        )
    keep = KeptFiles(build.scratch / "attribution")
    if curvature is not None:
        curvature.keep, curvature.say = keep, build.say
    unrolled = None
    if network is not None and {"magic", "source"} & set(methods):
        replay = open_replay(config, data, build.inputs.get("pretrained"), device)
        places = data.places("train", inputs.ids)
        unrolled = Unrolled(replay, network, data.kind, inputs, train.labels, places, choice.segments, keep, build.say)
        unrolled.refuse_another_run()
    return Attributor(choice, train, *machine, network, inputs, checkpoints, others, head, curvature, unrolled)
