"""Gradient descent as chapter 4 writes it out: bounds, trusted solvers, noise, schedules."""

import numpy as np
import pytest
from chapter_code import chapter_functions
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn import datasets, linear_model

CHAPTER = chapter_functions("04_gradient_descent", np=np, special=special)
descend = CHAPTER["descend"]
FEW = settings(max_examples=40, deadline=None, derandomize=True)


def bowl(seed, size):
    """A random symmetric matrix with positive eigenvalues, and a start that has a part along each eigenvector."""
    rng = np.random.default_rng(seed)
    hessian = CHAPTER["random_bowl"](rng, size)
    eigenvalues, eigenvectors = np.linalg.eigh(hessian)
    return hessian, eigenvalues, eigenvectors, eigenvectors @ (rng.uniform(0.5, 1, size) * rng.choice([-1, 1], size))


@FEW
@given(st.integers(0, 10**6), st.integers(1, 8), st.floats(0.01, 0.05))
def test_the_stability_bound_holds_on_both_sides(seed, size, margin):
    hessian, eigenvalues, _, start = bowl(seed, size)
    bound = 2 / eigenvalues[-1]
    steepest = np.linalg.eigh(hessian)[1][:, -1]

    def part(share, steps=200):
        return abs(descend(lambda theta: hessian @ theta, start, share * bound, steps)[-1] @ steepest)

    assert part(1 - margin) < abs(start @ steepest) < part(1 + margin)
    assert CHAPTER["growth"](hessian, (1 - margin) * bound, start, 20_000) < 1e-3
    assert CHAPTER["growth"](hessian, (1 + margin) * bound, start, 2000) > 1e3


@FEW
@given(st.integers(0, 10**6), st.integers(1, 8), st.floats(0.01, 0.99))
def test_the_path_is_the_closed_form_in_every_direction(seed, size, share):
    hessian, eigenvalues, eigenvectors, start = bowl(seed, size)
    rate = share * 2 / eigenvalues[-1]
    path = descend(lambda theta: hessian @ theta, start, rate, 50) @ eigenvectors
    expected = (1 - rate * eigenvalues) ** np.arange(51)[:, None] * (start @ eigenvectors)
    np.testing.assert_allclose(path, expected, atol=1e-10)


def test_exactly_at_the_bound_the_steepest_part_turns_its_sign_for_ever():
    path = descend(lambda theta: np.array([0.5, 4.0]) * theta, [1.0, 1.0], 0.5, 999)
    assert (path[:, 1] == [1, -1] * 500).all() and path[-1, 0] < 1e-100


@FEW
@given(st.floats(1.01, 300), st.floats(0.001, 0.999))
def test_no_rate_beats_the_best_rate(condition_number, share):
    best = (condition_number - 1) / (condition_number + 1)
    assert CHAPTER["slowest_factor"](condition_number, share * 2 / condition_number) >= best - 1e-12
    assert CHAPTER["slowest_factor"](condition_number, 2 / (1 + condition_number)) == pytest.approx(best)


@pytest.mark.parametrize("name", ["valley", "double"])
def test_gradients_agree_with_finite_differences(name):
    for theta in np.random.default_rng(0).normal(size=(20, 2)):
        theta = theta if name == "valley" else theta[:1]
        steps = 1e-6 * np.eye(len(theta))
        differences = [np.squeeze(CHAPTER[name](theta + h) - CHAPTER[name](theta - h)) / 2e-6 for h in steps]
        np.testing.assert_allclose(CHAPTER[f"{name}_gradient"](theta), differences, atol=1e-7)


def test_descend_is_keras_sgd():
    keras = pytest.importorskip("keras")
    variable, optimizer = keras.Variable([2.0, 1.0]), keras.optimizers.SGD(learning_rate=0.1)
    for point in descend(CHAPTER["valley_gradient"], [2.0, 1.0], 0.1, 100):
        np.testing.assert_allclose(variable.numpy(), point, rtol=1e-4, atol=1e-6)
        optimizer.apply([CHAPTER["valley_gradient"](variable.numpy())], [variable])


def standardised(bunch):
    x = (bunch.data - bunch.data.mean(axis=0)) / bunch.data.std(axis=0)
    return np.column_stack([x, np.ones(len(x))])


def test_linear_regression_reaches_the_closed_form():
    bunch = datasets.load_diabetes(scaled=False)
    x, y = standardised(bunch), bunch.target
    eigenvalues = np.linalg.eigvalsh(CHAPTER["hessian_of"](x))
    found = descend(CHAPTER["regression_gradient"](x, y), np.zeros(11), 2 / (eigenvalues[0] + eigenvalues[-1]), 6000)[-1]
    np.testing.assert_allclose(found, np.linalg.solve(x.T @ x, x.T @ y), rtol=1e-6)
    trusted = linear_model.LinearRegression().fit(x[:, :-1], y)
    np.testing.assert_allclose(found, np.append(trusted.coef_, trusted.intercept_), rtol=1e-6)
    assert CHAPTER["condition_number"](CHAPTER["hessian_of"](x)) == pytest.approx(np.linalg.cond(x) ** 2, rel=1e-6)


