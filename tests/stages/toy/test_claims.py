"""Claims about the toy model hold on numbers like the published ones, fail on others, and need enough runs."""

from dataclasses import replace

import numpy as np

from analysis.verdicts.superseded import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from pipeline.config.toy import ToyConfig
from pipeline.reporting.blocks import Verdict
from pipeline.stages.toy.claims import toy_verdicts
from pipeline.stages.toy.read import ToyMember, ToyRow, setting_label


def member(config: ToyConfig, multiple: float, start: dict[str, float], end: dict[str, float]) -> ToyMember:
    """An invented setting whose seeds differ by a little."""
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
    assert decided.pop("T1  untraine") == NOT_REPRODUCED  # the invented first spectrum is a point
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
