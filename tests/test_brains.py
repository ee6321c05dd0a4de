"""The rules of chapter 13 do what their formulas say, and the stored evidence still comes out."""

import brains
import brains_sequence
import numpy as np
import pytest
from sklearn import decomposition

from helpers import evidence

DIGITS = brains.digits()


@pytest.fixture
def network():
    """A small network and twelve examples, in float64 so that differences can be small."""
    rng = np.random.default_rng(0)
    weights = [w.astype(float) for w in brains.first_weights(rng, (6, 5, 10))]
    return weights, rng.normal(size=(12, 6)), rng.integers(0, 10, 12)


def loss(weights, x, y, allowed=None):
    return -np.log(brains.forward(weights, x, allowed)[1][np.arange(len(y)), y]).mean()


def numeric(weights, x, y, place):
    """Return the slope of the loss for one array of weights, by finite differences."""
    slope = np.zeros_like(weights[place])
    for index in np.ndindex(slope.shape):
        ends = []
        for sign in (1, -1):
            moved = [w.copy() for w in weights]
            moved[place][index] += sign * 1e-5
            ends.append(loss(moved, x, y))
        slope[index] = (ends[0] - ends[1]) / 2e-5
    return slope


def test_gradients_are_those_of_finite_differences(network):
    weights, x, y = network
    for place, gradient in enumerate(brains.gradients(weights, x, y)):
        assert gradient == pytest.approx(numeric(weights, x, y, place), abs=1e-6)


def test_feedback_changes_the_hidden_layer_only(network):
    weights, x, y = network
    true = brains.gradients(weights, x, y)
    same = brains.gradients(weights, x, y, feedback=weights[2].T)
    other = brains.gradients(weights, x, y, feedback=-weights[2].T)
    assert all(np.allclose(a, b) for a, b in zip(true, same))
    assert np.allclose(other[0], -true[0]) and np.allclose(other[2], true[2])


def test_barred_classes_get_no_probability(network):
    weights, x, _ = network
    allowed = np.isin(np.arange(10), (2, 7))
    probabilities = brains.forward(weights, x, allowed)[1]
    assert (probabilities[:, ~allowed] == 0).all() and probabilities.sum(axis=1) == pytest.approx(np.ones(12))
    assert (brains.gradients(weights, x, np.full(12, 2), allowed=allowed)[3][~allowed] == 0).all()


@pytest.mark.parametrize(("other", "degrees"), [([[2, 0]], 0), ([[0, 3]], 90), ([[1, 1]], 45), ([[-1, 0]], 180)])
def test_angle_of_known_arrows(other, degrees):
    assert brains.angle(np.array([[1.0, 0.0]]), np.array(other, float)) == pytest.approx(degrees)


def test_output_only_leaves_the_hidden_layer_and_the_other_rules_do_not(monkeypatch):
    seen = {}
    real = brains.accuracy

    def spy(weights, x, y, allowed=None):
        seen.setdefault(rule, []).append(weights[0].copy())
        return real(weights, x, y, allowed)

    monkeypatch.setattr(brains, "accuracy", spy)
    monkeypatch.setattr(brains, "digits", lambda: [(x[:400], y[:400]) for x, y in DIGITS])
    for rule in brains.RULES:
        brains.train_rule(rule, seed=0, rate=0.1, epochs=1)
    moved = {rule: float(np.abs(first - last).max()) for rule, (first, last) in seen.items()}
    assert moved["output only"] == 0 and moved["backpropagation"] > 0 and moved["feedback alignment"] > 0


def test_images_for_training_and_for_choosing_are_disjoint():
    (x, y), (x_choose, _), (x_test, _) = DIGITS
    assert (len(x), len(x_choose), len(x_test)) == (8000, 2000, 2000) and set(y) == set(range(10))
    assert not {row.tobytes() for row in x} & {row.tobytes() for row in x_choose}


