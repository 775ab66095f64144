"""Claims about the toy model hold on numbers like the published ones, fail on others, and need enough runs."""

from dataclasses import replace

import numpy as np

from analysis.verdicts import FAILS, HOLDS, OPEN, Claim
from pipeline.config.toy import ToyConfig
from pipeline.stages.toy.claims import beats, by_seeds, ratio_within, toy_claims
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


def outcomes(*members: ToyMember) -> dict[str, str]:
    return {claim.name: claim.decided.outcome for claim in toy_claims(members) if isinstance(claim, Claim)}


def test_claims_hold_on_numbers_like_the_published_ones() -> None:
    calm, spike = member(SGD, 0.5, START, CALM), member(replace(SGD, rate=2.15), 2.15, START, SPIKE)
    decided = outcomes(calm, spike, member(ADAM, 0.001, START, HEAVY))
    assert decided.pop("T1") == FAILS  # the invented first spectrum is a point
    assert set(decided.values()) == {HOLDS} and len(decided) == 5


def test_claims_fail_where_the_numbers_do() -> None:
    calm = member(SGD, 0.5, START, CALM | {"ks_start": 0.05})
    spike = member(replace(SGD, rate=2.15), 2.15, START, SPIKE | {"outliers": 0, "test_error": 0.6})
    decided = outcomes(calm, spike)
    assert decided["T2"] == decided["T4"] == decided["T6, a spike"] == FAILS


def test_the_tangent_kernel_is_judged_where_the_readout_is_fixed() -> None:
    fixed = replace(SGD, trained="first")
    assert outcomes(member(fixed, 0.5, START, CALM))["T2"] == FAILS
    assert outcomes(member(fixed, 0.5, START, CALM | {"ntk_ks_start": 0.005}))["T2"] == HOLDS


def test_sizes_decide_the_order_of_the_norms() -> None:
    def over(growth: float, sizes: tuple[int, ...]) -> list[ToyMember]:
        scaled = [CALM | {"change_frobenius": 1.15 * (n / 500) ** growth} for n in sizes]
        return [member(replace(SGD, samples=n), 0.5, START, end) for n, end in zip(sizes, scaled, strict=True)]

    assert outcomes(*over(0.0, (500, 1000, 2000)))["T3"] == HOLDS
    assert outcomes(*over(0.5, (500, 1000, 2000)))["T3"] == FAILS
    assert outcomes(*over(0.0, (60, 120, 240)))["T3"] == OPEN
    assert "T3" not in outcomes(*over(0.0, (500, 1000)))


def test_small_or_few_runs_decide_nothing() -> None:
    for config in (replace(SGD, samples=100), replace(SGD, seeds=[0, 1])):
        members = member(config, 0.5, START, CALM), member(replace(config, rate=2.15), 2.15, START, SPIKE)
        assert set(outcomes(*members).values()) == {OPEN}


def test_three_of_three_seeds_decide_nothing_and_five_of_five_do() -> None:
    few, enough = (
        member(replace(SGD, seeds=seeds), 0.5, START, CALM | {"ntk_ks_start": 0.005}) for seeds in ([0, 1, 2], SEEDS)
    )
    assert outcomes(few)["T2"] == OPEN
    assert outcomes(enough)["T2"] == HOLDS


def test_a_condition_that_half_of_the_seeds_meet_is_rarely_said_to_hold() -> None:
    """T1, T2, T4 and T5: at most 5 % of 400 studies at 5 and 10 seeds, by the exact bound."""
    rng = np.random.default_rng(0)
    for count in (5, 10):
        runs = member(replace(SGD, seeds=list(range(count))), 0.5, START, CALM)
        held = 0
        for _ in range(400):
            met = set(np.flatnonzero(rng.random(count) < 0.5))
            held += by_seeds([runs], lambda _, first, __, met=met: first.seed in met).outcome == HOLDS
        assert held <= 32


def test_norms_that_differ_by_the_bound_are_rarely_called_equal() -> None:
    """T3: at most 5 % of 400 studies of 5 and 10 seeds a size, whose means differ by 10 % and scatter by 8 %."""
    rng = np.random.default_rng(1)
    for count in (5, 10):
        pairs = [np.exp(0.08 * rng.standard_normal((2, count))) for _ in range(400)]
        held = [ratio_within((1.1 * a).tolist(), b.tolist(), 0.1, what="norm").outcome == HOLDS for a, b in pairs]
        assert sum(held) <= 32
        same = [ratio_within(a.tolist(), b.tolist(), 0.1, what="norm").outcome == FAILS for a, b in pairs]
        assert sum(same) <= 32, "equal means are rarely called different"
    one = ratio_within([0.7], [0.72], 0.1, what="norm")
    assert one.outcome == OPEN and "n = 1 seeds; 5 are needed" in one.evidence


def test_equal_norms_are_found() -> None:
    """T3: power of at least 90 % for equal means that scatter by 3 % over five seeds a size."""
    rng = np.random.default_rng(2)
    pairs = [np.exp(0.03 * rng.standard_normal((2, 5))) for _ in range(200)]
    assert sum(ratio_within(a.tolist(), b.tolist(), 0.1, what="norm").outcome == HOLDS for a, b in pairs) >= 180


def test_a_spike_that_brings_no_gain_is_rarely_said_to_win() -> None:
    """T6: 200 studies of five pairs: KTA and movement rise but the error does not; then all three (power 90 %)."""
    rng = np.random.default_rng(3)
    for gain, least, most in ((0.01, 0, 18), (0.1, 180, 200)):
        held = 0
        for _ in range(200):
            errors, kta, moved = (0.02 * rng.standard_normal(5) + truth for truth in (-gain, 0.14, 0.26))
            held += beats(errors.tolist(), kta.tolist(), moved.tolist(), "spike").outcome == HOLDS
        assert least <= held <= most
