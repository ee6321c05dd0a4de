"""Chapter 2's network, as the reader sees it, against finite differences, TensorFlow and Keras."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from build_notebooks import ROOT, code_cells, read_chapter
from chapter_code import chapter_functions
from hypothesis import given, settings
from hypothesis import strategies as st

NAME = "02_networks_that_learn"
ACTIVATIONS = {}
CHAPTER = chapter_functions(NAME, np=np, tf=tf, functools=functools, ACTIVATIONS=ACTIVATIONS)
CELL = next(c.source for c in code_cells(read_chapter(ROOT / "book/chapters" / f"{NAME}.md")) if "ACTIVATIONS = {" in c.source)
written = {"np": np}
exec(CELL, written)
ACTIVATIONS.update(written["ACTIVATIONS"])

start_weights, forward, cross_entropy = CHAPTER["start_weights"], CHAPTER["forward"], CHAPTER["cross_entropy"]
loss_and_gradient, largest_gap = CHAPTER["loss_and_gradient"], CHAPTER["largest_gap"]
names = st.sampled_from(sorted(ACTIVATIONS))
shapes = st.lists(st.integers(1, 6), min_size=2, max_size=5)


def problem(sizes, seed, rows=7):
    rng = np.random.default_rng(seed)
    params = [(w, rng.normal(size=b.shape)) for w, b in start_weights(sizes, rng)]
    return params, rng.normal(size=(rows, sizes[0])), rng.integers(0, sizes[-1], rows)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
class TestActivations:
    @settings(deadline=None)
    @given(z=st.floats(-30, 30))
    def test_derivative_is_that_of_finite_differences(self, name, z):
        function, derivative = ACTIVATIONS[name]
        if name == "relu" and abs(z) < 1e-5:
            return
        z = np.array(z)
        slope = (function(z + 1e-6) - function(z - 1e-6)) / 2e-6
        assert derivative(z) == pytest.approx(slope, abs=1e-7)

    def test_value_and_derivative_are_tensorflows_even_far_out(self, name):
        z = np.array([-800.0, -50.0, -3.0, -1e-3, 1e-3, 3.0, 50.0, 800.0])
        variable = tf.Variable(z)
        with tf.GradientTape() as tape:
            value = getattr(tf.nn, name)(variable)
        np.testing.assert_allclose(ACTIVATIONS[name][0](z), value, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(ACTIVATIONS[name][1](z), tape.gradient(value, variable), rtol=0, atol=1e-12)


class TestBackpropagation:
    @settings(deadline=None, max_examples=40)
    @given(sizes=shapes, seed=st.integers(0, 10_000), name=names)
    def test_gradient_is_automatic_differentiations(self, sizes, seed, name):
        params, x, y = problem(sizes, seed)
        found = loss_and_gradient(params, x, y, name)[1]
        other = CHAPTER["automatic_gradient"](params, x, y, name)
        for layer, layer_tf in zip(found, other, strict=True):
            for ours, theirs in zip(layer, layer_tf, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)

    @settings(deadline=None, max_examples=25)
    @given(sizes=shapes, seed=st.integers(0, 10_000), name=names)
    def test_gradient_is_finite_differences(self, sizes, seed, name):
        params, x, y = problem(sizes, seed)
        _, _, sums = forward(params, x, name)
        if name == "relu" and any(np.abs(z).min() < 1e-3 for z in sums[:-1]):
            return  # a kink within the step
        found = loss_and_gradient(params, x, y, name)[1]
        other = CHAPTER["numerical_gradient"](params, x, y, name)
        for layer, layer_fd in zip(found, other, strict=True):
            for ours, theirs in zip(layer, layer_fd, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)

    def test_the_forgotten_slope_of_exercise_5_is_caught(self):
        params, x, y = problem([4, 5, 3], 0)
        logits, inputs, sums = forward(params, x, "tanh")
        wrong = CHAPTER["buggy_backward"](params, inputs, sums, cross_entropy(logits, y)[1])
        assert largest_gap(wrong, CHAPTER["automatic_gradient"](params, x, y, "tanh")) > 1e-2


class TestCrossEntropy:
    @settings(deadline=None)
    @given(seed=st.integers(0, 10_000), size=st.floats(0.1, 1000))
    def test_loss_is_kerass(self, seed, size):
        rng = np.random.default_rng(seed)
        logits, y = size * rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
        theirs = tf.nn.sparse_softmax_cross_entropy_with_logits(y, tf.constant(logits)).numpy().mean()
        assert cross_entropy(logits, y)[0] == pytest.approx(theirs, rel=1e-10, abs=1e-12)


class TestAgainstKeras:
    @pytest.fixture
    def both(self):
        params = start_weights([12, 9, 8, 4], np.random.default_rng(3))
        layers = [keras.layers.Dense(9, "relu"), keras.layers.Dense(8, "relu"), keras.layers.Dense(4)]
        model = keras.Sequential([keras.Input((12,)), *layers])
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.set_weights([array for layer in params for array in layer])
        return params, model

    def test_same_weights_give_the_same_outputs(self, both):
        params, model = both
        x = np.random.default_rng(0).normal(size=(50, 12)).astype("float32")
        np.testing.assert_allclose(forward(params, x)[0], model.predict(x, verbose=0), rtol=0, atol=1e-5)

    def test_fifty_steps_end_at_the_same_weights(self, both):
        params, model = both
        rng = np.random.default_rng(1)
        for _ in range(50):
            x, y = rng.normal(size=(20, 12)).astype("float32"), rng.integers(0, 4, 20)
            params, loss = CHAPTER["gradient_step"](params, x, y, 0.1)
            model.train_on_batch(x, y)
        for ours, theirs in zip([array for layer in params for array in layer], model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


class TestShapesOfFunctions:
    @pytest.mark.parametrize("layers", range(1, 9))
    def test_each_fold_doubles_the_pieces(self, layers):
        grid = np.arange(1025) / 1024
        assert CHAPTER["count_pieces"](CHAPTER["folded"](grid, layers)) == 2**layers

    @pytest.mark.parametrize("units", [1, 3, 50])
    def test_hinges_interpolate(self, units):
        x, knots = np.linspace(0, 1, 301), np.arange(units + 1) / units
        expected = np.interp(x, knots, CHAPTER["f"](knots))
        np.testing.assert_allclose(CHAPTER["hinge_network"](x, units), expected, rtol=0, atol=1e-10)


class TestFirstWeights:
    def test_relu_keeps_the_mean_square_on_average(self):
        """He et al. (2015): with variance 2 / inputs the mean square after a ReLU layer is that before it."""
        ratios = []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            (w, _), = start_weights([200, 200], rng)
            x = np.abs(rng.normal(size=(1, 200)))
            ratios.append((np.maximum(0, x @ w) ** 2).mean() / (x**2).mean())
        standard_error = np.std(ratios, ddof=1) / np.sqrt(len(ratios))
        assert abs(np.mean(ratios) - 1) < 4 * standard_error < 0.2

    def test_a_scale_enters_with_the_power_of_the_depth(self):
        one, other = (CHAPTER["signal_sizes"]("relu", scale, depth=7, width=30)[0][-1] for scale in (0.5, 1.5))
        assert other / one == pytest.approx(3.0**7, rel=1e-9)
