"""The rules of a fair comparison, the small networks and the drawn digits."""

import keras
import numpy as np
import pytest

from helpers import fonts, networks, protocol


def small(seed=0, rate=1e-3):
    return networks.compile_classifier(networks.build_cnn((8, 8, 1), 3, (4, 4), 8, seed=seed), rate, 5)


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    return (rng.normal(0, 0.3, (90, 8, 8, 1)) + y[:, None, None, None]).astype("float32"), y


def test_labels_for_training_and_validation_are_disjoint_balanced_and_paired():
    labels = np.repeat(np.arange(4), 30)
    chosen, validation = protocol.split_labels(labels, 5, 40, seed=1)
    assert np.bincount(labels[chosen]).tolist() == [5] * 4
    assert len(validation) == len(set(validation)) == 40 and not set(chosen) & set(validation)
    again = protocol.split_labels(labels, 5, 40, seed=1)
    assert (again[0] == chosen).all() and (again[1] == validation).all()
    assert (protocol.split_labels(labels, 5, 40, seed=2)[0] != chosen).any()
    with pytest.raises(ValueError, match="from 0 to 100, what the training examples leave, not 101"):
        protocol.split_labels(labels, 5, 101, seed=1)


def test_the_order_shows_every_example_once_a_pass():
    order = protocol.example_order(6, updates=5, batch_size=4, seed=0)
    assert order.shape == (20,)
    assert all(sorted(order[first : first + 6]) == list(range(6)) for first in (0, 6, 12))
    with pytest.raises(ValueError, match="not 0, 5 and 4"):
        protocol.example_order(0, 5, 4, 0)


def test_a_restarted_network_learns_as_a_new_one_does(toy):
    """Whatever the model did before: same weights, same updates, same result as a model built afresh."""
    fresh = small(seed=3, rate=3e-3)
    start = fresh.get_weights()
    protocol.fit_updates(fresh, *toy, updates=12, batch_size=10, seed=5)
    used = small(seed=9, rate=1e-1)
    protocol.fit_updates(used, *toy, updates=7, batch_size=10, seed=8)
    protocol.restart(used, start, 3e-3, seed=0)
    assert int(used.optimizer.iterations) == 0
    protocol.fit_updates(used, *toy, updates=12, batch_size=10, seed=5)
    for one, other in zip(fresh.get_weights(), used.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_restart_repeats_dropout_too(toy):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dropout(0.5),
                              keras.layers.Dense(3, activation="softmax")])
    networks.compile_classifier(model)
    start, results = model.get_weights(), []
    for _ in range(2):
        protocol.restart(model, start, 1e-2, seed=4)
        protocol.fit_updates(model, *toy, updates=5, batch_size=10)
        results.append(model.get_weights()[0])
    assert (results[0] == results[1]).all()


def test_measurements_come_after_the_updates_asked_for(toy):
    model = small()
    seen = protocol.fit_updates(model, *toy, updates=9, batch_size=10, at=(0, 4, 9),
                                measure=lambda m: int(m.optimizer.iterations))
    assert seen == [0, 4, 9]


def test_accuracy_is_that_of_keras(toy):
    model = small()
    assert protocol.accuracy(model, *toy) == pytest.approx(model.evaluate(*toy, verbose=0)[1], abs=1e-6)


def test_the_rate_with_the_best_mean_is_chosen_and_of_equals_the_smaller():
    asked = []

    def validate(rate, seed):
        asked.append((rate, seed))
        return {0.1: 0.5, 0.2: 0.7, 0.3: 0.7}[rate] + 0.01 * seed

    rate, scores = protocol.choose_rate(validate, (0.3, 0.1, 0.2), seeds=(0, 1))
    assert rate == 0.2 and scores[0.1] == pytest.approx(0.505) and len(asked) == 6


