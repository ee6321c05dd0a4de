"""The seven optimizers equal Keras' over 200 steps; chapter 5 shows the same code; its evidence still holds."""

import ast
import functools

import keras
import numpy as np
import optimizers as study  # book/evidence/optimizers.py
import pytest
from build_notebooks import ROOT, code_cells, read_chapter
from chapter_code import chapter_functions
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import compare, evidence, optimizers
from helpers.optimizers import adagrad, adam, adamw, follow, momentum, nesterov, rmsprop, sgd

STEPS = (sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw)
FEW = settings(max_examples=25, deadline=None, derandomize=True)


def rosenbrock(theta):
    """Gradient of Rosenbrock's function of any number of weights, in overlapping pairs."""
    x, y = theta[..., :-1], theta[..., 1:]
    slope = np.zeros_like(theta)
    slope[..., :-1] = -2 * (1 - x) - 400 * x * (y - x**2)
    slope[..., 1:] += 200 * (y - x**2)
    return slope


def network(theta):
    """Gradient of the mean squared error of a small tanh network on fixed data, its 4 + 4 weights in one row."""
    x = np.linspace(-1, 1, 20)
    hidden = np.tanh(np.outer(x, theta[:4]))
    wrong = 2 * (hidden @ theta[4:] - np.sin(3 * x)) / 20
    return np.concatenate([((1 - hidden**2) * theta[4:]).T @ (wrong * x), hidden.T @ wrong])


PROBLEMS = {  # gradient, start, a rate for the methods whose step follows the size of the gradient
    "Rosenbrock": (rosenbrock, [-1.5, 2.0, 0.5], 2**-12),
    "network": (network, [0.3, -0.8, 1.1, -0.2, 0.5, -0.4, 0.9, 0.7], 2**-6),
}


def by_keras(optimizer, gradient, theta, steps=200):
    variable = keras.Variable(theta, dtype="float64")
    path = [variable.numpy()]
    for _ in range(steps):
        optimizer.apply([gradient(path[-1])], [variable])
        path.append(variable.numpy())
    return np.array(path)


def gap(ours, theirs):
    return (np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)).max()


def keras_epsilon(step, epsilon=1e-7, beta2=0.999):
    """Adam or AdamW with the paper's epsilon set to what Keras' is worth in each step."""

    def converted(theta, gradient, memory, learning_rate, **more):
        t = memory.get("t", 0) + 1
        return step(theta, gradient, memory, learning_rate, epsilon=epsilon / np.sqrt(1 - beta2**t), **more)

    return converted


K = keras.optimizers
# Powers of two as rates: Keras keeps them in single precision.
TWINS = {
    "SGD": (sgd, lambda rate: K.SGD(rate), {}, None),
    "momentum": (momentum, lambda rate: K.SGD(rate, momentum=0.9), {}, None),
    "AdaGrad, account from 0": (adagrad, lambda rate: K.Adagrad(rate, initial_accumulator_value=0), {"initial": 1e-7, "delta": 0}, 2**-5),
    "AdaGrad, Keras' default": (adagrad, lambda rate: K.Adagrad(rate), {"initial": 0.1 + 1e-7, "delta": 0}, 2**-5),
    "RMSprop": (rmsprop, lambda rate: K.RMSprop(rate), {}, 2**-7),
    "Adam, Keras' default": (keras_epsilon(adam), lambda rate: K.Adam(rate), {}, 2**-6),
    "AdamW": (keras_epsilon(adamw), lambda rate: K.AdamW(rate, weight_decay=0.25), {"weight_decay": 0.25 * 2**-6}, 2**-6),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("twin", TWINS)
def test_trajectory_is_that_of_keras(twin, problem):
    step, make, more, rate = TWINS[twin]
    gradient, start, small = PROBLEMS[problem]
    rate = rate or small
    theirs = by_keras(make(rate), gradient, start)
    assert gap(follow(step, gradient, start, rate, 200, **more), theirs) < 1e-5
    assert np.linalg.norm(theirs[-1] - theirs[0]) > 0.1  # it went somewhere


@pytest.mark.parametrize("problem", PROBLEMS)
def test_keras_nesterov_stores_the_point_ahead(problem):
    gradient, start, rate = PROBLEMS[problem]
    mu = 0.875  # exact in single precision, in which Keras keeps it: the path in Rosenbrock's valley blows up any rounding
    theirs = by_keras(K.SGD(rate, momentum=mu, nesterov=True), gradient, start)
    ours = follow(nesterov, gradient, start, rate, 200, mu=mu)
    velocity = np.diff(ours, axis=0, prepend=ours[:1])
    assert gap(ours + mu * velocity, theirs) < 1e-5 < 1e-3 < gap(ours, theirs)


@pytest.mark.parametrize("twin", TWINS)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.5, 3), min_size=2, max_size=4), st.floats(0.05, 0.9))
def test_any_start_and_curvature_agree_with_keras(twin, start, flat):
    step, make, more, rate = TWINS[twin]
    rate = rate or 2**-8
    curvature = np.linspace(flat, 5, len(start))

    def bowl(theta):  # shifted, so that the weights do not go to zero and "relative" keeps its meaning
        return curvature * (theta - 4)

    assert gap(follow(step, bowl, start, rate, 100, **more), by_keras(make(rate), bowl, start, 100)) < 1e-5