def test_sangers_rule_finds_principal_components_in_their_order():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 6)) * [3, 2, 1.4, 0.5, 0.4, 0.3] @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    x -= x.mean(axis=0)
    w = brains.sanger(x, 3, rng, rate=0.01, epochs=20)
    components = decomposition.PCA(3).fit(x).components_
    assert np.linalg.norm(w, axis=0) == pytest.approx(np.ones(3), abs=0.05)
    assert (np.abs((w * components.T).sum(axis=0)) > 0.97).all()


def test_sparse_codes_are_scikit_learns():
    rng = np.random.default_rng(2)
    pieces = rng.normal(size=(8, 9))
    pieces /= np.linalg.norm(pieces, axis=1, keepdims=True)
    x = rng.normal(size=(20, 9))
    ours = brains.sparse_codes(x, pieces, 0.3, steps=5000)
    theirs = decomposition.sparse_encode(x, pieces, algorithm="lasso_cd", alpha=0.3, max_iter=10_000)
    assert ours == pytest.approx(theirs, abs=2e-3)
    assert 0.05 < (ours == 0).mean() < 0.95


def test_pieces_that_made_the_data_are_found_again():
    rng = np.random.default_rng(3)
    true = np.linalg.qr(rng.normal(size=(8, 8)))[0][:5]
    z = rng.exponential(size=(3000, 5)) * rng.choice([-1, 1], (3000, 5)) * (rng.random((3000, 5)) < 0.2)
    found = brains.learn_pieces((z @ true).astype("float32"), 5, rng, price=0.1, updates=1500)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert (np.abs(found @ true.T).max(axis=0) > 0.95).all()


def test_patches_and_fields_have_the_stated_form():
    images = np.full((3, 784), 0.7, "float32")
    assert brains.cut(images).shape == (3, 121, 49) and brains.cut(images) == pytest.approx(np.zeros((3, 121, 49)), abs=1e-6)
    images[1, 0] = 0.0  # a dark corner: only the first of nine fields may answer
    piece = -np.eye(49, dtype="float32")[:1]
    answers = brains.pool(images, piece)
    assert answers.shape == (3, 9) and answers[1, 0] > 0 and (answers[1, 1:] == 0).all() and (answers[0] == 0).all()


def test_fisher_information_is_the_slow_sum(network):
    weights, x, _ = network
    total = [np.zeros_like(w) for w in weights]
    for row in x:
        p = brains.forward(weights, row[None])[1][0]
        for label in range(10):
            steps = brains.gradients(weights, row[None], np.array([label]))
            total = [t + p[label] * g**2 / len(x) for t, g in zip(total, steps)]
    assert all(np.allclose(quick, slow, atol=1e-9) for quick, slow in zip(brains_sequence.fisher(weights, x), total))


@pytest.mark.parametrize("kind", ["classes", "told"])
def test_five_tasks_bring_two_new_digits_each(kind):
    tasks = brains_sequence.task_data(kind, seed=4)
    pairs = [set(sets[0][1].tolist()) for sets, _ in tasks]
    assert set.union(*pairs) == set(range(10)) and all(len(pair) == 2 for pair in pairs)
    for (sets, allowed), pair in zip(tasks, pairs):
        assert all(set(y.tolist()) == pair for _, y in sets)
        assert allowed is None if kind == "classes" else set(np.flatnonzero(allowed)) == pair
    other = [set(sets[0][1].tolist()) for sets, _ in brains_sequence.task_data(kind, seed=5)]
    assert pairs != other


def test_new_pixels_are_the_same_pixels_in_another_order():
    tasks = brains_sequence.task_data("pixels", seed=4)
    first, last = tasks[0][0][0][0][:5], tasks[4][0][0][0][:5]
    assert (first != last).any() and np.array_equal(np.sort(first, axis=1), np.sort(last, axis=1))


