"""What a pretrained network carries over, layer by layer, and what the ways of fine-tuning make of it: chapter 8's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/what_transfers.py

Two pairs of tasks: ``fonts`` (drawn digits to MNIST) and ``clothes`` (MNIST to Fashion-MNIST), ten labels a class,
200 updates. Each arm's learning rate is chosen on validation images with tuning seeds. The result holds, as lists over
seeds,

``ways``: by pair and way of training the small convolutional network, test accuracy: ``scratch``; ``random``, a frozen
random body; ``frozen``, a copied and frozen body; ``fine-tuned``; ``probe first``, the head alone for half of the updates,
then all; ``gradual``, head, then also the dense layer, then all; ``slow bottom``, earlier layers with smaller rates;
``rates``: the learning rate that each kept;
``controls``: on ``fonts``, fine-tuned and frozen, from bodies that have part of what pretraining gives: ``shuffled
weights`` (each layer's numbers in random order), ``shuffled labels`` and ``shuffled pixels`` (pretrained on such data);
``probes``: by pair, network (``cnn``, ``mlp``) and body (``pretrained``, ``random``), the accuracy of a linear probe on each
layer; ``travel``: by layer, how far fine-tuning moved the weights, relative to their size; ``cka``: by layer, likeness
of the features before and after fine-tuning, on the target's test images;
``check``: a short run that the tests repeat.
"""

import functools
import sys

import arguments
import numpy as np

from helpers import data, evidence, fonts, networks, protocol, similarity, transfer

COUNT, UPDATES, SOURCE_UPDATES = 10, 200, 600
SOURCE_SIZE = 10_000
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
BODY = ("conv1", "conv2", "dense")
LAYERS = {"cnn": ("conv1", "conv2", "dense"), "mlp": ("hidden",)}
WAYS = ("scratch", "random", "frozen", "fine-tuned", "probe first", "gradual", "slow bottom")
CONTROLS = ("shuffled weights", "shuffled labels", "shuffled pixels")
PAIRS = ("fonts", "clothes")
CHECK_TOLERANCE = 0.06


@functools.cache
def target(pair, size="full"):
    """Return x, y of the pool and of the test set of a pair's target."""
    found = data.load({"fonts": "mnist", "clothes": "fashion_mnist"}[pair], size)
    return networks.as_images(found.x_train), found.y_train, networks.as_images(found.x_test), found.y_test


@functools.cache
def source_data(pair, kind, seed, size="full"):
    """Return x and y to pretrain on; ``kind`` is "plain" or one of the controls' ways of spoiling it."""
    if pair == "fonts":
        images, labels = fonts.draw_digits(SOURCE_SIZE, transfer.SOURCE_STREAM + seed)
    else:
        digits = data.load("mnist", size)
        images, labels = digits.x_train[:SOURCE_SIZE], digits.y_train[:SOURCE_SIZE]
    x, rng = networks.as_images(images), np.random.default_rng(transfer.SOURCE_STREAM + seed)
    if kind == "shuffled labels":
        labels = rng.permutation(labels)
    elif kind == "shuffled pixels":  # one order for all images: the same statistics of each pixel, no neighbourhood
        x = x.reshape(len(x), -1)[:, rng.permutation(784)].reshape(x.shape)
    return x, labels


def build_mlp(seed):
    """Return the article's network for images: what it sees is the image as a row."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(128, activation="relu", name="hidden"),
              keras.layers.Dense(10, activation="softmax", name="head")]
    return keras.Sequential(layers)


@functools.cache
def bench(network):
    return networks.Bench(networks.build_cnn if network == "cnn" else build_mlp)


@functools.cache
def pretrained(pair, network, kind, seed, size="full", updates=SOURCE_UPDATES):
    """Return the weights of a source network."""
    place, stream = bench(network), transfer.SOURCE_STREAM + seed
    model, _ = place.train(place.fresh(stream), *source_data(pair, kind, seed, size), updates, 1e-3, stream, batch_size=64)
    return model.get_weights()


def shuffle_layers(weights, seed):
    """Return weights with each array's numbers in random order: the same statistics, no features."""
    rng = np.random.default_rng([transfer.SOURCE_STREAM, seed])
    return [rng.permutation(w.ravel()).reshape(w.shape) for w in weights]


