"""Every configuration of the coverage table is exact or refused with a true sentence, as docs/coverage.md says."""

import json
import warnings

import pytest

from scripts.coverage_table import KEPT, PAGE, SLOWER, ratios, render
from tests.kernels.coverage.measured import compare
from tests.kernels.coverage.rows import CASES, lacking

ROWS = json.loads(KEPT.read_text())["rows"]
EXACT, SINGLE = 1e-9, 1e-4


@pytest.mark.coverage
@pytest.mark.parametrize("name", CASES)
def test_a_network_is_exact_or_refused_with_a_true_sentence(name):
    if missing := lacking(CASES[name]):
        pytest.skip(missing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that build the networks
        found = compare(CASES[name])
    if CASES[name].refused or found.refused:
        assert CASES[name].refused and CASES[name].refused in found.refused
        return
    assert found.error < (SINGLE if CASES[name].single else EXACT)
    assert found.ruled >= ROWS.get(name, {"ruled": 0})["ruled"] - 1e-3, (
        "fewer parameters have a rule than docs/coverage.md says"
    )


def test_the_page_says_what_was_measured():
    assert PAGE.read_text() == render(json.loads(KEPT.read_text()))


def test_kept_rows_are_of_configurations_that_exist_in_their_order():
    assert list(ROWS) == [name for name in CASES if name in ROWS]


@pytest.mark.parametrize("name", ROWS)
def test_a_kept_row_is_exact_or_refused_with_a_true_sentence(name):
    case, row = CASES[name], ROWS[name]
    if case.refused:
        assert case.refused in row["refused"]
    else:
        assert not row["refused"] and row["error"] < (SINGLE if case.single else EXACT)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row["refused"]])
def test_a_kept_kernel_took_no_longer_than_a_plain_loop(name):
    slower = max(ratios(ROWS[name])) < 1  # than one forward and backward pass per sample and logit, in every pair
    assert slower == (name in SLOWER)
