"""Stage ``shift`` on made-up embeddings of real text files: tests, controls, report, and refusals."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest

from analysis.pages.blocks import Picture, Table
from analysis.verdicts import OPEN, Claim
from pipeline.data.datamodule import DataModule
from pipeline.engine.artifacts import Store
from pipeline.engine.cells import compose_run
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from pipeline.stages.shift.report import section
from pipeline.stages.shift.run import shift
from tests.stages.stage_cases import artifact_with_files, following, run_on

WORDS = "train loss seed layer kernel stage model weight rank draw figure table".split()


def write_csv(path, n, seed, blank):
    rng = np.random.default_rng(seed)
    lines = ["text,label"]
    for i in range(n):
        text = " ".join(rng.choice(WORDS, rng.integers(5, 9))) + f" {seed}{i}"
        lines.append(f'"{text}{" " if blank else ""}",{i % 2}')
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shift")
    write_csv(folder / "p.csv", 160, 1, blank=True)
    write_csv(folder / "m.csv", 60, 2, blank=False)
    overrides = (
        "data=texts",
        "data.path.format=csv",
        f"data.path.train={folder}/p.csv",
        f"data.path.test={folder}/m.csv",
        "data.split.val=0.0",
        f"paths.cache={folder}/cache",
    )
    config, graph = compose_run(overrides), Graph(overrides)
    prepared = Puller(Store(folder), graph).pull(graph.resolve("prepare", config))
    config = dataclasses.replace(
        config,
        shift=dataclasses.replace(
            config.shift,
            per_side=40,
            permutations=39,
            redraws=2,
            components=3,
            null_draws=4,
            power_sizes=[20],
            power_draws=3,
            probe_sizes=[30],
            probe_redraws=2,
        ),
        features=dataclasses.replace(config.features, layers=["penultimate"], splits=["train", "test"]),
    )
    return config, prepared


def embeddings(tmp_path, config, prepared, gap=1.0):
    data = DataModule.load(prepared.folder, config.data, tmp_path / "cache")
    rng = np.random.default_rng(0)
    arrays = {}
    for split, moved in (("train", 0.0), ("test", gap)):
        labels = data.labels(split).numpy()
        rows = rng.standard_normal((len(labels), 4)) + moved
        rows[:, 0] += 2.0 * np.clip(labels, 0, 1)
        arrays |= {
            f"{split}.penultimate": rows.astype(np.float32),
            f"{split}.ids": data.ids(split).numpy(),
            f"{split}.labels": labels,
        }
    return artifact_with_files(
        tmp_path / "features" / "f-000000000000", {"features.safetensors": arrays}, {"layers": ["penultimate"]}
    )


@pytest.fixture(scope="module")
def member(sources, tmp_path_factory):
    config, prepared = sources
    folder = tmp_path_factory.mktemp("run")
    return run_on(folder, shift, config, {"data": prepared, "features": embeddings(folder, config, prepared)})


def test_a_planted_shift_is_found_and_the_null_is_not(member):
    rows = member.artifact.table("tests.parquet").to_pylist()
    mmd = {(row["pair"], row["redraw"]): row["p"] for row in rows if row["test"] == "MMD²" and not row["class"]}
    assert mmd["P-M", 0] == mmd["P-M", 1] == 1 / 40
    assert max(mmd["P-P'", 0], mmd["P-P'", 1]) > 0.05
    cues = [row for row in rows if row["representation"] == "cues" and row["pair"] == "P-M"]
    assert min(row["auc"] for row in cues) > 0.95, "the planted trailing blank is a surface cue"
    assert {row["class"] for row in rows} == {"", "0", "1"}
    assert member.artifact.metrics["rows_a_side"] == 40
    assert member.artifact.metrics["class_counts"] == {"0": 20, "1": 20}


def test_no_text_leaves_the_stage(member):
    for name in member.artifact.manifest["files"]:
        assert b"kernel stage" not in member.artifact.path(name).read_bytes()
        assert b"weight rank" not in member.artifact.path(name).read_bytes()


def test_a_second_run_writes_the_same_bytes(member, sources, tmp_path):
    config, prepared = sources
    inputs = {"data": prepared, "features": embeddings(tmp_path, config, prepared)}
    again = run_on(tmp_path, shift, config, inputs)
    assert again.artifact.manifest["files"] == member.artifact.manifest["files"]


@pytest.mark.slow
def test_the_number_of_threads_changes_no_p_value(member, sources, tmp_path):
    config, prepared = sources
    config = dataclasses.replace(config, numerics=dataclasses.replace(config.numerics, threads=2))
    inputs = {"data": prepared, "features": embeddings(tmp_path, config, prepared)}
    again = run_on(tmp_path, shift, config, inputs).artifact.table("tests.parquet").to_pylist()
    first = member.artifact.table("tests.parquet").to_pylist()
    told = ("pair", "redraw", "test", "p")
    assert [[row.get(name) for name in told] for row in again] == [[row.get(name) for name in told] for row in first]
    assert member.config.numerics.threads == 1 and len(first) > 3


def test_section_leads_with_the_cues(member):
    shown = section([following(member, "2310.13836")], member.config)
    assert "surface cues separate the sides as well" in shown.findings[0]
    assert sum(isinstance(block, Picture) for block in shown.blocks) == 7
    claims = {block.name: block.decided for block in shown.blocks if isinstance(block, Claim)}
    assert set(claims) == {"S1", "S2", "S2, level", "S3", "S4", "S5"}
    assert claims["S1"].outcome == OPEN and "5 are needed" in claims["S1"].evidence, "two draws decide nothing"
    assert sum(isinstance(block, Table) for block in shown.blocks) == 2


def test_planted_differences_are_found(member):
    rows = member.artifact.table("tests.parquet").to_pylist()
    planted = {row["pair"]: row for row in rows if row["redraw"] == 0 and row["pair"] not in ("P-M", "P-P'")}
    assert planted["P-P' moved"]["p"] <= 0.05
    # every text of P ends in a blank already, so that one more tells nothing
    assert planted["P-P' with blanks"]["p"] > 0.05


def test_rivals_are_scored_on_the_same_rows_of_m(sources, tmp_path):
    config, prepared = sources
    inputs = {"data": prepared, "features": embeddings(tmp_path, config, prepared)}
    data = DataModule.load(prepared.folder, config.data, tmp_path / "cache")
    order = np.random.default_rng(3).permutation(len(data.ids("test")))
    right = np.eye(2, dtype=np.float32)[data.labels("test").numpy()]
    for name, logits in (("fine_tuned", right), ("head_only", 1.0 - right)):
        arrays = {"test.logits": logits[order], "test.ids": data.ids("test").numpy()[order]}
        inputs[name] = artifact_with_files(tmp_path / "train" / f"{name}-0", {"logits.safetensors": arrays}, {})
    inputs["random_weights"] = inputs["features"]
    rivals = ["fine_tuned", "head_only", "random_features", "random_weights"]
    wanted = dataclasses.replace(config, shift=dataclasses.replace(config.shift, rivals=rivals))
    found = run_on(tmp_path, shift, wanted, inputs)
    rows = [row for row in found.artifact.table("probes.parquet").to_pylist() if row["test"] == "M held out"]
    scores = {name: [row["accuracy"] for row in rows if row["train"] == name] for name in rivals}
    assert scores["fine_tuned"] == [1.0, 1.0] and scores["head_only"] == [0.0, 0.0], "rows are matched by their ids"
    assert min(scores["random_features"] + scores["random_weights"]) > 0.6
    names = [
        block.name for block in section([following(found, "2310.13836")], wanted).blocks if isinstance(block, Claim)
    ]
    assert names.count("S3") == 5
    nodes = Graph(()).resolve("shift", compose_run(("experiment=shift_tweets", f"shift.rivals=[{','.join(rivals)}]")))
    assert {"fine_tuned", "head_only", "random_weights"} <= set(nodes.inputs)
    assert len({node.key for node in nodes.inputs.values()}) == 5


@pytest.mark.slow
def test_sentiment140_from_its_original_files_and_from_a_hub_folder_give_one_answer(sources, tmp_path):
    """Made-up rows in both layouts of Sentiment140: polarity 0, 2 and 4, Latin-1, a user column."""
    import datasets

    rng = np.random.default_rng(3)
    (tmp_path / "hub").mkdir()
    counts = {"train": 160, "test": 60}
    for split, n in counts.items():
        lines = [" ".join(rng.choice(WORDS, 6)) + f" caf\u00e9 {split}{i}" for i in range(n)]
        polarity = [4 * (i % 2) for i in range(n)]
        polarity[7] = 2
        users = [f"u{i}" for i in range(n)]
        with (tmp_path / f"{split}.csv").open("w", encoding="latin-1", newline="") as stream:
            writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
            writer.writerows(zip(polarity, range(n), ["d"] * n, ["q"] * n, users, lines, strict=True))
        columns = {"text": lines, "date": ["d"] * n, "user": users, "sentiment": polarity, "query": ["q"] * n}
        datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "hub" / f"{split}.parquet")
    ways = {
        "path": [f"data.path.{split}={tmp_path}/{split}.csv" for split in counts],
        "hub": [f"data.hub.id={tmp_path}/hub"],
    }
    tables = {}
    for source, words in ways.items():
        overrides = ("experiment=shift_sentiment140", f"data.source={source}", *words, "data.subset.per_class=null")
        overrides += ("data.split.val=0.0", f"paths.cache={tmp_path}/cache")
        config, graph = compose_run(overrides), Graph(overrides)
        prepared = Puller(Store(tmp_path / f"store of {source}"), graph).pull(graph.resolve("prepare", config))
        assert sum(prepared.metrics["drops"].values()) == 2, "neutral rows are dropped and counted"
        features = dataclasses.replace(config.features, layers=["penultimate"], splits=["train", "test"])
        config = dataclasses.replace(config, shift=sources[0].shift, features=features)
        made = embeddings(tmp_path / f"store of {source}", config, prepared)
        run = run_on(tmp_path / f"store of {source}", shift, config, {"data": prepared, "features": made})
        tables[source] = run.artifact.table("tests.parquet").to_pylist()
    assert tables["path"] and repr(tables["path"]) == repr(tables["hub"])  # some entries are NaN


def test_unknown_layers_and_splits_are_refused(sources, tmp_path):
    config, prepared = sources
    inputs = {"data": prepared, "features": embeddings(tmp_path, config, prepared)}
    for options, message in (
        ({"layer": "ln_f"}, "not among the features' layers: penultimate"),
        ({"sample": "test_m"}, "add 'test_m' there"),
        ({"per_side": 3}, "need at least 4"),
    ):
        wrong = dataclasses.replace(config, shift=dataclasses.replace(config.shift, **options))
        with pytest.raises(UserError, match=message):
            run_on(tmp_path / message[:4], shift, wrong, inputs)


def test_a_side_whose_rows_are_one_group_is_refused(tmp_path):
    lines = {name: [f'"{" ".join(WORDS[i % 8 : i % 8 + 4])} {name}{i}",{i % 2}' for i in range(30)] for name in "pm"}
    (tmp_path / "p.csv").write_text(
        "\n".join(["text,label,group", *[f"{row},u{i}" for i, row in enumerate(lines["p"])]])
    )
    (tmp_path / "m.csv").write_text("\n".join(["text,label,group", *[f"{row},bot" for row in lines["m"]]]))
    overrides = ("data=texts", "data.path.format=csv", "data.split.val=0.0", f"paths.cache={tmp_path}/cache") + tuple(
        f"data.path.{split}={tmp_path}/{name}.csv" for split, name in (("train", "p"), ("test", "m"))
    )
    config, graph = compose_run(overrides), Graph(overrides)
    prepared = Puller(Store(tmp_path), graph).pull(graph.resolve("prepare", config))
    config = dataclasses.replace(config, shift=dataclasses.replace(config.shift, per_side=None))
    inputs = {"data": prepared, "features": embeddings(tmp_path, config, prepared)}
    with pytest.raises(UserError, match="all 30 rows of 'test' belong to one, 'bot'"):
        run_on(tmp_path, shift, config, inputs)
