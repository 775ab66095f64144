"""Invalid tests are refused with their measured reason."""

import pytest

from analysis.shift_protocol import ShiftProtocol


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"ks_basis": "reference"}, "8.7 %"),
        ({"ks_basis": "sample"}, "not exchangeable"),
        ({"c2st": "cross_validated_binomial"}, "7.7 %"),
        ({"tuning": "tested_data"}, "inflates every p-value"),
        ({"projection": "domain_labels"}, "finds a difference in noise"),
        ({"frechet": "threshold"}, "no fixed threshold has a known level"),
    ],
)
def test_invalid_choices_say_why(choice, reason):
    with pytest.raises(ValueError, match=reason):
        ShiftProtocol(**choice)


def test_valid_choices_pass():
    assert ShiftProtocol().ks_basis == "pooled"
    ShiftProtocol(c2st="cross_validated_permutation", tuning="held_out", projection="pooled_pca")
