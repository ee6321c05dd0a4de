"""Chapter 1's functions, as the reader sees them, against closed forms, theorems and other libraries."""

import itertools

import numpy as np
import pytest
from chapter_code import chapter_functions
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import linprog
from sklearn.linear_model import Perceptron

CHAPTER = chapter_functions("01_neurons_and_the_brain", np=np, linprog=linprog, itertools=itertools)
simulate_lif, lif_rate = CHAPTER["simulate_lif"], CHAPTER["lif_rate"]
train_perceptron, is_separable = CHAPTER["train_perceptron"], CHAPTER["is_separable"]
CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
cells = st.fixed_dictionaries(
    {
        "resistance": st.floats(50, 200),
        "capacitance": st.floats(0.1, 0.4),
        "rest": st.floats(-75, -65),
        "threshold": st.floats(-55, -45),
        "reset": st.floats(-70, -60),
        "refractory": st.sampled_from([0.0, 1.0, 2.0, 4.0]),
    }
)


def rate_of(current, dt, **cell):
    spikes = simulate_lif(np.full(round(500 / dt), current), dt, **cell)[1]
    return 0.0 if len(spikes) < 2 else 1000 * (len(spikes) - 1) / (spikes[-1] - spikes[0])


class TestLeakyIntegrateAndFire:
    @settings(deadline=None, max_examples=25)
    @given(cell=cells, excess=st.floats(1.1, 4))
    def test_simulated_rate_is_the_closed_form(self, cell, excess):
        """A spike comes at most one step late, and Euler's slope is off by dt / 2 tau at the most."""
        rheobase = (cell["threshold"] - cell["rest"]) / cell["resistance"]
        expected = float(lif_rate(excess * rheobase, **cell))
        found = rate_of(excess * rheobase, 0.05, **cell)
        interval, tau = 1000 / expected, cell["resistance"] * cell["capacitance"]
        assert abs(1000 / found - interval) <= 0.05 + interval * 0.05 / tau + 1e-6

    @settings(deadline=None, max_examples=25)
    @given(cell=cells, share=st.floats(0, 0.999))
    def test_silent_below_rheobase_whatever_the_time_constant(self, cell, share):
        rheobase = (cell["threshold"] - cell["rest"]) / cell["resistance"]
        assert lif_rate(share * rheobase, **cell) == 0
        assert rate_of(share * rheobase, 0.5, **cell) == 0

    def test_a_changing_current_follows_scipys_solver(self):
        time = np.arange(1, 5001) * 0.02
        current = 0.1 + 0.08 * np.sin(time / 7)
        potential, spikes = simulate_lif(current, dt=0.02)

        def slope(t, v):
            return (-70 - v + 100 * (0.1 + 0.08 * np.sin(t / 7))) / 20

        exact = solve_ivp(slope, (0, 100), [-70], t_eval=time, rtol=1e-9, atol=1e-9).y[0]
        assert len(spikes) == 0 and np.abs(potential - exact).max() < 0.02

    def test_spikes_are_never_closer_than_the_refractory_period(self):
        assert np.diff(simulate_lif(np.full(2000, 50.0))[1]).min() >= 2.0
        assert 450 < lif_rate(1e3) < 500

    def test_potential_stays_at_reset_through_the_refractory_period(self):
        potential, spikes = simulate_lif(np.full(1000, 0.5))
        first = round(spikes[0] / 0.1) - 1
        assert (potential[first : first + 21] == -65).all() and potential[first + 21] > -65


class TestThresholdUnit:
    def test_exactly_xor_and_its_opposite_are_not_separable(self):
        tables = itertools.product((0, 1), repeat=4)
        assert [t for t in tables if not is_separable(CORNERS, t)] == [(0, 1, 1, 0), (1, 0, 0, 1)]

    @pytest.mark.parametrize(("inputs", "separable"), [(3, 104)])
    def test_of_three_inputs_as_many_functions_as_are_known(self, inputs, separable):
        """OEIS A000609: 2, 4, 14, 104, 1882 threshold functions of 0, 1, 2, 3, 4 variables."""
        x = np.array(list(itertools.product((0, 1), repeat=inputs)))
        assert sum(is_separable(x, t) for t in itertools.product((0, 1), repeat=len(x))) == separable


class TestPerceptron:
    @settings(deadline=None, max_examples=60)
    @given(seed=st.integers(0, 2**32 - 1), inputs=st.integers(1, 8), margin=st.floats(0.02, 0.5))
    def test_corrections_stay_within_novikoffs_bound(self, seed, inputs, margin):
        rng = np.random.default_rng(seed)
        u = rng.normal(size=inputs)
        u /= np.linalg.norm(u)
        x = rng.uniform(-1, 1, (500, inputs))
        x = x[np.abs(x @ u) >= margin][:50]
        if len(x) == 0:
            return
        y = np.sign(x @ u)
        history = train_perceptron(x, y, max_passes=10_000)
        assert len(history) - 1 <= (x**2).sum(axis=1).max() / (y * (x @ u)).min() ** 2 * (1 + 1e-9)
        assert (y * (x @ history[-1]) > 0).all()

    def test_orthogonal_examples_reach_the_bound(self):
        assert len(train_perceptron(np.eye(50), np.ones(50))) - 1 == 50

    @pytest.mark.parametrize("seed", range(5))
    def test_weights_are_scikit_learns(self, seed):
        rng = np.random.default_rng(seed)
        x, u = rng.normal(size=(80, 4)), rng.normal(size=4)
        x = x[np.abs(x @ u) > 0.2]
        y = np.sign(x @ u)
        twin = Perceptron(fit_intercept=False, shuffle=False, tol=None, max_iter=300).fit(x, y)
        np.testing.assert_allclose(train_perceptron(x, y)[-1], twin.coef_[0], rtol=0, atol=1e-12)

    def test_never_learns_xor(self):
        x, y = np.column_stack([CORNERS, np.ones(4)]), np.array([-1, 1, 1, -1])
        history = train_perceptron(x, y, max_passes=500)
        assert len(history) > 500 and all((y * (x @ w) <= 0).any() for w in np.unique(history, axis=0))


class TestSpikeTiming:
    times = st.lists(st.floats(0, 500), max_size=20, unique=True)

    @settings(deadline=None)
    @given(pre=times, post=times)
    def test_two_traces_hold_what_all_pairs_say(self, pre, post):
        post = [t for t in post if t not in pre]
        pairs = CHAPTER["stdp_pairs"](np.array(pre), np.array(post))
        assert CHAPTER["stdp_traces"](pre, post) == pytest.approx(pairs, abs=1e-12)

    def test_a_single_pair_by_hand(self):
        assert CHAPTER["stdp_pairs"](np.array([0.0]), np.array([20.0])) == pytest.approx(0.01 / np.e)
        assert CHAPTER["stdp_pairs"](np.array([20.0]), np.array([0.0])) == pytest.approx(-0.0105 / np.e)
