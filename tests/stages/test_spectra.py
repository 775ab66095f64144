"""Stages ``spectra`` and ``toy``: what they write, what their sections decide, and what they refuse."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.verdicts import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from pipeline.config.toy import ToyConfig
from pipeline.engine.artifacts import Artifact
from pipeline.errors import UserError
from pipeline.reporting.blocks import Verdict
from pipeline.stages.spectra.run import choose_layers
from pipeline.stages.toy.claims import toy_verdicts
from pipeline.stages.toy.read import ToyMember, ToyRow, setting_label
from pipeline.stages.toy.run import best_ridge_error


def member(config: ToyConfig, multiple: float, start: dict[str, float], end: dict[str, float]) -> ToyMember:
    """A made-up setting whose seeds differ by a little."""
    rows = []
    for seed in config.seeds:
        for step, values in ((0, start), (100, end)):
            noisy = {name: value * (1 + 0.001 * seed) for name, value in values.items()}
            rows.append(ToyRow(seed, step, "ok", label="invariant", **noisy))
    metrics = {
        "steps": [0, 100],
        "rate_multiple": [multiple] * len(config.seeds),
        "ridge_error": [0.3] * len(config.seeds),
        "diverged": [],
        "classes": ["invariant"] * len(config.seeds),
    }
    spectra = {"weight": np.full((len(config.seeds), 2, config.shape[1]), 1.0)}
    return ToyMember(setting_label(config), config, metrics, rows, spectra, [], "key")


START = {
    "outliers": 0,
    "ks_start": 0.0,
    "ck_ks_start": 0.0,
    "ntk_ks_start": 0.0,
    "alignment": 0.03,
    "kta": 0.04,
    "ck_alignment": 0.02,
    "ck_movement": 0.0,
    "test_error": 2.0,
    "readout_growth": 1.0,
    "change_operator": 0.0,
    "change_frobenius": 0.0,
}
CALM = START | {
    "ks_start": 0.004,
    "ck_ks_start": 0.003,
    "ntk_ks_start": 0.2,
    "test_error": 0.48,
    "kta": 0.06,
    "ck_movement": 0.04,
    "change_operator": 0.72,
    "change_frobenius": 1.15,
    "readout_growth": 1.1,
}
SPIKE = CALM | {"outliers": 1, "ks_start": 0.012, "alignment": 0.89, "kta": 0.2, "test_error": 0.34, "ck_movement": 0.3}
HEAVY = SPIKE | {"outliers": 14, "ks_start": 0.062, "kta": 0.29, "ck_alignment": 0.95}
SEEDS = [0, 1, 2, 3, 4]
SGD = ToyConfig(seeds=SEEDS)
ADAM = ToyConfig(seeds=SEEDS, optimizer="adam", rate=0.1, rate_unit="absolute", batch_size=None)


def verdicts(*members: ToyMember) -> dict[str, str]:
    found = [block for block in toy_verdicts(members) if isinstance(block, Verdict)]
    return {verdict.claim.split(":")[0] + " " + verdict.claim.split(":")[1][:9]: verdict.verdict for verdict in found}


def test_claims_hold_on_numbers_like_the_published_ones() -> None:
    calm, spike = member(SGD, 0.5, START, CALM), member(replace(SGD, rate=2.15), 2.15, START, SPIKE)
    decided = verdicts(calm, spike, member(ADAM, 0.001, START, HEAVY))
    assert decided.pop("T1  untraine") == NOT_REPRODUCED  # the made-up first spectrum is a point
    assert set(decided.values()) == {REPRODUCED} and len(decided) == 5


def test_claims_fail_where_the_numbers_do() -> None:
    calm = member(SGD, 0.5, START, CALM | {"ks_start": 0.05})
    spike = member(replace(SGD, rate=2.15), 2.15, START, SPIKE | {"outliers": 0, "test_error": 0.6})
    decided = verdicts(calm, spike)
    assert decided["T2  gradient"] == decided["T4  large ra"] == decided["T6  a spike "] == NOT_REPRODUCED


def test_the_tangent_kernel_is_judged_where_the_readout_is_fixed() -> None:
    fixed = replace(SGD, trained="first")
    assert verdicts(member(fixed, 0.5, START, CALM))["T2  gradient"] == NOT_REPRODUCED
    assert verdicts(member(fixed, 0.5, START, CALM | {"ntk_ks_start": 0.005}))["T2  gradient"] == REPRODUCED


def test_sizes_decide_the_order_of_the_norms() -> None:
    def over(growth: float, sizes: tuple[int, ...]) -> list[ToyMember]:
        scaled = [CALM | {"change_frobenius": 1.15 * (n / 500) ** growth} for n in sizes]
        return [member(replace(SGD, samples=n), 0.5, START, end) for n, end in zip(sizes, scaled, strict=True)]

    assert verdicts(*over(0.0, (500, 1000, 2000)))["T3  the weig"] == REPRODUCED
    assert verdicts(*over(0.5, (500, 1000, 2000)))["T3  the weig"] == NOT_REPRODUCED
    assert verdicts(*over(0.0, (60, 120, 240)))["T3  the weig"] == UNDECIDED
    assert "T3  the weig" not in verdicts(*over(0.0, (500, 1000)))


def test_small_or_few_runs_decide_nothing() -> None:
    for config in (replace(SGD, samples=100), replace(SGD, seeds=[0, 1])):
        members = member(config, 0.5, START, CALM), member(replace(config, rate=2.15), 2.15, START, SPIKE)
        assert set(verdicts(*members).values()) == {UNDECIDED}


def test_ridge_reaches_the_linear_part() -> None:
    generator = np.random.default_rng(0)
    x, t = generator.standard_normal((400, 20)), generator.standard_normal((400, 20))
    beta = generator.standard_normal(20)
    noise = 0.1 * generator.standard_normal(800)
    error = best_ridge_error(x, x @ beta + noise[:400], t, t @ beta + noise[400:])
    assert error == pytest.approx(0.01, rel=0.3)


def test_unknown_layers_are_answered_with_the_names() -> None:
    names = ["conv1.weight", "fc.weight", "fc.weight[q]"]
    assert choose_layers(names, ["fc*"]) == ["fc.weight", "fc.weight[q]"]
    with pytest.raises(UserError, match="'head' matches no weight. Weights: conv1.weight, fc.weight"):
        choose_layers(names, ["*", "head"])


def pull(stage: str, store: Path, *overrides: str) -> Artifact:
    from pipeline.engine.cells import compose_run
    from pipeline.entry import execute

    words = (*overrides, f"stage={stage}", f"paths.store={store}")
    artifact = execute(compose_run(words), words)
    assert artifact is not None
    return artifact


def test_toy_experiment_reports_at_tiny_size(tmp_path: Path) -> None:
    report = pull("report", tmp_path, "experiment=spectra_toy_spike", "debug=tiny")
    assert {verdict["verdict"] for verdict in report.metrics["verdicts"]} == {UNDECIDED}
    assert report.has("report.html")
    toy = pull("toy", tmp_path, "toy=gd_half", "debug=tiny")
    assert toy.arrays("spectra.safetensors")["ck"].shape[0] == 2
    again = pull("toy", tmp_path / "other", "toy=gd_half", "debug=tiny")
    assert again.manifest["files"] == toy.manifest["files"]


def test_impossible_toy_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rate_unit=absolute"):
        pull("toy", tmp_path, "toy.optimizer=adam", "debug=tiny")


@pytest.mark.filterwarnings("ignore:The `srun` command")
def test_spectra_of_a_trained_network(tmp_path: Path) -> None:
    overrides = (
        "data=teacher",
        "training.loss=regression",
        "debug=tiny",
        "data.synthetic.options.features=24",
        "model=mlp",
        "model.widths=[40]",
        "snapshots=spectra_and_kernel",
    )
    found = pull("spectra", tmp_path, *overrides)
    layers = found.table("layers.parquet").to_pylist()
    assert [row["matrix"] for row in layers] == ["hidden.0.linear.weight"]
    rows = found.table("spectra.parquet").to_pylist()
    assert rows[0]["step"] == 0 and rows[0]["ks_start"] == 0.0 and rows[-1]["change_operator"] > 0
    assert found.metrics["skipped"] == {"head.linear.weight": "short side 1 < 8"}
    assert found.metrics["critical_rate"] > 0
    kernel = found.table("kernel.parquet").to_pylist()
    assert kernel[0]["movement"] == 0.0 and kernel[-1]["movement"] > 0
    with pytest.raises(UserError, match="matches no weight"):
        pull("spectra", tmp_path, *overrides, "spectra.layers=[conv*]")
    with pytest.raises(UserError, match="No weight has a short side of 90"):
        pull("spectra", tmp_path, *overrides, "spectra.min_side=90")
