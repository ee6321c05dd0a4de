"""Every loss and slope that chapter 3 writes out, against Keras, automatic differentiation and finite differences."""

import numpy as np
import pytest
from chapter_code import chapter_functions
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import optimize, special
from sklearn import metrics

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

CHAPTER = chapter_functions("03_loss_functions", np=np, tf=tf, special=special, optimize=optimize)
NUMBERS = st.floats(-50, 50, allow_subnormal=False)
FEW = settings(max_examples=60, deadline=None, derandomize=True)


def pairs(targets):
    """Equally long lists of targets and predictions."""
    return st.integers(1, 12).flatmap(
        lambda n: st.tuples(arrays.arrays(float, n, elements=targets), arrays.arrays(float, n, elements=NUMBERS))
    )


def score_tables(largest=50):
    """Rows of scores with an integer label each."""
    shapes = st.tuples(st.integers(1, 6), st.integers(2, 7))
    return shapes.flatmap(
        lambda shape: st.tuples(
            arrays.arrays(int, shape[0], elements=st.integers(0, shape[1] - 1)),
            arrays.arrays(float, shape, elements=st.floats(-largest, largest, allow_subnormal=False)),
        )
    )


def binary_from_logits(y, z):
    return keras.losses.binary_crossentropy(y, z, from_logits=True)


def sparse_from_logits(labels, z):
    return keras.losses.sparse_categorical_crossentropy(labels, z, from_logits=True)


