"""Every command that the README, the docs and the comments of conf/ print does what it says when it is pasted."""

import io
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pipeline.checks.general import check
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import METRICS, Store, open_partial, write_json
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.inventory.completion import complete
from pipeline.help import INTRODUCTION, help_page
from pipeline.results.differences import show_differences
from tests.own_work import enter, network, write_network, write_resnet_weights
from tests.pipeline.data.own_files import flowers, verdicts, write_photos

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FILES = sorted((ROOT / "conf").rglob("*.yaml"))
COMMAND = re.compile(r"python run\.py\b")
WORD = r"""(?<![\w.`'/])(?:'[a-z_][\w.]*=[^']*'|\+?[a-z_][\w.]*=(?:[^\s'"`]|'[^']*'|"[^"]*")+)"""
ELSEWHERE = (
    "hardware=slurm",
    "numerics=cuda",
    "data.source=hub",
    "logging=wandb",
    "logging.uri=",
    "serve=",
    "--hydra-help",
)
"""Words of commands that need a cluster, a card, a network or a service, or are one; they are composed, not run."""


def commands_of(text: str) -> list[list[str]]:
    """Commands of a page, split as a shell would; an inline one ends with its backtick, a described one at a gap."""
    text = re.sub(r"\\\n\s*", "", text)
    for name, value in re.findall(r"^(\w+)='(.*)'$", text, re.M):
        text = text.replace(f"${name}", value)
    found = []
    for match in COMMAND.finditer(text):
        inline = text[match.start() - 1] == "`"
        end = text.index("`", match.start()) if inline else (text + "\n").index("\n", match.start())
        line = re.split(r"\s{2,}", text[match.end() : end].replace("\n", " ").strip())[0]
        found.append(shlex.split(line, comments=True))
    return found


def comments_of(path: Path) -> str:
    """Comments of a file; a line that continues the one before is joined to it."""
    lines = re.findall(r"(?:^|\s)#[ ]?(.*)", path.read_text())
    return "\n".join(lines)


def fragments_of(path: Path) -> list[list[str]]:
    """Settings that stand in a row in the comments of a file, to be added to the choice that the file is."""
    text = COMMAND.sub("python run.py ", " ".join(comments_of(path).replace("\\\n", " ").split()))
    rows: list[list[str]] = [[]]
    end = -1
    for match in re.finditer(WORD, text):
        word = match[0].rstrip(".,:;)")
        if end != match.start() - 1:
            rows.append([])
        rows[-1] += [one for one in shlex.split(word) if not re.search(r"=[A-Z]+$", one)]
        end = match.end() if word == match[0] else -2
    return [row for row in rows if row and not row[0].startswith("experiment=")]


PRINTED = [(page.name, words) for page in PAGES for words in commands_of(page.read_text())]
PRINTED += [(path.name, words) for path in FILES for words in commands_of(comments_of(path))]
PRINTED += [("--help", words) for words in commands_of(INTRODUCTION)]
PRINTED = list({tuple(words): (place, words) for place, words in PRINTED}.values())
FRAGMENTS = [(path, words) for path in FILES if path.parent.name != "conf" for words in fragments_of(path)]

BY_SCRIPT = {"attribution_ranking.md"}
"""Pages on which one command stands many times, with the settings of one table after another."""


def sweep(words: list[str]) -> list[tuple[str, ...]]:
    """Overrides of each job of a command, without the flags."""
    overrides = [word for word in words if not word.startswith("-")]
    for word in overrides:
        spread = re.fullmatch(r"(\w+)=range\((\d+),(\d+)\)", word)
        if spread:
            rest = [one for one in overrides if one != word]
            return [(*rest, f"{spread[1]}={value}") for value in range(int(spread[2]), int(spread[3]))]
    return [tuple(overrides)]


def test_there_are_commands_to_look_at():
    assert len(PRINTED) > 45 and len(FRAGMENTS) > 25


@pytest.mark.parametrize(("place", "words"), PRINTED, ids=[f"{place}: {' '.join(words)}" for place, words in PRINTED])
def test_a_printed_command_composes(place, words, tmp_path, monkeypatch):
    assert "..." not in words, "a command stands as it is run"
    if any("mynet" in word for word in words):  # the reader's own file
        enter(write_network(tmp_path), monkeypatch, "mynet")
    if "--help" in words:
        assert help_page(words)
    elif all(word.startswith("experiment=") for word in words):  # tests/pipeline/test_configuration.py composes these
        assert {word.partition("=")[2] for word in words} <= {path.stem for path in FILES}
    elif "--hydra-help" not in words:
        check(compose_run(tuple(word for word in sweep(words)[0] if word != "job")))


