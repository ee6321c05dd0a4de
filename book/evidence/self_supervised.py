"""Pretraining without labels, on the target's own images: chapter 9's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/self_supervised.py

10,000 digits of MNIST without labels; then 200 updates with few labels on other digits. Arms: ``scratch``; ``altered``,
from scratch too, each image of each batch shifted, turned and zoomed anew; ``rotation``, a
body that learned by how many quarter turns an image was turned (Gidaris et al., 2018); ``denoising``, a body that
learned to take noise away (Vincent et al., 2008); ``contrastive``, a body that learned which two of 128 altered copies
(shifted, turned, zoomed) come from one image (Chen et al., 2020), the copies altered as in ``altered``; and, for scale, ``fonts``, a body that learned drawn digits with labels.
All are fine-tuned under a new head. ``accuracy``: by arm and labels a class, test accuracies, lists over seeds; ``probe``: the
same with the body frozen, and with a frozen random body (``random``); ``rates``: chosen on validation images with ten
labels a class; ``check``: a short run that the tests repeat.
"""

import functools
import sys

import arguments
import augmentation
import numpy as np

from helpers import data, evidence, fonts, networks, protocol, transfer

UPDATES, SOURCE_UPDATES, UNLABELLED = 200, 800, 10_000
COUNTS = (1, 10, 100)
RATES = (3e-4, 1e-3, 3e-3)
TUNED_AT = 10
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
BODY = ("conv1", "conv2", "dense")
ARMS = ("scratch", "altered", "rotation", "denoising", "contrastive", "fonts")
FROZEN = ("random", "rotation", "denoising", "contrastive", "fonts")
TEMPERATURE = 0.5
CHECK_TOLERANCE = 0.08