ELEMENTWISE = {
    "squared_error": (keras.losses.mean_squared_error, NUMBERS, lambda y, x: np.inf),
    "absolute_error": (keras.losses.mean_absolute_error, NUMBERS, lambda y, x: np.abs(x - y)),
    "huber": (keras.losses.huber, NUMBERS, lambda y, x: np.inf),
    "hinge": (keras.losses.hinge, st.sampled_from([-1.0, 1.0]), lambda y, x: np.abs(1 - y * x)),
    "binary_cross_entropy": (binary_from_logits, st.sampled_from([0.0, 1.0]), lambda y, x: np.inf),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
class TestElementwise:
    def test_value_and_slope_are_those_of_keras(self, name):
        twin, targets, to_kink = ELEMENTWISE[name]

        @FEW
        @given(pairs(targets))
        def check(case):
            y, x = case
            variable = tf.Variable(x[:, None])
            with tf.GradientTape() as tape:
                values = twin(tf.constant(y[:, None]), variable)
                total = tf.reduce_sum(values)
            np.testing.assert_allclose(CHAPTER[name](y, x), values.numpy(), rtol=1e-9, atol=1e-9)
            smooth = np.broadcast_to(to_kink(y, x), x.shape) > 1e-9
            slopes = tape.gradient(total, variable).numpy()[:, 0]
            np.testing.assert_allclose(CHAPTER[name + "_slope"](y, x)[smooth], slopes[smooth], rtol=1e-9, atol=1e-9)

        check()

    def test_slope_is_that_of_finite_differences(self, name):
        _, targets, to_kink = ELEMENTWISE[name]

        @FEW
        @given(pairs(targets))
        def check(case):
            y, x = case
            smooth = np.broadcast_to(to_kink(y, x), x.shape) > 1e-4
            differences = CHAPTER["numerical_gradient"](lambda v: CHAPTER[name](y, v).sum(), x)
            # rounding: a sum of up to 12 squares of 100, divided by twice the step of 1e-6
            np.testing.assert_allclose(CHAPTER[name + "_slope"](y, x)[smooth], differences[smooth], rtol=1e-4, atol=1e-4)

        check()


@FEW
@given(pairs(NUMBERS), st.floats(0.01, 20))
def test_huber_with_any_width_is_that_of_keras(case, delta):
    y, x = case
    expected = keras.losses.huber(y[:, None], x[:, None], delta=delta)
    np.testing.assert_allclose(CHAPTER["huber"](y, x, delta), expected, rtol=1e-9, atol=1e-9)


def test_by_hand():
    assert CHAPTER["squared_error"](1, 4) == 9 and CHAPTER["squared_error_slope"](1, 4) == 6
    assert CHAPTER["huber"](0, 3, 2) == 4 and CHAPTER["huber"](0, 1, 2) == 0.5
    assert CHAPTER["hinge"](-1, 0.5) == 1.5 and CHAPTER["hinge_slope"](-1, 0.5) == 1
    assert CHAPTER["binary_cross_entropy"](1, 0.0) == pytest.approx(np.log(2))
    assert CHAPTER["cross_entropy"](np.array([0]), np.zeros((1, 10))) == pytest.approx(np.log(10))


@FEW
@given(score_tables())
def test_cross_entropy_and_its_slope_are_those_of_keras(case):
    labels, z = case
    variable = tf.Variable(z)
    with tf.GradientTape() as tape:
        values = sparse_from_logits(labels, variable)
        total = tf.reduce_sum(values)
    np.testing.assert_allclose(CHAPTER["cross_entropy"](labels, z), values.numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(CHAPTER["cross_entropy_slope"](labels, z), tape.gradient(total, variable), rtol=1e-9, atol=1e-9)
    one_hot = np.eye(z.shape[1])[labels]
    categorical = keras.losses.categorical_crossentropy(one_hot, z, from_logits=True).numpy()
    np.testing.assert_allclose(CHAPTER["cross_entropy"](labels, z), categorical, rtol=1e-9, atol=1e-9)


@FEW
@given(score_tables())
def test_slopes_of_the_cross_entropy_sum_to_zero_and_agree_with_differences(case):
    labels, z = case
    slope = CHAPTER["cross_entropy_slope"](labels, z)
    assert np.abs(slope.sum(axis=1)).max() < 1e-12
    differences = CHAPTER["numerical_gradient"](lambda v: CHAPTER["cross_entropy"](labels, v).sum(), z)
    np.testing.assert_allclose(slope, differences, atol=1e-6)


@FEW
@given(score_tables(), st.sampled_from([np.square, np.abs]))
def test_the_chain_rule_through_the_softmax_is_that_of_tensorflow(case, kind):
    labels, z = case
    t, p = np.eye(z.shape[1])[labels], special.softmax(z, axis=1)
    slope = 2 * (p - t) if kind is np.square else np.sign(p - t)
    if kind is np.abs and np.abs(p - t).min() < 1e-9:
        return  # at the kink
    variable = tf.Variable(z)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum((tf.square if kind is np.square else tf.abs)(tf.nn.softmax(variable) - t))
    np.testing.assert_allclose(CHAPTER["through_softmax"](p, slope), tape.gradient(total, variable), atol=1e-9)


@FEW
@given(score_tables(largest=1e300))
def test_log_sum_exp_is_that_of_scipy_and_never_overflows(case):
    _, z = case
    found = CHAPTER["log_sum_exp"](z)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, special.logsumexp(z, axis=1), rtol=1e-12, atol=1e-12)


@FEW
@given(score_tables(), st.floats(-1e4, 1e4))
def test_a_common_shift_of_all_scores_changes_nothing(case, shift):
    labels, z = case
    np.testing.assert_allclose(CHAPTER["cross_entropy"](labels, z + shift), CHAPTER["cross_entropy"](labels, z), atol=1e-8)


def test_the_textbook_formula_overflows_where_the_stable_one_does_not():
    z, labels = np.array([[0, 100, 89]], "float32"), np.array([2])
    with np.errstate(all="ignore"):
        assert not np.isfinite(CHAPTER["textbook_cross_entropy"](labels, z)).all()
    assert CHAPTER["cross_entropy"](labels, z) == pytest.approx(11, abs=1e-4)


@pytest.mark.filterwarnings("error")
@given(st.sampled_from([0.0, 1.0]), st.floats(-1e300, 1e300))
@FEW
def test_binary_cross_entropy_of_any_score_is_finite_and_silent(y, z):
    z = np.array([z])
    expected = np.logaddexp(0, z) - y * z
    np.testing.assert_allclose(CHAPTER["binary_cross_entropy"](y, z), expected, rtol=1e-12, atol=1e-12 * max(1, abs(z[0])))
    assert np.abs(CHAPTER["binary_cross_entropy_slope"](y, z) - (special.expit(z) - y)).max() < 1e-12


def test_the_best_constant_is_mean_median_and_between():
    y = np.random.default_rng(0).exponential(2, 101)
    best = {name: CHAPTER["best_constant"](CHAPTER[name], y) for name in ("squared_error", "absolute_error", "huber")}
    assert best["squared_error"] == pytest.approx(y.mean(), abs=1e-6)
    assert best["absolute_error"] == pytest.approx(np.median(y), abs=1e-6)
    assert np.median(y) < best["huber"] < y.mean()


@given(st.floats(0.001, 0.9), st.integers(2, 50))
@FEW
def test_no_gap_beats_the_best_gap_of_label_smoothing(smoothing, classes):
    best = CHAPTER["best_gap"](smoothing, classes)
    loss = CHAPTER["smoothed_loss"](best + np.linspace(-1, 1, 21), smoothing, classes)
    assert loss.argmin() == 10
    one_hot = np.eye(classes)[:1]
    by_keras = keras.losses.categorical_crossentropy(one_hot, one_hot * best, from_logits=True, label_smoothing=smoothing)
    assert loss[10] == pytest.approx(float(by_keras[0]), rel=1e-6)


@FEW
@given(st.integers(1, 30).flatmap(lambda n: st.tuples(*[arrays.arrays(int, n, elements=st.integers(0, 1))] * 2)))
def test_metrics_are_those_of_scikit_learn(case):
    y, answers = case
    found = CHAPTER["rates_of"](y, answers)
    expected = {
        "accuracy": metrics.accuracy_score(y, answers),
        "precision": metrics.precision_score(y, answers, zero_division=0),
        "recall": metrics.recall_score(y, answers, zero_division=0),
        "F1": metrics.f1_score(y, answers, zero_division=0),
    }
    assert found == pytest.approx(expected, abs=1e-12)