def body_weights(pair, body, seed, size="full", updates=SOURCE_UPDATES):
    """Return the weights of the small network that a kind of body stands for."""
    if body == "random":
        return bench("cnn").fresh(seed)
    if body == "shuffled weights":
        return shuffle_layers(pretrained(pair, "cnn", "plain", seed, size, updates), seed)
    return pretrained(pair, "cnn", "plain" if body == "pretrained" else body, seed, size, updates)


class SlowBottom:
    """Adam in which earlier layers make smaller steps: each by a factor of ``DECAY`` from the head down."""

    DECAY = 0.4

    @staticmethod
    @functools.cache
    def model():
        import keras

        class Adam(keras.optimizers.Adam):
            def update_step(self, gradient, variable, learning_rate):
                depth = 3 - self._get_variable_index(variable) // 2  # two arrays a layer, the head's come last
                super().update_step(gradient, variable, learning_rate * SlowBottom.DECAY**depth)

        model = networks.build_cnn(seed=0)
        model.compile(Adam(1e-3), "sparse_categorical_crossentropy", steps_per_execution=20)
        return model


def train_way(way, body, x, y, rate, seed, updates=UPDATES):
    """Train the small network in one way, from a body under a fresh head, and return it."""
    place = bench("cnn")
    fresh = place.fresh(seed)
    start = fresh if way in ("scratch", "random") else body[:-2] + fresh[-2:]
    if way == "slow bottom":
        model = SlowBottom.model()
        protocol.restart(model, start, rate, seed)
        protocol.fit_updates(model, x, y, updates, seed=seed)
        return model
    stages = {"random": [BODY], "frozen": [BODY], "probe first": [BODY, ()], "gradual": [BODY, BODY[:2], ()]}.get(way, [()])
    for number, frozen in enumerate(stages):
        part = updates * (number + 1) // len(stages) - updates * number // len(stages)
        model, _ = place.train(start, x, y, part, rate, seed + 100_000 * number, frozen)
        start = model.get_weights()
    return model


def score(pair, way, body, rate, seed, judge, size="full", updates=UPDATES, source_updates=SOURCE_UPDATES):
    """Return an accuracy on validation or test images, and the model with the weights it began with."""
    x, y, x_test, y_test = target(pair, size)
    chosen, held_out = protocol.split_labels(y, COUNT, 1000, seed)
    weights = body_weights(pair, body, seed, size, source_updates)
    model = train_way(way, weights, x[chosen], y[chosen], rate, seed, updates)
    if judge == "validation":
        return protocol.accuracy(model, x[held_out], y[held_out])
    return protocol.accuracy(model, x_test, y_test), model, weights


def tune(pair, way, body):
    return protocol.choose_rate(lambda rate, seed: score(pair, way, body, rate, seed, "validation"), RATES, TUNING_SEEDS)[0]


def look_inside(model, before, x):
    """Return by layer how far the weights moved and how alike the features are, before and after."""
    after, travel, likeness = model.get_weights(), {}, {}
    for number, layer in enumerate(BODY):
        old, new = before[2 * number], after[2 * number]
        travel[layer] = float(np.linalg.norm(new - old) / np.linalg.norm(old))
        features = networks.embed(model, layer, x)
        model.set_weights(before[: 2 * len(BODY)] + after[2 * len(BODY) :])
        likeness[layer] = similarity.linear_cka(networks.embed(model, layer, x), features)
        model.set_weights(after)
    return travel, likeness


