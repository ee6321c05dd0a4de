"""Is one way of training better than another? Paired runs and the interval of their difference."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Difference:
    """What paired runs say of the difference between two arms.

    Attributes
    ----------
    mean : float
        Average of ``arm - baseline`` over the pairs.
    low, high : float
        Ends of the confidence interval of that average.
    wins, count : int
        Pairs in which the arm was ahead, and pairs in all.
    effect_size : float
        ``mean`` in standard deviations of the differences (Cohen's d of paired scores, Lakens, 2013, equation 6): how
        far the arms lie apart beside how much one pair scatters. NaN when all differences are equal.
    """

    mean: float
    low: float
    high: float
    wins: int
    count: int
    effect_size: float = float("nan")

    @property
    def verdict(self):
        """``"better"``, ``"worse"`` or ``"no detectable difference"`` (the interval holds zero)."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no detectable difference"

    def __str__(self):
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}] {self.wins}/{self.count} {self.verdict}"


def paired_difference(arm, baseline, confidence=0.95):
    """Return the difference between two arms that were run with the same seeds.

    Student's t interval of the mean of the differences; pairing removes what the seeds have in common (Bouthillier
    et al., 2021, *Accounting for variance in machine learning benchmarks*).

    Parameters
    ----------
    arm, baseline : array_like of float, shape (n,)
        One score a seed, in the same order of seeds; larger is better. At least two.
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    Difference

    Raises
    ------
    ValueError
        When the two are not equally long lists of at least two finite numbers, or ``confidence`` is not between 0
        and 1.
    """
    from scipy import stats

    arm, baseline = np.asarray(arm, float), np.asarray(baseline, float)
    if arm.ndim != 1 or arm.shape != baseline.shape or len(arm) < 2:
        raise ValueError(
            f"arm and baseline must be equally long lists of at least 2 scores, not {arm.shape} and {baseline.shape}."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence}.")
    gaps = arm - baseline
    if not np.isfinite(gaps).all():
        raise ValueError("arm and baseline must be finite; a NaN or infinite score is in them.")
    mean = gaps.mean()
    spread = gaps.std(ddof=1)
    half = stats.t.ppf((1 + confidence) / 2, len(gaps) - 1) * spread / np.sqrt(len(gaps))
    effect = float(mean / spread) if spread > 0 else float("nan")
    return Difference(float(mean), float(mean - half), float(mean + half), int((gaps > 0).sum()), len(gaps), effect)