@functools.cache
def digits(size="full"):
    """Return images without labels, and x, y of another pool and of the test set."""
    found = data.load("mnist", size)
    x, cut = networks.as_images(found.x_train), min(UNLABELLED, len(found.x_train) // 2)
    return x[:cut], x[cut:], found.y_train[cut:], networks.as_images(found.x_test[:4000]), found.y_test[:4000]


@functools.cache
def bench(classes=10):
    return networks.Bench(lambda seed: networks.build_cnn(classes=classes, seed=seed))


@functools.cache
def denoiser():
    """Return the body under a layer of 784 outputs, compiled for squared error."""
    import keras

    body = networks.build_cnn(seed=0)
    output = keras.layers.Dense(784, activation="sigmoid", name="picture")(body.get_layer("dense").output)
    model = keras.Model(body.inputs, output)
    model.compile(keras.optimizers.Adam(1e-3), "mean_squared_error", steps_per_execution=20)
    return model


def contrast(_, projected):
    """Return for each pair of copies the loss NT-Xent (Chen et al., 2020, equation 1), the mean over its two directions.

    ``projected``: shape (n, 2 d), the projections of the first copy and of the second side by side.
    """
    import keras

    both = keras.ops.normalize(keras.ops.concatenate(keras.ops.split(projected, 2, axis=1), axis=0), axis=1)
    n = keras.ops.shape(projected)[0]
    alike = keras.ops.matmul(both, keras.ops.transpose(both)) / TEMPERATURE - 1e9 * keras.ops.eye(2 * n)  # never itself
    partner = (keras.ops.arange(2 * n) + n) % (2 * n)
    loss = keras.losses.sparse_categorical_crossentropy(partner, alike, from_logits=True)
    return keras.ops.mean(keras.ops.reshape(loss, (2, n)), axis=0)


@functools.cache
def contraster():
    """Return the body, applied to the two channels of its input in turn, under one layer of 32 outputs for each."""
    import keras

    body = networks.build_cnn(seed=0)
    body = keras.Model(body.inputs, body.get_layer("dense").output)
    project, pair = keras.layers.Dense(32, name="projection"), keras.Input((28, 28, 2))
    model = keras.Model(pair, keras.layers.concatenate([project(body(pair[..., k : k + 1])) for k in (0, 1)]))
    model.compile(keras.optimizers.Adam(1e-3), contrast, steps_per_execution=20)
    return model


@functools.lru_cache(maxsize=8)
def pretrained(arm, seed, size="full", updates=SOURCE_UPDATES):
    """Return the weights of a body, three layers."""
    stream = transfer.SOURCE_STREAM + seed
    x, rng = digits(size)[0], np.random.default_rng(stream)
    if arm == "fonts":
        images, labels = fonts.draw_digits(UNLABELLED, stream)
        model, _ = bench().train(bench().fresh(stream), networks.as_images(images), labels, updates, 1e-3, stream, batch_size=64)
    elif arm == "rotation":
        turns = rng.integers(0, 4, len(x))
        turned = np.stack([np.rot90(image, k) for image, k in zip(x, turns)])
        model, _ = bench(4).train(bench(4).fresh(stream), turned, turns, updates, 1e-3, stream, batch_size=64)
    elif arm == "contrastive":
        model = contraster()
        pairs = np.concatenate([augmentation.alter(x, "shift, turn, zoom", rng) for _ in range(2)], axis=3)
        protocol.restart(model, bench().fresh(stream)[:-2] + [rng.uniform(-0.25, 0.25, (64, 32)), np.zeros(32)], 1e-3, stream)
        protocol.fit_updates(model, pairs, np.zeros(len(x)), updates, 64, stream)
    else:
        model = denoiser()
        noisy = np.clip(x + rng.normal(0, 0.4, x.shape), 0, 1).astype("float32")
        head = [rng.uniform(-0.08, 0.08, (64, 784)), np.zeros(784)]
        protocol.restart(model, bench().fresh(stream)[:-2] + head, 1e-3, stream)
        protocol.fit_updates(model, noisy, x.reshape(len(x), -1), updates, 64, stream)
    return model.get_weights()[:6]


def train(arm, frozen, count, rate, seed, size="full", updates=UPDATES, source_updates=SOURCE_UPDATES):
    """Return the accuracy on validation images and on the test set."""
    _, x, y, x_test, y_test = digits(size)
    chosen, held_out = protocol.split_labels(y, count, 1000, seed)
    fresh = bench().fresh(seed)
    start = fresh if arm in ("scratch", "altered", "random") else pretrained(arm, seed, size, source_updates) + fresh[-2:]
    if arm == "altered":
        order = chosen[protocol.example_order(len(chosen), updates, 32, seed)]
        model, _ = bench().train(fresh, x[:32], y[:32], 1, 0.0, seed)  # starts anew
        model.optimizer.learning_rate = rate
        altered = augmentation.alter(x[order], "shift, turn, zoom", np.random.default_rng([seed, 3]))
        model.fit(altered, y[order], batch_size=32, shuffle=False, verbose=0)
    else:
        model, _ = bench().train(start, x[chosen], y[chosen], updates, rate, seed, BODY if frozen else ())
    return protocol.accuracy(model, x[held_out], y[held_out]), protocol.accuracy(model, x_test, y_test)


def run_check():
    """Return the short run that the tests repeat: frozen bodies, three labels a class, three seeds, course data."""
    accuracy = {arm: [train(arm, True, 3, 3e-3, seed, "course", 100, 200)[1] for seed in range(3)] for arm in ("fonts", "random")}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], digits)
    arms = [(arm, False) for arm in ARMS] + [(arm, True) for arm in FROZEN]
    depends_on = [sys.modules[__name__], networks, protocol, fonts]

    def tune(job):
        return {"rate": protocol.choose_rate(lambda r, s: train(*job, TUNED_AT, r, s)[0], RATES, TUNING_SEEDS)[0]}

    tuned = evidence.collect("self_supervised_rates", tune, arms, depends_on)
    rates = {arm: found["rate"] for arm, found in zip(arms, tuned, strict=True)}
    jobs = [(*arm, count, seed) for seed in seeds for arm in arms for count in COUNTS]
    runs = evidence.collect("self_supervised", lambda job: {"accuracy": train(*job[:3], rates[job[:2]], job[3])[1]}, jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))

    def by_count(arm, frozen):
        return {str(n): [found[arm, frozen, n, seed]["accuracy"] for seed in seeds] for n in COUNTS}

    facts = {
        "accuracy": {arm: by_count(arm, False) for arm in ARMS}, "probe": {arm: by_count(arm, True) for arm in FROZEN},
        "rates": {f"{arm}{' frozen' if frozen else ''}": rate for (arm, frozen), rate in rates.items()}, "check": run_check(),
    }
    print(evidence.store("self_supervised", "book/evidence/self_supervised.py", seeds, [*tuned, *runs], **facts))


if __name__ == "__main__":
    main()