def test_logistic_regression_reaches_scikit_learns_answer():
    bunch = datasets.load_breast_cancer()
    x, y = standardised(bunch), bunch.target
    given = {"np": np, "special": special, "x_cells": x, "y_cells": y, "n_cells": len(y)}
    given["penalty"] = np.append(np.ones(30), 0) / len(y)
    gradient = chapter_functions("04_gradient_descent", **given)["logistic_gradient"]
    rate = 1.9 / (np.linalg.eigvalsh(x.T @ x / len(y) / 4)[-1] + 1 / len(y))
    found = descend(gradient, np.zeros(31), rate, 16_000)[-1]
    trusted = linear_model.LogisticRegression(C=1.0, tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(x[:, :-1], y)
    np.testing.assert_allclose(found, np.append(trusted.coef_[0], trusted.intercept_), atol=1e-5)


@FEW
@given(st.integers(0, 10**6))
def test_batch_gradient_is_right_on_average_and_its_variance_falls_as_one_over_b(seed):
    rng = np.random.default_rng(seed)
    x, one_hot = rng.normal(size=(60, 4)), np.eye(3)[rng.integers(0, 3, 60)]
    functions = chapter_functions("04_gradient_descent", np=np, special=special, x_pixels=x, one_hot=one_hot)
    weights = rng.normal(size=(4, 3))
    singles = np.array([functions["batch_gradient"](weights, np.array([row])) for row in range(60)])
    full = functions["batch_gradient"](weights, np.arange(60))
    np.testing.assert_allclose(singles.mean(axis=0), full, atol=1e-12)
    v = ((singles - full) ** 2).sum(axis=(1, 2)).mean()
    variance = {}
    for size in (1, 4, 16, 64):
        batches = singles[rng.integers(0, 60, (4000, size))].mean(axis=1)
        variance[size] = ((batches - full) ** 2).sum(axis=(1, 2))
        assert variance[size].mean() * size / v == pytest.approx(1, abs=0.2)
    assert functions["slope_of"](variance) == pytest.approx(-1, abs=0.06)


def test_the_noise_of_one_example_is_computed_exactly():
    rng = np.random.default_rng(0)
    x, one_hot = rng.normal(size=(10_000, 4)), np.eye(3)[rng.integers(0, 3, 10_000)]
    functions = chapter_functions("04_gradient_descent", np=np, special=special, x_pixels=x, one_hot=one_hot)
    weights = rng.normal(size=(4, 3))
    singles = x[:, :, None] * (special.softmax(x @ weights, axis=1) - one_hot)[:, None, :]
    signal, v = functions["noise_of_one"](weights)
    assert signal == pytest.approx((singles.mean(axis=0) ** 2).sum())
    assert v == pytest.approx(((singles - singles.mean(axis=0)) ** 2).sum(axis=(1, 2)).mean())


@FEW
@given(st.floats(0.02, 1.9))
def test_the_noise_floor(rate):
    noise = np.random.default_rng(0).normal(0, 2, (600, 3000))
    assert CHAPTER["hover"](np.full(600, rate), noise)[-1].var() == pytest.approx(rate * 4 / (2 - rate), rel=0.2)


def test_a_rate_of_one_over_t_is_the_running_mean():
    noise = np.random.default_rng(0).normal(size=(50, 3))
    path = CHAPTER["hover"](1 / np.arange(1, 51), noise)
    np.testing.assert_allclose(path, -np.cumsum(noise, axis=0) / np.arange(1, 51)[:, None], atol=1e-12)


@FEW
@given(st.floats(1e-4, 2), st.integers(10, 300), st.integers(1, 50), st.integers(0, 400))
def test_schedules_are_those_of_keras(peak, total, warm, step):
    schedules = pytest.importorskip("keras").optimizers.schedules
    cosine = schedules.CosineDecay(peak, decay_steps=total)
    assert CHAPTER["cosine_decay"](step, peak, total) == pytest.approx(float(cosine(step)), abs=1e-6 * max(peak, 1))
    assume(step % total != 0)  # at a stair Keras' 32-bit division may fall to either side
    stairs = schedules.ExponentialDecay(peak, decay_steps=total, decay_rate=0.1, staircase=True)
    assert CHAPTER["step_decay"](step, peak, total) == pytest.approx(float(stairs(step)), rel=1e-5)
    both = schedules.CosineDecay(0.0, decay_steps=total, warmup_target=peak, warmup_steps=warm)
    ours = CHAPTER["warm_up"](step, peak, warm) if step < warm else CHAPTER["cosine_decay"](step - warm, peak, total)
    assert ours == pytest.approx(float(both(step)), abs=1e-6 * max(peak, 1))


def test_the_two_weight_network_needs_warm_up_at_one_half():
    at_once = CHAPTER["two_layers"](np.full(40, 0.5))[1]
    path, losses = CHAPTER["two_layers"](CHAPTER["warm_up"](np.arange(1, 41), 0.5, 5))
    assert at_once[-1] > 1e9 and losses[-1] < 1e-12
    a, b = path[-1]
    assert CHAPTER["curvature"](path[-1]) == pytest.approx(a * a + b * b, rel=1e-6)
