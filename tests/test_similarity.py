"""Probes and scores of relatedness against hand-computed cases and independent computations."""

import numpy as np
import pytest
from scipy import optimize

from helpers import similarity


def test_cka_is_blind_to_turning_and_scaling_and_only_to_these():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) * [1, 2, 3, 4, 5]
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    assert similarity.linear_cka(x, 3 * x @ turn + 7) == pytest.approx(1)
    assert similarity.linear_cka(x, rng.normal(size=(60, 5))) < 0.5
    assert similarity.linear_cka(x, x * [5, 4, 3, 2, 1]) < 0.99


def test_cka_by_the_formula_of_covariances():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 6))
    a, b = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(b.T @ a) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)
    assert similarity.linear_cka(x, y) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"\(30, 4\) and \(29, 6\)"):
        similarity.linear_cka(x, y[:29])
    with pytest.raises(ValueError, match="same for all"):
        similarity.linear_cka(x, np.ones((30, 2)))


def evidence_by_brute_force(features, target):
    """The log evidence of Bayesian regression from the multivariate normal density, maximised numerically."""
    n = len(target)

    def negative(logs):
        alpha, beta = np.exp(logs)
        covariance = np.eye(n) / beta + features @ features.T / alpha
        _, logdet = np.linalg.slogdet(covariance)
        return (n * np.log(2 * np.pi) + logdet + target @ np.linalg.solve(covariance, target)) / 2

    found = min((optimize.minimize(negative, start, method="Nelder-Mead") for start in ([0, 0], [3, 3], [-2, 2])),
                key=lambda result: result.fun)
    return -found.fun / n


@pytest.mark.parametrize("width", [3, 40])  # fewer and more features than examples
def test_logme_is_the_maximised_evidence(width):
    rng = np.random.default_rng(2)
    labels = np.arange(30) % 2
    features = rng.normal(size=(30, width)) + 2 * labels[:, None] * (np.arange(width) == 0)
    expected = np.mean([evidence_by_brute_force(features, (labels == c).astype(float)) for c in (0, 1)])
    assert similarity.logme(features, labels) == pytest.approx(expected, abs=2e-3)


def test_logme_prefers_features_that_tell_the_classes_apart():
    rng = np.random.default_rng(3)
    labels = np.arange(90) % 3
    noise = rng.normal(size=(90, 6))
    telling = noise + 3 * np.eye(6)[labels]
    assert similarity.logme(telling, labels) > similarity.logme(noise, labels) + 0.1
    with pytest.raises(ValueError, match="two classes"):
        similarity.logme(noise, np.zeros(90))


def test_leep_by_hand():
    answers = np.array([[1, 0], [1, 0], [0, 1], [0.5, 0.5]])
    labels = [0, 0, 1, 1]
    # Joint, times four: label 0: (2, 0), label 1: (0.5, 1.5). Given source 0: 4/5 and 1/5; given source 1: 0 and 1.
    expected = np.mean(np.log([0.8, 0.8, 1.0, 0.5 * 0.2 + 0.5 * 1.0]))
    assert similarity.leep(answers, labels) == pytest.approx(expected)
    with pytest.raises(ValueError, match="sums to 1"):
        similarity.leep(2 * answers, labels)


def test_a_probe_reads_what_is_linear_and_not_more():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 2))
    straight, crossed = (x[:, 0] > 0).astype(int), (x[:, 0] * x[:, 1] > 0).astype(int)
    assert similarity.linear_probe(x[:200], straight[:200], x[200:], straight[200:]) > 0.95
    assert similarity.linear_probe(x[:200], crossed[:200], x[200:], crossed[200:]) < 0.65
