"""One call on outputs of any form: the numbers are those of the parts, and the intervals hold over seeds."""

import numpy as np
import pytest
import torch

from analysis import compare_runs
from analysis.classifier_metrics import churn_matrix, decisions, error_agreement, run_metrics
from analysis.comparison.levels import gaps_of
from analysis.trimming import consensus_levels, dkw_threshold
from analysis.variability import ambiguity, group_interval, planned_runs
from analysis.variability.seed_count import distribution_spread
from analysis.verdicts.intervals import jackknife_share_interval
from tests.analysis.comparison.cases import runs

RUNS, LABELS = runs()
ARRAY = np.stack(list(RUNS.values()))
PROBABILITIES = np.exp(ARRAY) / np.exp(ARRAY).sum(axis=2, keepdims=True)
RESULT = compare_runs(RUNS, LABELS)


def numbers(result):
    return result.table[["value", "low", "high"]].to_numpy(dtype=float)


@pytest.mark.parametrize(
    "outputs",
    [
        ARRAY,
        list(ARRAY),
        ARRAY.tolist(),
        torch.tensor(ARRAY, requires_grad=True),
        {name: torch.tensor(run, requires_grad=True) for name, run in RUNS.items()},
        [list(map(torch.tensor, run)) for run in ARRAY],
    ],
    ids=["array", "list of arrays", "nested lists", "tensor with gradient", "mapping of tensors", "lists of tensors"],
)
def test_every_form_gives_equal_numbers(outputs):
    labels = torch.tensor(LABELS) if isinstance(outputs, torch.Tensor) else LABELS.tolist()
    np.testing.assert_array_equal(numbers(compare_runs(outputs, labels)), numbers(RESULT))


def test_one_hot_labels_and_half_precision_are_taken():
    result = compare_runs(torch.tensor(ARRAY, dtype=torch.bfloat16), np.eye(3)[LABELS])
    assert result.value("accuracy") == pytest.approx(RESULT.value("accuracy"), abs=0.02)


def test_probabilities_give_the_numbers_of_their_logits():
    result = compare_runs(PROBABILITIES, LABELS, is_probability=True)
    np.testing.assert_allclose(numbers(result), numbers(RESULT), rtol=1e-6, atol=1e-9)
    zero = np.array(PROBABILITIES)
    zero[0, 3] = [1.0, 0.0, 0.0]
    assert "1 of 600 rows hold a probability below 1e-07" in repr(compare_runs(zero, LABELS, is_probability=True))


def test_what_looks_like_probabilities_may_be_said_to_be_logits():
    result = compare_runs(PROBABILITIES, LABELS, is_probability=False)
    assert result.value("accuracy") == RESULT.value("accuracy")
    assert result.value("nll") > RESULT.value("nll")


def test_one_output_is_the_log_odds_of_class_one():
    two, labels = runs(classes=2)
    gap = {name: run[:, 1] - run[:, 0] for name, run in two.items()}
    wanted = numbers(compare_runs(two, labels))
    for outputs in (gap, {name: run[:, None] for name, run in gap.items()}):
        np.testing.assert_allclose(numbers(compare_runs(outputs, labels)), wanted, rtol=1e-9, atol=1e-12)
    sure = {name: 1 / (1 + np.exp(-run)) for name, run in gap.items()}
    np.testing.assert_allclose(numbers(compare_runs(sure, labels, is_probability=True)), wanted, rtol=1e-6, atol=1e-9)


