"""Can one tell beforehand which source task will help? Ten sources for one target: chapter 9's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/source_choice.py

Target: the digits 5 to 9 of MNIST, five labels a class, from images that are not among the course's. Sources: see
``SOURCES``; each network learns with the same number of images and updates. For each source and seed

``scores``: what can be computed from the 25 labelled images before any fine-tuning: ``logme`` on the features of the dense
layer, ``leep`` on the answers, ``probe``, the accuracy of a linear probe on the features in five-fold cross-validation;
``accuracy``: the test accuracy after fine-tuning under a new head (``scratch``: from fresh weights), the learning rate of
each source chosen on validation images; ``rates``: the rates kept; ``check``: a short run that the tests repeat.
All are lists over seeds, by source.
"""

import functools
import sys

import arguments
import numpy as np
from label_efficiency import fresh_mnist

from helpers import data, evidence, fonts, networks, protocol, similarity, transfer

COUNT, UPDATES, SOURCE_UPDATES, SOURCE_SIZE = 5, 200, 400, 5000
RATES = (3e-4, 1e-3, 3e-3)
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
SOURCES = {
    "digits 0-4": "MNIST's other digits",
    "fonts 5-9": "the same digits, drawn",
    "fonts 0-4": "other digits, drawn",
    "upper body": "T-shirt, pullover, dress, coat, shirt",
    "other clothes": "trousers, sandal, sneaker, bag, boot",
    "gratings": "stripes in five directions",
    "turned 0-4": "MNIST's other digits, turned by a quarter",
    "inverted 0-4": "MNIST's other digits, white on black",
    "shuffled labels": "MNIST's other digits with random labels",
    "shuffled pixels": "MNIST's other digits with their pixels in another order",
}
CLOTHES = {"upper body": (0, 2, 3, 4, 6), "other clothes": (1, 5, 7, 8, 9)}
CHECK_TOLERANCE = 0.08


