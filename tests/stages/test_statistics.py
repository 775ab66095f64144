"""Stage ``statistics`` on real tiny runs and on made-up outputs: tables, verdicts, report, and refusals."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from analysis.pages.blocks import Picture, Table, Text
from analysis.variability.claims import ClaimFinding
from analysis.verdicts import Claim, Decided
from pipeline.checks.general import check
from pipeline.config.run import RunConfig
from pipeline.config.statistics import StatisticsConfig
from pipeline.engine.artifacts import Store, open_partial, write_json
from pipeline.engine.build import Build, Gathered
from pipeline.engine.cells import axis_entries, compose_run
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.engine.inventory.completion import complete
from pipeline.errors import UserError
from pipeline.stages.statistics.claims import _counting
from pipeline.stages.statistics.history import level_history
from pipeline.stages.statistics.report import section
from pipeline.stages.statistics.report_cautions import cautions
from pipeline.stages.statistics.run import statistics
from pipeline.stages.statistics.seed_runs import seed_runs

TINY = (
    "data=parabola",
    "model.widths=[8]",
    "training.epochs=2",
    "numerics.engine=ensemble",
    "+cells.seed='0:4'",
    "statistics.draws=20",
    "statistics.subsets=2",
)


def made_up(tmp_path: Path, groups: dict[str, np.ndarray], labels: np.ndarray, **extra: np.ndarray) -> list[Gathered]:
    members = []
    for group, gaps in groups.items():
        for seed, gap in enumerate(gaps):
            folder = tmp_path / "train" / f"{group}-{seed}-{len(members):012d}"
            partial = open_partial(folder)
            logits = np.stack([-gap / 2, gap / 2], axis=1).astype(np.float32)
            arrays = {"test.logits": logits, "test.labels": labels, "test.ids": np.arange(len(labels)), **extra}
            arrays |= {"val.logits": logits[:60], "val.labels": labels[:60], "val.ids": np.arange(60)}
            save_file(arrays, partial / "logits.safetensors")
            artifact = complete(folder, {"stage": "train", "key": str(seed), "version": 1}, {})
            cell = {"arm": group, "seed": str(seed)}
            members.append(Gathered(cell, RunConfig(seed=seed), artifact, "python run.py"))
    return members


def noisy_gaps(count: int, noise: float, labels: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    signal = 2 * (2 * labels - 1) + 2 * np.random.default_rng(0).normal(size=len(labels))
    return signal + noise * rng.normal(size=(count, len(labels))) + noise * rng.normal(size=(count, 1))


LABELS = np.random.default_rng(1).integers(0, 2, size=240)


def run_stage(tmp_path, members, **options):
    config, graph = compose_run(("data=parabola",)), Graph()
    config.statistics = dataclasses.replace(config.statistics, draws=20, subsets=2, **options)
    node = dataclasses.replace(graph.resolve("prepare", config), config=config)
    folder = tmp_path / "statistics" / "made-up-000000000000"
    build = Build(node, graph, Store(tmp_path), open_partial(folder), {}, {"train": members})
    write_json(build.folder / "metrics.json", statistics(build))
    artifact = complete(folder, {"stage": "statistics", "key": "0" * 12, "version": 1}, {})
    return artifact, section([Gathered({}, config, artifact, "python run.py")], config)


def test_tiny_runs_end_in_tables_and_a_section(tmp_path):
    overrides = (*TINY, f"paths.store={tmp_path}", f"paths.cache={tmp_path}/cache")
    config = compose_run(overrides)
    graph = Graph(overrides)
    artifact = Puller(Store(tmp_path), graph).pull(graph.resolve("statistics", config))
    runs = artifact.table("runs.parquet").to_pylist()
    assert [run["seed"] for run in runs] == ["0", "1", "2", "3"]
    assert all(0 <= run["level_mixture_dkw"] <= 1 for run in runs)
    shown = section([Gathered({}, config, artifact, "python run.py")], config)
    assert any(isinstance(block, Picture) for block in shown.blocks)
    again = Puller(Store(tmp_path / "again"), Graph(overrides))
    second = again.pull(again.graph.resolve("statistics", config))
    assert second.manifest["files"] == artifact.manifest["files"], "same bytes on a re-run"


@pytest.mark.slow
def test_claims_arms_and_released_protocols(tmp_path):
    groups = {"from scratch": noisy_gaps(12, 1.0, LABELS, 2), "fine-tuned": noisy_gaps(12, 0.1, LABELS, 3)}
    artifact, shown = run_stage(
        tmp_path,
        made_up(tmp_path, groups, LABELS),
        deltas=[],
        claims=["A1", "A2", "B1", "B2", "B3", "B3-rival", "B4"],
        arms=["from scratch", "fine-tuned"],
        released=True,
    )
    claims = artifact.table("claims.parquet").to_pylist()
    deciding = {(row["claim"], row["group"]): row for row in claims if row["deciding"]}
    assert {claim for claim, _ in deciding} == {"A1", "A2", "B1", "B2", "B3", "B3-rival", "B4"}
    assert {row["outcome"] for row in deciding.values()} == {"open"}, "12 runs decide nothing"
    assert all("are needed" in row["evidence"] for row in deciding.values())
    assert json.loads(deciding["B4", "from scratch against fine-tuned"]["details"])["level_difference"] > 0
    assert {row["reference"] for row in claims} == {"mixture", "logit_mean", "quantile_mean"}
    released = artifact.table("released.parquet").to_pylist()
    assert {row["protocol"] for row in released} >= {"corrected", "published 2024", "published 2025"}
    by_group = {row["group"]: row for row in artifact.table("groups.parquet").to_pylist()}
    assert by_group["from scratch"]["level_mean"] > by_group["fine-tuned"]["level_mean"]
    for row in by_group.values():  # of two runs all three would be equal
        assert row["churn_pairwise"] < row["discrepancy"] <= row["ambiguity"] <= 1
    assert sum(isinstance(block, Claim) for block in shown.blocks) == 13
    captions = " ".join(block.caption for block in shown.blocks if isinstance(block, (Table, Picture)))
    assert "mixture of a disjoint half" in captions
    assert artifact.metrics["recommended_runs"].keys() == groups.keys()
    named = {one.name: one for one in shown.headlines}
    level = next(row for row in artifact.table("groups.parquet").to_pylist() if row["reference"] == "mixture")
    assert float(str(named["churn"].table.rows[0][3]).split()[0]) == pytest.approx(level["level_mean"], abs=6e-3)
    counted = named["seed_count"]
    assert "12 runs (from scratch)" in counted.answer and [row[2] for row in counted.table.rows] == [12, 12]


def test_two_runs_are_one_pair_and_give_no_interval(tmp_path):
    pairs = {"a": noisy_gaps(2, 1.0, LABELS, 2), "b": noisy_gaps(2, 0.1, LABELS, 3)}
    _, shown = run_stage(tmp_path, made_up(tmp_path, pairs, LABELS))
    tables = [block for block in shown.blocks if isinstance(block, Table)]
    churn = [row[5] for table in tables if "ECE" in table.columns for row in table.rows]
    levels = [row[3] for table in tables if "mean level" in table.columns for row in table.rows]
    differences = [row[3] for table in tables if "against" in table.columns for row in table.rows]
    assert len(churn) == len(levels) == 2 and len(differences) == 1, "levels of 0 in both groups are no contrast"
    (companions,) = (table for table in tables if "ECE" in table.columns)
    for cell, row in zip(churn, companions.rows, strict=True):
        assert float(cell.split()[0]) == pytest.approx(row[6], abs=6e-2)
        assert row[6] == pytest.approx(row[7])
    assert all(cell.endswith("(no interval)") for cell in [*churn, *differences, *levels])
    assert any("(no interval) (n = 2," in line for line in shown.findings)


def test_one_run_and_many_classes(tmp_path):
    single, shown = run_stage(tmp_path / "a", made_up(tmp_path / "a", {"x": noisy_gaps(1, 1, LABELS, 4)}, LABELS))
    assert "one run" in single.metrics["notes"][-1]
    assert shown.blocks
    members = made_up(tmp_path / "b", {"x": noisy_gaps(3, 1, LABELS, 5)}, LABELS)
    many = []
    for index, member in enumerate(members):
        folder = tmp_path / "c" / f"many-{index:012d}"
        partial = open_partial(folder)
        logits = np.random.default_rng(index).normal(size=(240, 5)).astype(np.float32)
        labels = (np.arange(240) % 5).astype(np.int64)
        save_file(
            {"test.logits": logits, "test.labels": labels, "test.ids": np.arange(240)}, partial / "logits.safetensors"
        )
        many.append(dataclasses.replace(member, artifact=complete(folder, {"stage": "train"}, {})))
    artifact, _ = run_stage(tmp_path / "d", many)
    assert artifact.table("runs.parquet").num_rows == 3
    with pytest.raises(UserError, match="choose margin, top_two or one_vs_rest"):
        run_stage(tmp_path / "e", many, quantity="gap")


def test_runs_that_cannot_be_compared(tmp_path):
    gaps = noisy_gaps(3, 1, LABELS, 6)
    members = made_up(tmp_path / "a", {"x": gaps[:2]}, LABELS)
    other = made_up(tmp_path / "b", {"x": gaps[2:]}, 1 - LABELS)
    with pytest.raises(UserError, match="were judged on different examples"):
        seed_runs("x", [*members, *other], "test", "error")
    with pytest.raises(UserError, match=r"has no split 'ood' \(it has test, val\)"):
        seed_runs("x", members, "ood", "error")
    gaps[1, 7] = np.nan
    broken = made_up(tmp_path / "c", {"x": gaps}, LABELS)
    with pytest.raises(UserError, match=r"runs \[1\] hold .* NaN.*statistics.on_bad_run=drop"):
        seed_runs("x", broken, "test", "error")
    kept = seed_runs("x", broken, "test", "drop")
    assert (kept.seeds, kept.dropped) == (["0", "2"], ["1"])
    few = made_up(tmp_path / "d", {"x": gaps[:1, :4]}, LABELS[:4])
    with pytest.raises(UserError, match="The test split has 4 examples: .*nothing can be rejected"):
        run_stage(tmp_path / "d", few)


def test_runs_that_were_left_out_are_counted(tmp_path):
    runs = seed_runs("x", made_up(tmp_path, {"x": noisy_gaps(51, 1, LABELS, 9)}, LABELS), "test", "error")
    found = ClaimFinding("A1", Decided("holds", "levels differ.", 0.001, 0.999))
    for count, wanted in ((3, "holds"), (9, "open")):
        lost = dataclasses.replace(runs, dropped=[str(seed) for seed in range(count)])
        counted = _counting(found, [lost]).decided
        assert counted.outcome == wanted
        assert f"{count} of {51 + count} runs were left out" in counted.evidence


def recorded(tmp_path, runs, epochs=3):
    """Snapshots of made-up runs whose noise falls with the epoch."""
    members = []
    for seed, (noise, shift) in enumerate(runs):
        folder = tmp_path / "snapshots" / f"x-{seed:012d}"
        partial = open_partial(folder)
        moments = [{"step": 10 * epoch + shift, "epoch": epoch, "lr": 0.1} for epoch in range(1, epochs + 1)]
        for moment in moments:
            gap = noisy_gaps(1, noise / moment["epoch"], LABELS, seed)[0] + 4 * noise * (seed == 0)
            logits = np.stack([-gap / 2, gap / 2], axis=1).astype(np.float32)
            arrays = {"test.logits": logits, "test.labels": LABELS, "test.ids": np.arange(len(LABELS))}
            (partial / f"step-{moment['step']:08d}").mkdir()
            save_file(arrays, partial / f"step-{moment['step']:08d}" / "logits.safetensors")
        write_json(partial / "steps.json", moments)
        artifact = complete(folder, {"stage": "snapshots", "key": str(seed), "version": 1}, {})
        members.append(Gathered({"seed": str(seed)}, RunConfig(seed=seed), artifact, "python run.py"))
    return members


def test_levels_after_each_epoch(tmp_path):
    chosen = StatisticsConfig()
    rows = level_history("x", recorded(tmp_path / "a", [(1.0, 0)] * 4), chosen)
    assert [(row["epoch"], row["seed"]) for row in rows] == [(e, str(s)) for e in (1.0, 2.0, 3.0) for s in range(4)]
    first = [row["level"] for row in rows if row["epoch"] == 1]
    assert first[0] == max(first) > 0, "the run that was moved is the least typical"
    churn = [np.mean([row["churn_mean"] for row in rows if row["epoch"] == epoch]) for epoch in (1, 2, 3)]
    assert churn[0] > churn[2]
    assert level_history("x", recorded(tmp_path / "b", [(1.0, 0)]), chosen) == []
    with pytest.raises(UserError, match="recorded at different steps"):
        level_history("x", recorded(tmp_path / "c", [(1.0, 0), (1.0, 5)]), chosen)


def test_real_snapshots_give_a_table_and_a_figure(tmp_path):
    overrides = [word for word in TINY if not word.startswith(("numerics.engine", "+cells"))]
    overrides += ["+cells.seed='0:2'", "statistics.history=true", "snapshots.record=[logits]"]
    overrides += ["snapshots.schedule=epochs", f"paths.store={tmp_path}", f"paths.cache={tmp_path}/cache"]
    config, graph = compose_run(tuple(overrides)), Graph(tuple(overrides))
    check(config)
    artifact = Puller(Store(tmp_path), graph).pull(graph.resolve("statistics", config))
    assert {row["epoch"] for row in artifact.table("epochs.parquet").to_pylist()} >= {1.0, 2.0}
    shown = section([Gathered({}, config, artifact, "python run.py")], config)
    assert any(isinstance(block, Picture) and "each epoch" in block.alt for block in shown.blocks)


def test_cautions_name_atoms_and_arithmetic_that_varies_by_itself(tmp_path):
    gaps = noisy_gaps(3, 1, LABELS, 8)
    gaps[1, :120] = 0.5
    _, shown = run_stage(tmp_path, made_up(tmp_path, {"x": gaps}, LABELS))
    text = " ".join(block.text for block in shown.blocks if isinstance(block, Text))
    assert "in seeds 1 (1 in all) one value holds more than δ" in text
    assert "noise-limited" not in text and "δ = 0.05 takes 2,120 rows" in text, "tolerances below the noise, in words"
    config = compose_run(("data=parabola", "numerics.deterministic=false"))
    config.cells = {"factor": {"initialisation": ["seeds.order=0"]}}
    assert "confounded" in " ".join(cautions([], [], config))
    config.numerics.deterministic = True
    assert cautions([], [], config) == []


def test_settings_are_checked_before_anything_runs():
    def problem(**options):
        config = compose_run(("data=parabola",))
        config.statistics = dataclasses.replace(config.statistics, **options)
        check(config)

    problem()
    for options, message in (
        ({"eps": 0.0}, "statistics.eps=0.0 is not in"),
        ({"deltas": [1.0]}, r"statistics.deltas holds \[1.0\]"),
        ({"draws": 1}, "statistics.draws=1 is below 2"),
        ({"history": True}, "snapshots.schedule=epochs"),
        ({"claims": ["C1"]}, r"statistics.claims holds \['C1'\]"),
        ({"claims": ["B4"]}, "name two groups"),
        ({"quantity": "entropy"}, "statistics.quantity=entropy is not one of"),
    ):
        with pytest.raises(UserError, match=message):
            problem(**options)


def test_named_cells():
    assert axis_entries("vary", {"data order": ["seeds.init=7"]}) == [("data order", ("seeds.init=7",))]
    with pytest.raises(UserError, match="list of overrides"):
        axis_entries("vary", {"data order": "seeds.init=7"})
