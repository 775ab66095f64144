"""What a hundred times the compute would decide: the plan in ``docs/beyond.md``, with its cost.

``python -m scripts.beyond`` writes the page's table from the experiments: the core hours are those that ``stage=status
scale=published`` plans, and GPU hours follow from how fast one core multiplies matrices, which ``python -m
scripts.beyond --measure`` has measured, and from the rate that a GPU is taken to keep up.
"""

from __future__ import annotations

import argparse
import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.engine.cells import compose_run
from pipeline.engine.composition.command_words import shell_word
from pipeline.engine.planned import core_hours, seeds_of
from pipeline.machine.provenance import current_commit
from scripts.kept_cells import ROOT

PAGE = ROOT / "docs" / "beyond.md"
CORE = ROOT / "results" / "plan" / "core_rate.json"
MARKS = ("<!-- table, made by `python -m scripts.beyond` -->", "<!-- end of the table -->")
GPU_RATE = 20e12
"""Floating-point operations a second that a GPU is taken to keep up in strict float32: an assumption, not measured."""


@dataclass(frozen=True)
class Item:
    """One run of the plan: the overrides of its command, and what it would decide."""

    overrides: tuple[str, ...]
    decides: str


PLAN = (
    Item(
        ("experiment=pntk_mnist2_mlp", "cells.seed='0:100'"),
        "Study 6: τ and accuracy of four kernels with the error of the published 100 networks, and their order where "
        "two of them differ by less than their spread over 10.",
    ),
    Item(
        ("experiment=pntk_mnist2_cnn", "cells.seed='0:100'"),
        "Study 6: the same of the convolutional network.",
    ),
    Item(
        ("experiment=pntk_fmnist2_cnn", "cells.seed='0:100'"),
        "Study 6: whether τ of T-shirts and trousers is the published one, to its own error.",
    ),
    Item(
        ("experiment=pntk_cifar2_cnn", "cells.seed='0:100'"),
        "Study 6: the same on airplanes and cars, where 5 networks give a far wider interval than the published one.",
    ),
    Item(
        ("experiment=pntk_poison",),
        "Study 6: whether attributions find planted images among all 50,000 training images, and whether the machine "
        "of the trace kernel keeps the triggered accuracy.",
    ),
    Item(
        ("experiment=pntk_resnet18",),
        "Study 6: whether the trace kernel of a ResNet-18 of full width and 50,000 rows ranks test points as the "
        "network does, and what its sketch loses.",
    ),
    Item(
        ("experiment=probes_resnet18",),
        "Study 5: all six claims, at the published accuracy: variance, components, the best classifier, collapse "
        "before the last layer.",
    ),
    Item(
        ("experiment=spectra_cnn", "cells.seed='0:20'"),
        "Study 7: whether Adam moves spectra and alignment more than SGD in the convolutional network, which 3 seeds "
        "leave open.",
    ),
    Item(
        ("experiment=spectra_resnet18", "cells.seed='0:20'"),
        "Study 7: the same of a ResNet-18 of full width that is trained to the end.",
    ),
    Item(
        ("experiment=trimming_cifar2", "cells.seed='0:2000'"),
        "Studies 1 and 2: B1 and B3 over 2,000 runs, ten times the published number.",
    ),
    Item(
        ("experiment=pntk_adversarial", "cells.seed='0:100'"),
        "Study 6: the three claims on attacks with ten times the published networks, of which 10 leave transfer open.",
    ),
)


def command_of(item: Item) -> str:
    """Write the one command of an item, on a GPU."""
    words = ("python", "run.py", *item.overrides, "scale=published", "numerics=cuda")
    return " ".join(map(shell_word, words))


def rows() -> list[dict[str, Any]]:
    """Give every item with its seeds, core hours and GPU hours, the cheapest first.

    Raises
    ------
    SystemExit
        If an experiment has no measured hours.
    """
    core = 2 * json.loads(CORE.read_text(encoding="utf-8"))["multiply_adds_per_second"]
    found = []
    for item in PLAN:
        config = compose_run((*item.overrides, "scale=published"))
        hours = core_hours(config)
        if hours is None:
            raise SystemExit(f"{item.overrides[0]} has no published.train_hours: measure it before it is planned.")
        row = {"item": item, "seeds": seeds_of(config), "core": hours, "gpu": hours * core / GPU_RATE}
        found.append(row)
    return sorted(found, key=lambda row: row["core"])


def table() -> str:
    """Write the table and the commands."""
    core = json.loads(CORE.read_text(encoding="utf-8"))
    planned = rows()
    lines = [
        f"One core: {2e-9 * core['multiply_adds_per_second']:.0f} GFLOP/s in float32 products (`python -m "
        f"scripts.beyond --measure`, {core['date']}, commit {core['commit'][:7]}). One GPU is taken to keep up "
        f"{GPU_RATE / 1e12:g} TFLOP/s, which has not been measured.",
        "",
        "| run | seeds | core hours | GPU hours | what it would decide |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in planned:
        name = row["item"].overrides[0].partition("=")[2]
        cells = [f"`{name}`", f"{row['seeds']:,}", f"{row['core']:,.1f}", f"{row['gpu']:,.1f}", row["item"].decides]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        f"| all of them | | {sum(row['core'] for row in planned):,.0f} | {sum(row['gpu'] for row in planned):,.0f} | |",
        "",
        "One command each:",
        "",
        "```bash",
        *(command_of(row["item"]) for row in planned),
        "```",
    ]
    return "\n".join(lines)


def page(text: str) -> str:
    """Put the table between its two comments."""
    start, end = MARKS
    return text[: text.index(start)] + f"{start}\n\n{table()}\n\n{end}" + text[text.index(end) + len(end) :]


def measure() -> dict[str, Any]:
    """Measure how fast one core multiplies matrices, the best of seven times."""
    import torch

    from kernels.machine.precision import PRECISIONS
    from kernels.machine.rates import measure_rate

    torch.set_num_threads(1)
    best = 0.0
    for _ in range(7):
        measure_rate.cache_clear()
        best = max(best, measure_rate(torch.device("cpu"), PRECISIONS["float32"]))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"multiply_adds_per_second": float(f"{best:.3g}"), "date": today, "commit": current_commit()}


def main() -> None:
    """Write the page, or measure a core."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="measure how fast a core multiplies matrices first")
    if parser.parse_args().measure:
        CORE.parent.mkdir(parents=True, exist_ok=True)
        Path(CORE).write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
