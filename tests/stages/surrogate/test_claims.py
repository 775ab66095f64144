"""Claims about surrogates: what they are about, what decides nothing, how often they are wrong and how often right."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from analysis.verdicts import FAILS, HOLDS, OPEN
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError
from pipeline.stages.surrogate.claims import equivalence_claims, order_claims, target_claims

ROOT = Path(__file__).parents[3]
EXPERIMENTS = sorted((ROOT / "conf" / "experiment").glob("pntk_*.yaml"))
STUDIES = 400


CONFIG = compose_run(())


def member(seed, metrics, config=CONFIG):
    made = Artifact(Path("nowhere"))
    vars(made)["metrics"] = metrics
    return Gathered({"seed": str(seed)}, config, made, "")


def group(values, measure="tau", config=CONFIG):
    """Runs of a group, one for each value; None where a run has no such number."""
    return [member(i, {measure: None if v is None else float(v)}, config) for i, v in enumerate(values)]


def options_of(name):
    return yaml.safe_load((ROOT / f"conf/experiment/{name}.yaml").read_text(encoding="utf-8"))["report"]["options"]


def rate(outcomes, wanted):
    return float(np.mean([outcome == wanted for outcome in outcomes]))


@pytest.mark.parametrize("apart", [0.0, 1e-15])
def test_kernels_of_equal_tau_are_in_no_order(apart):
    """Of a network with one output trNTK and pNTK are the same kernel."""
    values = [0.61, 0.64, 0.59, 0.66, 0.62]
    groups = {"trNTK": group([v + apart for v in values]), "pNTK": group(values)}
    (claim,) = order_claims({"order": ["trNTK", "pNTK"]}, groups)
    assert claim.decided.outcome == OPEN and str(claim.standing) == "ours; measure: tau"


def test_a_published_band_is_about_the_measure_that_was_published():
    """Five networks of two kinds of clothes: the published measure is in its band, τ of the true class is another."""
    true_class = [0.7702, 0.7010, 0.7115, 0.7480, 0.6855]
    published = [0.8995, 0.8683, 0.8636, 0.8841, 0.8593]
    target = next(t for t in options_of("pntk_fmnist2_cnn")["targets"] if t["measure"] == "tau_published_glm")
    pairs = zip(true_class, published, strict=True)
    runs = [member(i, {"tau": a, "tau_published_glm": b}) for i, (a, b) in enumerate(pairs)]
    (claim,) = target_claims(target, {"pNTK GLM": runs, "CK GLM": runs})
    assert claim.decided.outcome == HOLDS and claim.standing.measure == "tau_published_glm"
    assert claim.standing.source == "authors' code" and claim.standing.band == "ours"
    assert "0.875 [0.854, 0.896]" in claim.decided.evidence


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_no_band_of_tau_is_held_against_the_true_class(path):
    options = yaml.safe_load(path.read_text(encoding="utf-8"))["report"].get("options", {})
    for target in options.get("targets", []):
        assert target["measure"] != "tau" and {"published", "standing"} <= set(target)
        assert ("low" in target) == ("high" in target) == ("band" in target)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_order_is_ours_unless_the_printed_numbers_have_it(path):
    options = yaml.safe_load(path.read_text(encoding="utf-8"))["report"].get("options", {})
    if options.get("order_standing", "ours") == "ours":
        return
    measure = options["order_measure"]
    printed = {
        t["cells"]: float(str(t["published"]).partition("(")[0]) for t in options["targets"] if t["measure"] == measure
    }
    order = [printed[label] for label in options["order"]]
    assert order == sorted(order, reverse=True) and len(set(order)) == len(order)


def test_a_run_that_repeats_the_printed_numbers_is_not_called_wrong():
    options = options_of("pntk_poison")
    printed = {"trNTK": 0.643, "pNTK": 0.665, "CK": 0.552, "Em": 0.430}
    measure = options["order_measure"]
    rng = np.random.default_rng(0)
    noisy = {name: group(v + 0.01 * rng.normal(size=5), measure) for name, v in printed.items()}
    claims = order_claims(options, noisy)
    assert len(claims) == 2 and FAILS not in {claim.decided.outcome for claim in claims}


def test_a_lost_definition_is_compared_with_nothing():
    groups = {"Em": group([0.75, 0.76, 0.77, 0.76, 0.78])}
    for target in options_of("pntk_resnet18")["targets"]:
        assert target["measure"] == "unknown" and target_claims(target, groups) == []
    with pytest.raises(UserError, match=r"names the measure 'taw'; choose one of: .*tau_published_glm"):
        target_claims({"cells": "Em", "measure": "taw", "low": 0, "high": 1}, groups)


def test_runs_without_a_value_stay_in_the_count():
    target = {"measure": "tau", "low": 0.6, "high": 0.8}
    few = [0.70, 0.71, None, 0.69, 0.70, 0.72, 0.70]
    (claim,) = target_claims(target, {"all": group(few)})
    assert claim.decided.outcome == OPEN and "1 of 7" in claim.decided.evidence
    (claim,) = target_claims(target, {"all": group([0.7, 0.71, 0.69, 0.7, 0.72, 0.7, 0.69, 0.71, 0.7, 0.7, None])})
    assert claim.decided.outcome == HOLDS and "1 of 11 undefined" in claim.decided.evidence
    (claim,) = target_claims(target, {"all": group([0.70, 0.71, 0.69])})
    assert claim.decided.outcome == OPEN


@pytest.mark.parametrize("edge", [0.635, 0.785])
def test_a_mean_just_outside_a_band_is_rarely_called_inside(edge):
    rng = np.random.default_rng(0)
    target = {"measure": "tau_published_glm", "low": 0.64, "high": 0.78}
    found = [
        target_claims(target, {"": group(edge + 0.03 * rng.normal(size=5), "tau_published_glm")})[0].decided.outcome
        for _ in range(STUDIES)
    ]
    assert rate(found, HOLDS) <= 0.05
    inside = [
        target_claims(target, {"": group(0.71 + 0.03 * rng.normal(size=5), "tau_published_glm")})[0].decided.outcome
        for _ in range(STUDIES)
    ]
    assert rate(inside, HOLDS) >= 0.9 and rate(inside, FAILS) <= 0.05


def test_orders_are_rarely_seen_where_there_are_none_and_mostly_where_they_are():
    rng = np.random.default_rng(1)

    def step(difference):
        network = 0.03 * rng.normal(size=5)  # shared by both kernels of a seed
        a, b = (0.7 + network + 0.015 * rng.normal(size=5) for _ in range(2))
        (claim,) = order_claims({"order": ["a", "b"]}, {"a": group(a + difference), "b": group(b)})
        return claim.decided.outcome

    none, order = [step(0.0) for _ in range(STUDIES)], [step(0.07) for _ in range(STUDIES)]
    assert rate(none, HOLDS) <= 0.05 and rate(none, FAILS) <= 0.05
    assert rate(order, HOLDS) >= 0.8 and rate(order, FAILS) == 0


def precision(kind, device="cpu"):
    config = compose_run(())
    config.kernel.precision, config.numerics.device = kind, device
    return config


def test_precisions_are_equivalent_only_within_the_margin():
    rng = np.random.default_rng(2)
    choice = {"equivalent": {"reference": "float64", "labels": ["float32"], "margin": 0.01}}
    config = precision("float32")

    def study(difference):
        tau = 0.7 + 0.02 * rng.normal(size=5)
        other = tau + difference + 0.002 * rng.normal(size=5)
        groups = {"float64": group(tau, config=config), "float32": group(other, config=config)}
        return equivalence_claims(choice, groups)[0].decided.outcome

    apart, same = [study(0.011) for _ in range(STUDIES)], [study(0.0) for _ in range(STUDIES)]
    assert rate(apart, HOLDS) <= 0.05
    assert rate(same, HOLDS) >= 0.95
    far = [study(0.03) for _ in range(50)]
    assert rate(far, FAILS) >= 0.95


def test_tf32_is_not_measured_on_a_cpu():
    values, choice = [0.7, 0.71, 0.69, 0.7, 0.72], {"reference": "float64", "labels": ["tf32"], "margin": 0.01}
    groups = {"float64": group(values, config=precision("float64")), "tf32": group(values, config=precision("tf32"))}
    (claim,) = equivalence_claims({"equivalent": choice}, groups)
    assert claim.decided.outcome == OPEN and "on a CPU tf32 is float32" in claim.decided.evidence
    assert equivalence_claims({"equivalent": choice}, {"float64": groups["float64"]}) == []