def test_the_keys_that_the_readme_compares_are_those_of_its_study(tmp_path, capsys):
    typed = next(words for words in commands_of((ROOT / "README.md").read_text()) if "stage=diff" in words)
    graph = Graph(["experiment=quickstart", "cells.seed=0:2", 'cells.model=[["model=mlp"]]'])
    cells = graph.cells(graph.compose())
    keys = dict.fromkeys(graph.resolve("train", cell.config, cell.overrides).key for cell in cells)
    between = typed[-1].partition("=")[2].strip("[]").split(",")
    assert between == [key[:4] for key in keys], "write these digits into README.md"
    write_compared(tmp_path, typed)
    show_differences(Graph(typed), Store(tmp_path), RunConfig(stage="diff", between=between))
    assert "number  accuracy" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "words"), FRAGMENTS, ids=[f"{path.stem}: {' '.join(words)}" for path, words in FRAGMENTS]
)
def test_settings_in_the_comments_of_a_file_go_with_it(path, words):
    alone = ["stage=prepare"] if path.parent.name in ("data", "model") else []  # rows are prepared for any model
    check(compose_run((f"{path.parent.name}={path.stem}", *alone, *words)))


def write_printed_files(folder: Path) -> None:
    """Write made-up files under the names that printed commands use."""
    generator = np.random.default_rng(0)
    for names, rows in ((("train", "TRAIN"), 400), (("test", "TEST"), 150)):
        labels = np.arange(rows) % 10
        pixels = [generator.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in labels]
        images = pa.table({"image": [{"bytes": png(one), "path": None} for one in pixels], "label": labels})
        for name in names:
            pq.write_table(images, folder / f"{name}.parquet")
    (folder / "jpeg").mkdir()
    copies = [{"bytes": png(one // 2), "path": None} for one in pixels]
    pq.write_table(pa.table({"image": copies, "label": labels}), folder / "jpeg" / "test.parquet")
    write_resnet_weights(folder)
    sizes = {"in_domain_train": 200, "in_domain_dev": 100, "out_of_domain_dev": 100, "P": 200, "M": 99}
    sizes |= {"sst2/train": 200, "sst2/validation": 100}
    (folder / "sst2").mkdir()
    for name, rows in sizes.items():
        labels = [row % 2 for row in range(rows)]
        texts = [f"{'good' if label else 'bad'} sentence number {row} of {name}" for row, label in enumerate(labels)]
        pq.write_table(pa.table({"text": texts, "label": labels}), folder / f"{name}.parquet")
        lines = [f"source\t{label}\t\t{text}\n" for label, text in zip(labels, texts, strict=True)]
        (folder / f"{name}.tsv").write_text("".join(lines))
        lines = [f'"{4 * one}","{row}","now","no","user{row}","{texts[row]}"\n' for row, one in enumerate(labels)]
        (folder / f"{name}.csv").write_text("".join(lines))
    write_photos(folder / "photos", train=10, test=4)
    (folder / "train.csv").write_text(verdicts(60))
    (folder / "flowers.csv").write_text(flowers())
    for name, word in (("a", "plain"), ("b", "strange")):
        (folder / f"{name}.txt").write_text("".join(f"{word} sentence number {row}\n" for row in range(60)))


def write_runs(folder: Path) -> None:
    """Write trained weights and outputs of five runs, for the default data."""
    (folder / "runs").mkdir()
    labels = np.arange(150) % 10
    np.save(folder / "labels.npy", labels)
    for seed in range(5):
        torch.save(network(seed, classes=10).state_dict(), folder / "runs" / f"seed{seed}.pt")
        noise = np.random.default_rng(seed).normal(0, 1, (150, 10))
        np.save(folder / "runs" / f"{seed}.npy", noise + 2 * np.eye(10)[labels])


def write_compared(store: Path, words: list[str]) -> None:
    """Write two finished trainings whose keys begin as a command says."""
    for word in words:
        for seed, begin in enumerate(re.findall(r"\w+", word.partition("=")[2]) if word.startswith("between=") else ()):
            key = begin.ljust(12, "0")
            folder = Store(store).folder("train", f"fashion_mnist-mlp-s{seed}", key)
            if not folder.exists():
                write_json(open_partial(folder) / METRICS, {"accuracy": 0.5 + seed / 8})
                complete(folder, {"stage": "train", "key": key, "version": 1}, {})


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.experiments
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("place", "words"), PRINTED, ids=[f"{place}: {' '.join(words)}" for place, words in PRINTED])
def test_a_printed_command_runs(place, words, shared_store, tmp_path, monkeypatch, run_here):
    if {"--help", "--hydra-help", "--cfg"} & set(words) or any(word.startswith(ELSEWHERE) for word in words):
        pytest.skip("composed only")
    if place in BY_SCRIPT and words is not next(w for p, w in PRINTED if p == place and w[0] == words[0]):
        pytest.skip("composed only: a script prints one such command for each of the page's tables")
    write_printed_files(tmp_path)
    enter(write_network(tmp_path), monkeypatch, "mynet")
    write_runs(tmp_path)
    shared_store.mkdir(parents=True, exist_ok=True)
    write_compared(shared_store, words)
    for overrides in sweep(words)[:2]:
        run_here(*overrides, "debug=tiny", f"paths.store={shared_store}")