def test_the_numbers_are_those_of_the_parts():
    decided = decisions(ARRAY)
    metrics = run_metrics(ARRAY, LABELS)
    churn = churn_matrix(decided)
    pairs = np.triu_indices(5, 1)
    for name in ("accuracy", "nll", "brier", "ece"):
        assert RESULT.value(name) == pytest.approx(metrics[name].mean())
        np.testing.assert_array_equal(RESULT.runs[name], metrics[name])
    assert RESULT.value("churn", "between two runs") == pytest.approx(churn[pairs].mean())
    np.testing.assert_array_equal(RESULT.pairs["churn"], churn[pairs])
    row = next(row for row in RESULT.rows if row["of"] == "between two runs")
    assert (row["low"], row["high"]) == pytest.approx((group_interval(churn).low, group_interval(churn).high))
    agreement = error_agreement(decided, LABELS)[pairs]
    assert RESULT.value("error_agreement", "between two runs") == pytest.approx(agreement.mean())
    assert RESULT.value("ambiguity", "of 3 runs") == pytest.approx(ambiguity(decided, 3))
    ensemble = PROBABILITIES.mean(axis=0)
    right = float((ensemble.argmax(axis=1) == LABELS).mean())
    assert RESULT.value("accuracy", "ensemble") == pytest.approx(right)
    assert RESULT.value("accuracy", "ensemble minus mean run") == pytest.approx(right - metrics["accuracy"].mean())
    assert RESULT.value("nll", "ensemble") == pytest.approx(-np.log(ensemble[np.arange(120), LABELS]).mean())
    gaps, quantity = gaps_of(RESULT.outputs, None)
    assert quantity == "margin" and RESULT.delta == dkw_threshold(120, 120)
    levels = consensus_levels(gaps, deltas=[0.05])
    tight = compare_runs(RUNS, LABELS, delta=0.05)
    for kind in ("mixture", "logit_mean", "quantile_mean"):
        np.testing.assert_array_equal(tight.runs[f"level_{kind}"], levels.level(kind, 0.05))
    left_out = [consensus_levels(np.delete(gaps, i, 0), deltas=[0.05]).level("mixture", 0.05).mean() for i in range(5)]
    row = next(row for row in tight.rows if (row["measure"], row["of"]) == ("level", "mixture"))
    wanted = jackknife_share_interval(levels.level("mixture", 0.05).tolist(), left_out)
    assert (row["low"], row["high"]) == pytest.approx(wanted, nan_ok=True)
    wanted = planned_runs(distribution_spread(gaps), delta=0.05)
    assert tight.value("runs_needed", "consensus of levels") == wanted


def test_the_runs_needed_are_the_fewest_that_reach_the_precision():
    from scipy import stats

    n = int(RESULT.value("runs_needed", "mean accuracy within 0.005"))
    sd = RESULT.metrics["accuracy"].std(ddof=1)
    half = [stats.t.ppf(0.975, m - 1) * sd / m**0.5 for m in (n - 1, n)]
    assert half[0] > 0.005 >= half[1]
    row = next(row for row in RESULT.rows if row["of"] == "mean accuracy within 0.005")
    assert row["low"] < n < row["high"]


def test_intervals_hold_their_estimates_and_stay_in_range():
    for row in RESULT.rows:
        if row["low"] == row["low"]:
            assert row["low"] <= row["value"] <= row["high"]
            if "minus" not in row["of"] and row["measure"] not in ("nll", "error_agreement", "runs_needed"):
                assert 0 <= row["low"] and row["high"] <= (2 if row["measure"] == "brier" else 1)
    extremes = [row for row in RESULT.rows if "all 5 runs" in row["of"] or "best run" in row["of"]]
    assert len(extremes) == 4 and all(row["low"] != row["low"] for row in extremes), "extremes have no interval"


def test_from_two_runs_there_is_no_interval_and_it_is_said():
    result = compare_runs(dict(list(RUNS.items())[:2]), LABELS)
    assert np.isnan(numbers(result)[:, 1:]).all()
    assert "cannot be told from one difference, so that no interval is given" in repr(result)
    result.plot()


def test_three_runs_are_said_to_be_few():
    result = compare_runs(dict(list(RUNS.items())[:3]), LABELS)
    assert "3 runs: intervals are wide; 5 are the least" in repr(result)
    assert not np.isnan(result.table.set_index(["measure", "of"]).loc[("churn", "between two runs"), "low"])


def test_levels_that_are_all_zero_have_a_bound_and_no_interval_of_width_zero():
    row = next(row for row in RESULT.rows if row["measure"] == "level" and row["of"] == "mixture")
    assert (row["value"], row["low"]) == (0, 0) and row["high"] == pytest.approx(1 - 0.025 ** (1 / 5))