def test_crossings_by_hand():
    assert protocol.updates_to_reach([0, 10, 20], [0.1, 0.5, 0.9], 0.7) == 15
    assert protocol.updates_to_reach([0, 10], [0.1, 0.5], 0.7) is None
    assert protocol.updates_to_reach([5, 10], [0.8, 0.5], 0.7) == 5
    assert protocol.labels_to_reach([1, 100], [0.2, 0.6], 0.4) == pytest.approx(10)
    with pytest.raises(ValueError, match="must rise"):
        protocol.updates_to_reach([10, 10], [0.1, 0.5], 0.3)
    with pytest.raises(ValueError, match="equally long"):
        protocol.labels_to_reach([1, 2], [0.1], 0.3)


def test_freezing_and_copying_do_what_they_say(toy):
    source, target = small(1), small(2)
    networks.copy_layers(source, target, ("conv1",))
    networks.compile_classifier(networks.freeze(target, ("conv1", "conv2")), 1e-2)
    before = [w.copy() for w in target.get_weights()]
    protocol.fit_updates(target, *toy, updates=3)
    assert (target.get_layer("conv1").get_weights()[0] == source.get_layer("conv1").get_weights()[0]).all()
    assert (target.get_layer("conv2").get_weights()[0] == before[2]).all()
    assert (target.get_layer("head").get_weights()[0] != before[6]).any()
    with pytest.raises(ValueError, match="nothing"):
        networks.freeze(target, ("nothing",))


def test_embedding_is_the_layer_s_output(toy):
    model = small()
    features = networks.embed(model, "dense", toy[0])
    head = model.get_layer("head")
    scores = features @ head.get_weights()[0] + head.get_weights()[1]
    exact = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(exact, model.predict(toy[0], verbose=0), atol=1e-5)


@pytest.mark.parametrize("images", [np.zeros((2, 3, 3)), np.zeros((2, 9), "uint8")])
def test_images_that_were_scaled_or_flattened_are_refused(images):
    with pytest.raises(ValueError, match="uint8 from 0 to 255 of shape"):
        networks.as_images(images)


def test_drawn_digits_are_balanced_repeatable_and_hold_ink():
    images, labels = fonts.draw_digits(200, seed=1)
    assert images.shape == (200, 28, 28) and images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [20] * 10
    again, _ = fonts.draw_digits(200, seed=1)
    assert (again == images).all() and (fonts.draw_digits(200, seed=2)[0] != images).any()
    ink = (images > 100).sum(axis=(1, 2))
    assert ink.min() > 20 and ink.max() < 400
    edge = np.ones((28, 28), bool)
    edge[1:-1, 1:-1] = False
    assert (images[:, edge] > 100).mean() < 0.02, "digits are cut off at the border"
    with pytest.raises(ValueError, match="at least 1, not 0 and 28"):
        fonts.draw_digits(0, seed=1)


def test_every_face_draws_ten_different_digits():
    for face in fonts.FACES:
        glyphs = [np.asarray(fonts._glyph(face, digit), float) for digit in range(10)]
        gaps = [np.abs(a - b).mean() for i, a in enumerate(glyphs) for b in glyphs[:i]]
        assert min(gaps) > 8, face


def test_a_bench_trains_as_a_new_network_does(toy):
    bench = networks.Bench(lambda seed: networks.build_cnn((8, 8, 1), 3, (4, 4), 8, seed=seed))
    bench.train(bench.fresh(7), *toy, updates=3, learning_rate=0.1, seed=2)
    used, seen = bench.train(bench.fresh(3), *toy, updates=6, learning_rate=3e-3, seed=5, batch_size=10,
                             measure=lambda m: int(m.optimizer.iterations), at=(0, 6))
    fresh = small(seed=3, rate=3e-3)
    protocol.fit_updates(fresh, *toy, updates=6, batch_size=10, seed=5)
    assert seen == [0, 6]
    for one, other in zip(fresh.get_weights(), used.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    held, _ = bench.train(bench.fresh(3), *toy, updates=3, learning_rate=3e-3, seed=5, frozen=("conv1", "conv2"))
    assert (held.get_weights()[0] == bench.fresh(3)[0]).all() and len(held.trainable_variables) == 4