def draw_gratings(count, seed):
    """Return pictures of stripes in five directions (the classes), random in width, phase and strength."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, count)
    angle = labels * np.pi / 5 + rng.uniform(-0.2, 0.2, count)
    width, phase = rng.uniform(3, 9, count), rng.uniform(0, 2 * np.pi, count)
    down, right = np.mgrid[:28, :28]
    along = np.cos(angle)[:, None, None] * right + np.sin(angle)[:, None, None] * down
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * along / width[:, None, None] + phase[:, None, None])
    images = waves * rng.uniform(0.5, 1, (count, 1, 1)) + rng.normal(0, 0.1, (count, 28, 28))
    return np.clip(255 * images, 0, 255).astype("uint8"), labels


def source_data(source, seed):
    """Return 5,000 images and labels 0 to 4 of a source."""
    stream = transfer.SOURCE_STREAM + seed
    rng = np.random.default_rng(stream)
    if source == "gratings":
        images, labels = draw_gratings(SOURCE_SIZE, stream)
    elif source.startswith("fonts"):
        images, labels = fonts.draw_digits(2 * SOURCE_SIZE, stream)
        kept = labels >= 5 if source == "fonts 5-9" else labels < 5
        images, labels = images[kept], labels[kept] % 5
    else:
        found = data.load("fashion_mnist" if source in CLOTHES else "mnist")
        kinds = CLOTHES.get(source, range(5))
        chosen = rng.permutation(np.flatnonzero(np.isin(found.y_train, kinds)))[:SOURCE_SIZE]
        images, labels = found.x_train[chosen], np.searchsorted(kinds, found.y_train[chosen])
    if source == "turned 0-4":
        images = np.rot90(images, axes=(1, 2))
    elif source == "inverted 0-4":
        images = 255 - images
    elif source == "shuffled labels":
        labels = rng.permutation(labels)
    elif source == "shuffled pixels":
        images = images.reshape(-1, 784)[:, rng.permutation(784)].reshape(-1, 28, 28)
    return networks.as_images(images), labels


@functools.cache
def target():
    """Return x, y of the pool and of the test set: digits 5 to 9, labelled 0 to 4."""
    x, y, x_test, y_test = fresh_mnist()
    return x[y >= 5], y[y >= 5] - 5, x_test[y_test >= 5], y_test[y_test >= 5] - 5


@functools.cache
def bench():
    return networks.Bench(lambda seed: networks.build_cnn(classes=5, seed=seed))


@functools.lru_cache(maxsize=4)
def pretrained(source, seed, updates=SOURCE_UPDATES):
    stream = transfer.SOURCE_STREAM + seed
    model, _ = bench().train(bench().fresh(stream), *source_data(source, seed), updates, 1e-3, stream, batch_size=64)
    return model.get_weights()


def train(source, rate, seed, judge, part=None, updates=UPDATES, source_updates=SOURCE_UPDATES):
    """Return the accuracy after fine-tuning on what ``judge`` names: "validation" or "test" images."""
    x, y, x_test, y_test = part or target()
    chosen, held_out = protocol.split_labels(y, COUNT, 1000, seed)
    fresh = bench().fresh(seed)
    start = fresh if source == "scratch" else pretrained(source, seed, source_updates)[:-2] + fresh[-2:]
    model, _ = bench().train(start, x[chosen], y[chosen], updates, rate, seed)
    return protocol.accuracy(model, x[held_out], y[held_out]) if judge == "validation" else protocol.accuracy(model, x_test, y_test)


def score(source, seed):
    """Return the scores of relatedness, from the labelled images alone."""
    from sklearn import linear_model, model_selection, pipeline, preprocessing

    x, y = target()[:2]
    chosen, _ = protocol.split_labels(y, COUNT, 1000, seed)
    model, _ = bench().train(pretrained(source, seed), x[:32], y[:32], 1, 0.0, seed)
    features, answers = networks.embed(model, "dense", x[chosen]), model.predict(x[chosen], verbose=0)
    probe = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=300))
    return {
        "logme": similarity.logme(features, y[chosen]),
        "leep": similarity.leep(answers, y[chosen]),
        "probe": float(model_selection.cross_val_score(probe, features, y[chosen], cv=5).mean()),
    }


def run_job(job, rates):
    source, seed = job
    result = {"accuracy": train(source, rates[source], seed, "test")}
    if source != "scratch":
        result |= score(source, seed)
    return result


def run_check():
    """Return the short run that the tests repeat: one near source and one spoilt one, three seeds, course data."""
    digits = data.load("mnist")
    part = [networks.as_images(digits.x_train), digits.y_train, networks.as_images(digits.x_test), digits.y_test]
    part = (part[0][part[1] >= 5], part[1][part[1] >= 5] - 5, part[2][part[3] >= 5], part[3][part[3] >= 5] - 5)
    accuracy = {name: [train(name, 1e-3, seed, "test", part, 100, 200) for seed in range(3)] for name in ("fonts 5-9", "shuffled pixels")}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], target)
    depends_on = [sys.modules[__name__], networks, protocol, fonts, similarity]
    arms = ["scratch", *SOURCES]

    def tune(source):
        return {"rate": protocol.choose_rate(lambda rate, seed: train(source, rate, seed, "validation"), RATES, TUNING_SEEDS)[0]}

    tuned = evidence.collect("source_choice_rates", tune, arms, depends_on)
    rates = {arm: found["rate"] for arm, found in zip(arms, tuned, strict=True)}
    jobs = [(arm, seed) for seed in seeds for arm in arms]
    runs = evidence.collect("source_choice", lambda job: run_job(job, rates), jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))
    facts = {
        "count": COUNT, "rates": rates,
        "accuracy": {arm: [found[arm, seed]["accuracy"] for seed in seeds] for arm in arms},
        "scores": {name: {source: [found[source, seed][name] for seed in seeds] for source in SOURCES}
                   for name in ("logme", "leep", "probe")},
        "check": run_check(),
    }
    print(evidence.store("source_choice", "book/evidence/source_choice.py", seeds, [*tuned, *runs], **facts))


if __name__ == "__main__":
    main()