def test_where_keras_default_is_not_the_paper_it_is_by_as_much_as_the_chapter_says():
    start = [-1.5, 2.0]

    def scaled(size):
        return lambda theta: size * rosenbrock(theta)

    def apart(step, make, size, rate, **more):
        return gap(follow(step, scaled(size), start, rate, 200, **more), by_keras(make(rate), scaled(size), start))

    assert apart(adagrad, K.Adagrad, 1, 0.5) < 1e-4 < 0.1 < apart(adagrad, K.Adagrad, 1e-3, 0.5)
    assert apart(adam, K.Adam, 1, 2**-5) < 1e-5 < 0.05 < apart(adam, K.Adam, 1e-7, 2**-5)
    assert apart(adamw, lambda rate: K.AdamW(rate, weight_decay=0.125), 1, 2**-5, weight_decay=0.125) > 0.5


@FEW
@given(st.floats(1e-4, 1e4), st.floats(1e-3, 1))
def test_the_first_step_of_adam_and_adagrad_is_the_learning_rate_whatever_the_gradient(size, rate):
    for step, more in ((adam, {"epsilon": 0}), (adagrad, {"delta": 0})):
        assert follow(step, lambda theta: np.array([size, -size]), np.zeros(2), rate, 1, **more)[1] == pytest.approx([-rate, rate])


@FEW
@given(st.floats(1e-3, 1e3))
def test_adaptive_methods_do_not_notice_the_scale_of_the_loss_and_the_others_do(scale):
    def longer(theta):
        return scale * network(theta)

    start = PROBLEMS["network"][1]
    for step, more in ((adagrad, {"delta": 0}), (rmsprop, {"epsilon": 0}), (adam, {"epsilon": 0})):
        assert gap(follow(step, longer, start, 0.01, 30, **more), follow(step, network, start, 0.01, 30, **more)) < 1e-5
    for step in (sgd, momentum, nesterov):  # scaling the loss is scaling the rate
        assert gap(follow(step, longer, start, 0.001 / scale, 30), follow(step, network, start, 0.001, 30)) < 1e-9


@FEW
@given(st.floats(0.1, 1.4))
def test_only_methods_without_a_rate_per_weight_turn_with_the_landscape(angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    curvature, start = np.array([1.0, 20.0]), np.array([-3.0, 1.0])

    def turned(theta):
        return turn @ (curvature * (turn.T @ theta))

    for step in (sgd, momentum, nesterov):
        straight = follow(step, lambda theta: curvature * theta, start, 0.01, 50)
        np.testing.assert_allclose(follow(step, turned, turn @ start, 0.01, 50), straight @ turn.T, atol=1e-9)
    for step in (adagrad, rmsprop, adam):
        straight = follow(step, lambda theta: curvature * theta, start, 0.05, 50)
        assert np.abs(follow(step, turned, turn @ start, 0.05, 50) - straight @ turn.T).max() > 1e-3


@FEW
@given(st.floats(2, 2000))
def test_best_momentum_shrinks_all_directions_by_polyaks_factor(kappa):
    root = np.sqrt(kappa)
    mu, rate = ((root - 1) / (root + 1)) ** 2, 4 / (1 + root) ** 2
    for curvature in np.linspace(1, kappa, 7)[1:-1]:
        assert np.abs(np.roots([1, -(1 + mu - rate * curvature), mu])) == pytest.approx((root - 1) / (root + 1))


def test_decay_shrinks_by_the_same_share_and_with_sgd_it_is_the_penalty():
    still = follow(adamw, lambda theta: np.zeros(3), [1.0, -2.0, 3.0], 0.01, 50, weight_decay=0.02, schedule=0.5)
    np.testing.assert_allclose(still, 0.99 ** np.arange(51)[:, None] * [1.0, -2.0, 3.0])
    start = PROBLEMS["network"][1]
    penalised = follow(sgd, lambda theta: network(theta) + 0.3 * theta, start, 0.1, 50)
    decayed = follow(lambda theta, g, memory, rate: sgd(theta, g, memory, rate) - rate * 0.3 * theta, network, start, 0.1, 50)
    np.testing.assert_allclose(penalised, decayed)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_one_rate_a_row_is_the_same_as_one_run_a_rate_and_theta_is_left_alone(step):
    more = {"weight_decay": 0.01} if step is adamw else {}
    theta, rates = np.array([-1.5, 2.0, 0.5]), np.array([1e-5, 3e-5, 1e-4])
    together = follow(step, rosenbrock, np.tile(theta, (3, 1)), rates[:, None], 20, **more)
    for row, rate in enumerate(rates):
        np.testing.assert_allclose(together[:, row], follow(step, rosenbrock, theta, rate, 20, **more), rtol=1e-12)
    assert theta.tolist() == [-1.5, 2.0, 0.5]


def test_the_chapter_shows_the_code_of_the_module():
    def body(node):
        """The function without its docstring, as one text."""
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = node.body[1:]
        return ast.unparse(node)

    def functions(source):
        return {node.name: body(node) for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}

    module = functions((ROOT / "helpers/optimizers.py").read_text(encoding="utf-8"))
    shown = {}
    for cell in code_cells(read_chapter(ROOT / "book/chapters/05_optimizers.md")):
        if "%pip" not in cell.source:
            shown |= functions(cell.source)
    for name in [step.__name__ for step in STEPS] + ["follow"]:
        assert shown[name] == module[name]


def test_steps_are_counted_until_the_loss_stays_below_the_target():
    CHAPTER = chapter_functions("05_optimizers", np=np, RATES=np.array([1.0]), follow=follow)
    losses = iter([5.0, 0.5, 5.0, 5.0, 0.5, 0.5])  # crosses after one step, stays after four

    def replay(theta, gradient, memory, learning_rate):
        return np.full_like(theta, next(losses))

    next(losses)
    count = CHAPTER["steps_until_it_stays"](lambda path: path[..., 0], None, np.array([5.0]), replay, np.ones(1), 5, 1.0)
    assert count.tolist() == [4]


def test_the_studys_gradient_is_right():
    (x, y), *_ = study.split(0)
    theta = study.start(3, 1)

    def loss(point):
        w1, b1, w2, b2 = study.unpack(point)
        scores = (np.maximum(x[:20] @ w1 + b1, 0) @ w2 + b2)[0]
        return (np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(20), y[:20]]).mean()

    slope, h = study.gradient(theta, x[:20], y[:20]), 1e-6
    for place in np.random.default_rng(0).choice(4810, 60, replace=False):
        move = np.zeros_like(theta)
        move[0, place] = h
        assert slope[0, place] == pytest.approx((loss(theta + move) - loss(theta - move)) / (2 * h), abs=1e-7)


