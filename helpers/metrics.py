"""Can a classifier's probabilities be believed? Reliability by bins and the expected calibration error."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Predictions sorted into bins of equal width by their confidence.

    Attributes
    ----------
    edges : numpy.ndarray, shape (bins + 1,)
        Ends of the bins, from 0 to 1.
    count : numpy.ndarray of int, shape (bins,)
        Predictions in each bin.
    confidence, accuracy : numpy.ndarray, shape (bins,)
        Mean confidence and share of right predictions in each bin; NaN where a bin is empty.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self):
        """The expected calibration error: mean gap between confidence and accuracy, weighted by the bins' counts."""
        filled = self.count > 0
        gaps = np.abs(self.confidence[filled] - self.accuracy[filled])
        return float(gaps @ self.count[filled] / self.count.sum())


def reliability(probabilities, labels, bins=10):
    """Return how often a classifier is right, by how sure it says that it is.

    The confidence of a prediction is its largest probability (Guo et al., 2017, equations 2 and 3). A bin holds its
    upper end and not its lower one, except that the first also holds 0.

    Parameters
    ----------
    probabilities : array_like of float, shape (n, classes)
        Between 0 and 1; the rows should sum to 1.
    labels : array_like of int, shape (n,)
        True classes.
    bins : int
        Number of bins of equal width, at least 1.

    Returns
    -------
    Reliability

    Raises
    ------
    ValueError
        When the shapes do not fit, there is no prediction, a value is not between 0 and 1, or ``bins`` is below 1.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            "probabilities must have one row of classes for each of the labels (at least one), not the shapes"
            f" {probabilities.shape} and {labels.shape}."
        )
    if not ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all():
        raise ValueError("probabilities must lie between 0 and 1: were logits given?")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}.")
    edges = np.linspace(0, 1, bins + 1)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin is NaN, on purpose
        mean_confidence = np.bincount(place, confidence, bins) / count
        accuracy = np.bincount(place, right, bins) / count
    return Reliability(edges, count, mean_confidence, accuracy)
