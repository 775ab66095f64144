"""How fast the page of ``stage=browse`` opens: ``python -m benchmarks.browse --runs 10000``.

The page of that many trainings, with their settings, numbers and curves, is opened three times from a file in headless
chromium; the time is from the start of loading until its first table stands.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.browse.contents import contents_of
from pipeline.browse.page import render
from pipeline.browse.rows import Rows
from pipeline.engine.inventory.record import Record
from pipeline.results.chosen import Chosen

NUMBERS = [f"{split}_{what}" for split in ("train", "val", "test") for what in ("accuracy", "loss", "n")]


def many(runs: int) -> dict[str, Any]:
    """Contents of a page of trainings: a hundred seeds of each setting, ten epochs of each."""
    draws = np.random.default_rng(0).random((runs, len(NUMBERS)))
    records, labels = [], {}
    for i in range(runs):
        seed, setting = i % 100, i // 100
        key = f"{i:012x}"
        text = "".join(f"training.setting_{j}: {j}\n" for j in range(50))
        text += f"seeds.init: {seed}\ntraining.lr: {0.001 * (1 + setting)}\n"
        metrics = {**dict(zip(NUMBERS, draws[i].tolist(), strict=True)), "epochs": 10}
        provenance = {"command": f"python run.py experiment=many training.lr={setting} seed={seed} stage=train"}
        place = f"/a store/train/{key[:2]}/fashion_mnist-mlp-s{seed}-{key}"
        record = Record("train", f"fashion_mnist-mlp-s{seed}-{key}", place, 1.8e9 + i, 1, 1000, key, provenance)
        record = Record(**{**vars(record), "settings_text": text, "metrics_text": json.dumps(metrics)})
        records.append(record)
        labels[key] = {"rate": f"lr={setting}", "seed": str(seed)}
    chosen = Chosen(records, {one.address: one for one in records}, labels)
    rows = Rows(chosen, ["done"] * runs, studies=[["many"]] * runs)
    contents = contents_of(rows, Path("/a store"), Path("/a store/browse.html"))
    losses = [round(float(loss), 4) for loss in draws[0][:1].repeat(10)]
    curve = {"epochs": list(range(1, 11)), "values": {"train_loss": losses, "val_loss": losses}}
    contents["curves"] = {"curves": [{"row": i, "name": "", **curve} for i in range(runs)], "left_out": 0}
    return contents


def main() -> None:
    from tests.browser.chromium import start

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "browse.html"
        file.write_text(render(many(options.runs)), encoding="utf-8")
        page = start(Path(folder) / "chromium")
        page.screen(1280)
        for _ in range(3):
            page.open(file)
            ready = page.run("return performance.getEntriesByName('ready')[0].startTime")
            print(f"{options.runs} runs, {file.stat().st_size / 1e6:.1f} MB: {ready:.0f} ms", flush=True)
        page.driver.quit()


if __name__ == "__main__":
    main()