def test_replay_draws_what_was_kept_and_the_sketch_draws_what_was_not():
    (x, y), rng = brains_sequence.small_digits()[0], np.random.default_rng(0)
    draw = brains_sequence.keep("replay 3", x, y, rng)
    images, labels = draw(2000)
    assert len(np.unique(images, axis=0)) == 30 and (np.bincount(labels) > 100).all()
    rows = {row.tobytes(): label for row, label in zip(x, y)}
    assert all(rows[image.tobytes()] == label for image, label in zip(images[:200], labels[:200]))
    images, labels = brains_sequence.keep("sketch", x, y, rng)(3000)
    assert not {row.tobytes() for row in images} & set(rows)
    for label in range(10):  # clipping at 0 and 1 moves the mean a little
        assert images[labels == label].mean(axis=0) == pytest.approx(x[y == label].mean(axis=0), abs=0.12)


def test_half_of_a_batch_is_replayed_once_something_is_kept():
    tasks, rng = brains_sequence.task_data("classes", seed=0), np.random.default_rng(0)
    x, y = tasks[0][0][0]
    memory = [(brains_sequence.keep("replay 10", x, y, rng), None)]
    (fresh,) = next(brains_sequence.batches(tasks, 1, [], rng, 1))
    now, then = next(brains_sequence.batches(tasks, 1, memory, rng, 1))
    assert len(fresh[0]) == 50 and len(now[0]) == len(then[0]) == 25
    assert set(now[1].tolist()) <= set(tasks[1][0][0][1].tolist()) and set(then[1].tolist()) <= set(y.tolist())


def test_springs_hold_what_is_stiff_and_let_go_what_is_not(network):
    weights, x, y = network
    stiff = [np.full_like(w, 1e9 if place == 0 else 0.0) for place, w in enumerate(weights)]
    steps = [[(x, y, None)]] * 20
    held = brains_sequence.train_task(weights, steps, 0.5, (stiff, weights))
    free = brains_sequence.train_task(weights, steps, 0.5)
    assert np.allclose(held[0], weights[0], atol=1e-6) and not np.allclose(free[0], weights[0], atol=1e-2)
    assert not np.allclose(held[2], weights[2], atol=1e-2)
    assert loss(free, x, y) < loss(held, x, y) < loss(weights, x, y)


def test_stored_evidence_has_paired_seeds_and_every_arm():
    stored, sequence = evidence.load("brains"), evidence.load("brains_sequence")
    count = len(stored["seeds"])
    assert count >= 10 and stored["seconds"] > 0 and not set(stored["seeds"]) & set(brains.TUNING_SEEDS)
    assert list(stored["rules"]) == list(brains.RULES) == list(stored["rates"])
    assert {np.shape(scores) for scores in stored["rules"].values()} == {(count, brains.EPOCHS + 1)}
    assert np.shape(stored["angle"]) == np.shape(stored["blame"]) == (count, brains.EPOCHS + 1)
    assert list(stored["features"]) == list(brains.KINDS)
    for by_count in stored["features"].values():
        assert [int(n) for n in by_count] == list(brains.COUNTS) and {len(scores) for scores in by_count.values()} == {count}
    assert len(sequence["seeds"]) >= 10
    for kind in brains_sequence.KINDS:
        assert list(sequence["final"][kind]) == list(brains_sequence.WAYS)
        for way in brains_sequence.WAYS:
            assert np.shape(sequence["final"][kind][way]) == (len(sequence["seeds"]), 5)
            last = np.array(sequence["matrix"][kind][way])[-1]
            assert last == pytest.approx(np.mean(sequence["final"][kind][way], axis=0), abs=1e-4)


@pytest.mark.parametrize("script", [brains, brains_sequence], ids=lambda module: module.__name__)
def test_a_cheap_part_of_the_evidence_still_comes_out_the_same(script):
    """The gap between two arms over three seeds keeps its size, and each arm its mean, within the stated tolerance."""
    stored, again = evidence.load(script.__name__)["check"], script.run_check()
    before, now = ([np.mean(scores) for scores in found["accuracy"].values()] for found in (stored, again))
    assert now[0] - now[1] == pytest.approx(before[0] - before[1], abs=stored["tolerance"])
    assert now == pytest.approx(before, abs=stored["tolerance"]) and now[0] > now[1]
    if "scratch" in stored:
        assert again["scratch"] == pytest.approx(stored["scratch"], abs=stored["tolerance"])