def probe_layers(pair, network, body, seed, size="full"):
    """Return the accuracy of a linear probe on the pixels (the key "pixels") and on each layer of a body."""
    place = bench(network)
    weights = place.fresh(seed) if body == "random" else pretrained(pair, network, "plain", seed, size)
    x, y, x_test, y_test = target(pair, size)
    chosen, _ = protocol.split_labels(y, COUNT, 1000, seed)
    model, _ = place.train(weights, x[:32], y[:32], 1, 0.0, seed)
    test = slice(0, 2000)
    result = {"pixels": similarity.linear_probe(x[chosen].reshape(len(chosen), -1), y[chosen],
                                                x_test[test].reshape(2000, -1), y_test[test])}
    for layer in LAYERS[network]:
        features = [networks.embed(model, layer, part) for part in (x[chosen], x_test[test])]
        result[layer] = similarity.linear_probe(features[0], y[chosen], features[1], y_test[test])
    return result


def run_job(job, rates):
    """Return what one job gives: ("way", pair, way, seed), ("control", kind, way, seed) or ("probe", ...)."""
    kind, *rest, seed = job
    if kind == "probe":
        pair, network, body = rest
        return {"probe": probe_layers(pair, network, body, seed)}
    pair, way, body = (rest[0], rest[1], "pretrained") if kind == "way" else ("fonts", rest[1], rest[0])
    accuracy, model, weights = score(pair, way, body, rates[f"{kind} {rest[0]} {rest[1]}"], seed, "test")
    result = {"accuracy": accuracy}
    if kind == "way" and way == "fine-tuned":
        result["travel"], result["cka"] = look_inside(model, weights, target(pair)[2][:500])
    return result


def run_check():
    """Return the short run that the tests repeat: three seeds, short training, course data."""
    accuracy = {"fine-tuned": [], "random": []}
    for seed in range(3):
        for way, scores in accuracy.items():
            scores.append(score("fonts", way, "pretrained", 1e-3, seed, "test", "course", 100, 300)[0])
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], lambda: (target("fonts"), target("clothes")))
    depends_on = [sys.modules[__name__], networks, protocol, fonts, similarity]
    arms = [("way", pair, way) for pair in PAIRS for way in WAYS]
    arms += [("control", body, way) for body in CONTROLS for way in ("fine-tuned", "frozen")]

    def tune_arm(arm):
        kind, first, way = arm
        return {"rate": tune(first, way, "pretrained") if kind == "way" else tune("fonts", way, first)}

    tuned = evidence.collect("what_transfers_rates", tune_arm, arms, depends_on)
    rates = {" ".join(arm): found["rate"] for arm, found in zip(arms, tuned, strict=True)}
    bodies = [("probe", pair, network, body) for pair in PAIRS for network in LAYERS for body in ("pretrained", "random")]
    jobs = [(*arm, seed) for seed in seeds for arm in [*arms, *bodies]]
    runs = evidence.collect("what_transfers", lambda job: run_job(job, rates), jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))

    def over_seeds(arm, *keys):
        values = [found[(*arm, seed)] for seed in seeds]
        for key in keys:
            values = [value[key] for value in values]
        return values

    facts = {
        "count": COUNT, "updates": UPDATES, "rates": rates,
        "ways": {pair: {way: over_seeds(("way", pair, way), "accuracy") for way in WAYS} for pair in PAIRS},
        "controls": {body: {way: over_seeds(("control", body, way), "accuracy") for way in ("fine-tuned", "frozen")}
                     for body in CONTROLS},
        "probes": {pair: {network: {body: {layer: over_seeds(("probe", pair, network, body), "probe", layer)
                                           for layer in ("pixels", *LAYERS[network])}
                                    for body in ("pretrained", "random")} for network in LAYERS} for pair in PAIRS},
        "travel": {p: {layer: over_seeds(("way", p, "fine-tuned"), "travel", layer) for layer in BODY} for p in PAIRS},
        "cka": {p: {layer: over_seeds(("way", p, "fine-tuned"), "cka", layer) for layer in BODY} for p in PAIRS},
        "check": run_check(),
    }
    print(evidence.store("what_transfers", "book/evidence/what_transfers.py", seeds, [*tuned, *runs], **facts))


if __name__ == "__main__":
    main()
