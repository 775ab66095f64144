"""Why a change of training does not do what its derivative says: kinks, the learning rate, or rounding?

    python -m benchmarks.rough_training

trains the network of `experiment=pntk_retraining` (overrides in its place are taken) with ReLU and GELU at three rates,
again with the weights of a random tenth of the rows lowered by steps from 1e-8 to 1, and prints for each step the
relative error of what the exact derivative foretells (`step_agreement`), and in how many of all pairs of hidden unit
and row of a batch, over all steps of training, the unit is on the other side of its kink than before.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from analysis.attribution import Replay, random_subsets, step_agreement
from pipeline.data.datamodule import DataModule, open_data
from pipeline.engine.artifacts import Store
from pipeline.engine.cells import compose_run
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.training.outcomes import log_odds_of
from pipeline.training.replaying import double_inputs, open_replay

STEPS = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
PARTS = 3
RATES = (0.02, 0.005, 0.001)


def prepared(words: tuple[str, ...], folder: Path) -> DataModule:
    config, graph = compose_run(("experiment=pntk_retraining", *words)), Graph()
    return open_data(config, Puller(Store(folder), graph, workers=1).pull(graph.resolve("prepare", config)))


def sides(replay: Replay, weights: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Train with these weights of the rows; the end, and which side of its kink each unit was on at every step."""
    seen: list[Tensor] = []
    linear = [module for module in replay.network.modules() if isinstance(module, nn.Linear)][:-1]
    hooks = [module.register_forward_hook(lambda _, __, out: seen.append(out.detach() > 0)) for module in linear]
    try:
        return replay.run(weights), seen
    finally:
        for hook in hooks:
            hook.remove()


def row(words: tuple[str, ...], data: DataModule) -> str:
    config = compose_run(("experiment=pntk_retraining", *words))
    replay = open_replay(config, data, None, torch.device("cpu"))
    points = data.kernel_inputs("test", config.kernel.n_test)
    inputs = double_inputs(points.inputs, data.kind)

    def measure(weights: Tensor) -> Tensor:
        return log_odds_of(replay.outputs(weights, inputs), points.labels)

    derivative = replay.derivative(measure).numpy()
    parts = ~random_subsets(replay.rows, PARTS, np.random.default_rng(0), fraction=0.9)
    ones = torch.ones(replay.rows, dtype=torch.float64)
    end, before = sides(replay, ones)
    whole = sum(one.numel() for one in before)
    changes, crossed = np.empty((len(STEPS), PARTS, len(derivative))), np.zeros(len(STEPS))
    for place, step in enumerate(STEPS):
        for number, part in enumerate(parts):
            other, after = sides(replay, ones - step * torch.from_numpy(part))
            changes[place, number] = (measure(other) - measure(end)).detach().numpy()
            moved = sum(int((a != b).sum()) for a, b in zip(before, after, strict=True))
            crossed[place] += moved / whole / PARTS
    found = step_agreement(derivative, parts, changes, STEPS)
    cells = [f"{one.error:.1e} ({100 * share:.2g} %)" for one, share in zip(found, crossed, strict=True)]
    return f"| {config.model.activation} | {config.training.lr:g} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("words", nargs="*", help="overrides, such as training.epochs=5")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = prepared(tuple(given.words), Path(folder))
        print(f"| activation | rate | {' | '.join(f'{step:g}' for step in STEPS)} |")
        print(f"| --- | --- | {' | '.join('---' for _ in STEPS)} |")
        for rate in given.rates:
            for activation in ("relu", "gelu"):
                words = (f"training.lr={rate:g}", f"model.activation={activation}", *given.words)
                print(row(words, data), flush=True)


if __name__ == "__main__":
    main()
