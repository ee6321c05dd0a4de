"""Intervals of paired differences, against SciPy and against their promise."""

import numpy as np
import pytest
from scipy import stats

from helpers import compare


def test_interval_is_that_of_scipy():
    rng = np.random.default_rng(0)
    arm, baseline = rng.normal(0.87, 0.004, 12), rng.normal(0.86, 0.004, 12)
    found = compare.paired_difference(arm, baseline)
    expected = stats.ttest_rel(arm, baseline).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.mean == pytest.approx((arm - baseline).mean()) and found.count == 12
    assert found.wins == (arm > baseline).sum()


def test_interval_by_hand():
    found = compare.paired_difference([3, 5, 4], [1, 2, 3])  # differences 2, 3, 1: mean 2, s = 1, t = 4.303
    assert (found.mean, found.wins) == (2, 3)
    assert found.high - found.mean == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(2000):
        common = rng.normal(0, 5, 10)  # what the seeds share must not widen the interval
        found = compare.paired_difference(common + rng.normal(0.3, 1, 10), common)
        hits += found.low <= 0.3 <= found.high
    assert 0.935 < hits / 2000 < 0.965


@pytest.mark.parametrize(
    ("arm", "verdict"),
    [([2, 2.1, 2.2], "better"), ([0, 0.1, 0.2], "worse"), ([0.9, 1.2, 1.0], "no detectable difference")],
)
def test_verdicts(arm, verdict):
    found = compare.paired_difference(arm, [1, 1.1, 1.05])
    assert found.verdict == verdict and verdict in str(found)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (([1, 2], [1]), r"not \(2,\) and \(1,\)"),
        (([1], [1]), "at least 2"),
        (([[1, 2]], [[1, 2]]), "equally long lists"),
        (([1, np.nan], [1, 2]), "finite"),
        (([1, 2], [1, 2], 95), "between 0 and 1, not 95"),
    ],
)
def test_bad_input_is_named(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        compare.paired_difference(*arguments)


def test_effect_size_by_hand():
    assert compare.paired_difference([3, 5, 4], [1, 2, 3]).effect_size == pytest.approx(2)  # mean 2, s = 1
    assert np.isnan(compare.paired_difference([2, 3], [1, 2]).effect_size)