def test_the_studys_sets_do_not_overlap_and_the_test_set_is_one():
    first, second = study.split(0), study.split(1)
    assert [len(y) for _, y in first] == [1000, 300, 497]
    np.testing.assert_array_equal(first[2][0], second[2][0])
    assert (first[0][0] != second[0][0]).any()
    rows = np.concatenate([x for x, _ in first])
    assert len(np.unique(rows, axis=0)) == len(np.unique(np.concatenate([x for x, _ in second]), axis=0)) == 1797


def test_stored_study_is_whole_and_chose_on_validation():
    stored = evidence.load("optimizers")
    assert set(stored["test"]) == set(study.STEPS) and len(stored["seeds"]) == 60 and len(stored["rates"]) == 13
    for name in study.STEPS:
        validation = np.array(stored["validation"][name])
        assert validation.shape == (60, 13)
        assert stored["chosen"][name] == validation.argmax(axis=1).tolist()
        assert 0 < min(stored["chosen"][name]) and max(stored["chosen"][name]) < 12  # the grid is wide enough
    untuned = compare.paired_difference(stored["default"]["Adam"], stored["default"]["SGD"])
    assert untuned.verdict == "better" and untuned.wins == 60


def test_a_cheap_part_of_the_study_still_comes_out_the_same():
    stored = evidence.load("optimizers")["check"]
    again = study.run_check()["accuracy"]
    assert set(again) == set(stored["accuracy"])
    for name, accuracy in stored["accuracy"].items():
        assert again[name] == pytest.approx(accuracy, abs=stored["tolerance"]), name


def test_a_chosen_network_of_the_study_comes_out_the_same():
    """One seed and optimizer at its chosen rate, all twenty epochs: the stored test accuracy, give or take a few images."""
    stored = evidence.load("optimizers")
    train_set, _, test = study.split(0)
    rate = stored["rates"][stored["chosen"]["SGD"][0]]
    *_, theta = study.train(study.STEPS["SGD"], [study.RATES[stored["chosen"]["SGD"][0]]], 0, train_set)
    assert rate == pytest.approx(study.RATES[stored["chosen"]["SGD"][0]], rel=0.2)
    assert study.accuracy(theta, *test)[0] == pytest.approx(stored["test"]["SGD"][0], abs=0.02)


def test_the_module_has_the_optimizers_that_the_study_compares():
    assert len(study.STEPS) == len(STEPS)
    used = {step.func.__name__ if isinstance(step, functools.partial) else step.__name__ for step in study.STEPS.values()}
    assert {step.__name__ for step in STEPS} - {"adamw"} <= used and optimizers.adamw is adamw