def test_a_run_that_is_unlike_the_others_has_a_level():
    result = compare_runs({**RUNS, "odd": 4 * ARRAY[0]}, LABELS)
    levels = result.runs.set_index("run")["level_mixture"]
    assert levels["odd"] > 0.3 and levels.drop("odd").max() == 0


def test_equal_runs_are_named():
    with pytest.warns(UserWarning, match=r"equal outputs \(1 pairs: seed 0 = again\): was the seed set"):
        result = compare_runs({**RUNS, "again": ARRAY[0]}, LABELS)
    assert any("seed 0 = again" in note for note in result.notes)
    with pytest.warns(UserWarning, match="equal outputs"):
        same = compare_runs(ARRAY[[0, 0, 0]], LABELS)
    assert np.isnan(
        [same.value("runs_needed", row["of"]) for row in same.rows if row["measure"] == "runs_needed"]
    ).all()


def test_runs_that_are_not_finite_can_be_left_out():
    broken = {**RUNS, "broken": np.full_like(ARRAY[0], np.nan)}
    result = compare_runs(broken, LABELS, on_bad_run="drop")
    np.testing.assert_array_equal(numbers(result), numbers(RESULT))
    assert "Left out, since their outputs are not finite: 'broken'." in result.notes


def test_five_examples_have_no_level_and_fifty_a_wide_tolerance():
    few = compare_runs(ARRAY[:, :5], LABELS[:5])
    assert np.isnan(few.delta) and "5 examples allow no tolerance" in repr(few)
    few.plot()
    assert "only gross differences" in repr(compare_runs(ARRAY[:, :50], LABELS[:50]))


def test_runs_without_errors_have_no_agreement_of_errors():
    perfect = compare_runs(10 * np.eye(3)[LABELS] + 0.1 * ARRAY, LABELS)
    assert "undefined: a run makes no error, or only errors" in repr(perfect)
    assert perfect.runs["error_agreement"].isna().all()


def test_many_runs_leave_groups_out_and_apply_the_stopping_rule():
    many, labels = runs(count=24, examples=60)
    result = compare_runs(many, labels, delta=0.1)
    said = next(row["note"] for row in result.rows if row["of"] == "consensus of levels")
    assert "half-to-half distance" in said
    np.testing.assert_array_equal(numbers(compare_runs(many, labels, delta=0.1)), numbers(result))


def test_it_is_read_in_one_glance_and_numbers_are_looked_up():
    lines = repr(RESULT).splitlines()
    assert lines[0] == "5 runs on 120 examples of 3 classes; 95 % intervals over runs"
    assert len(lines) < 40 and max(map(len, lines)) < 140
    with pytest.raises(KeyError, match="choose among .*'between two runs'"):
        RESULT.value("churn")


def test_the_figure_shows_four_things_and_copes_with_many_long_names():
    panels = [axis for axis in RESULT.plot().axes if axis.get_title(loc="left")]
    assert len(panels) == 4
    many, labels = runs(count=30, examples=60)
    figure = compare_runs({f"a very long name of {name}": run for name, run in many.items()}, labels).plot()
    assert max(len(axis.get_xticklabels()) for axis in figure.axes) <= 12


def test_a_page_is_whole_equal_and_shows_strange_names_as_they_are(tmp_path):
    outputs = {f"<b>{name}\x1b[2J": run for name, run in RUNS.items()}
    first = compare_runs(outputs, LABELS).report(tmp_path / "sub" / "runs.html", title="Mine & yours")
    text = first.read_text(encoding="utf-8")
    assert "<h1>Mine &amp; yours</h1>" in text and "&lt;b&gt;seed 0\\x1b[2J" in text and "<svg" in text
    assert "<b>seed" not in text and "\x1b" not in text and text.count("<script") == 1 and 'href="http' not in text
    second = compare_runs(outputs, LABELS).report(tmp_path / "again.html", title="Mine & yours")
    assert second.read_bytes() == first.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.html", "sub"]
    with pytest.raises(ValueError, match="is a folder: name a file in it"):
        RESULT.report(tmp_path)
