"""Smaller networks, and labels that a network gives itself, with few labels: chapter 11's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/little_data.py

MNIST, 1 to 50 labels a class, small convolutional networks. ``sizes``: by size of the network (``SIZES``) and labels a class,
test accuracies after 300 updates, lists over seeds. ``self-training``: by arm and labels a class: ``plain``, 300 updates on
the labels; ``longer``, 600 of them; ``self-trained``, 300 updates, then 300 more in which half of each batch are images
without labels, 5,000 in all, with the answers that the network gave with a confidence above ``SURE``; ``told the truth``,
the same images with their true labels. ``kept`` and ``wrong``: share of the 5,000 images that were used, and share of those
whose given label was wrong. ``longer clothes``: Fashion-MNIST, 50 labels a class, with (``shift``) and without (``none``)
shifted copies after 1,500 updates instead of the 300 of ``augmentation.py``. ``rates``: learning rates chosen on validation images with 20 labels a class; ``check``: a short
run that the tests repeat.
"""

import functools
import sys

import arguments
import augmentation
import numpy as np

from helpers import data, evidence, networks, protocol

UPDATES, LONG_UPDATES, BATCH, UNLABELLED, SURE = 300, 1500, 32, 5000, 0.9
COUNTS = (1, 5, 50)
SIZES = {"tiny": ((4, 8), 16), "small": ((16, 32), 64), "large": ((48, 96), 192)}
ARMS = ("plain", "longer", "self-trained", "told the truth")
RATES = (3e-4, 1e-3, 3e-3)
TUNED_AT = 20
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
CHECK_TOLERANCE = 0.08


@functools.cache
def examples(size="full"):
    found = data.load("mnist", size)
    return networks.as_images(found.x_train), found.y_train, networks.as_images(found.x_test[:3000]), found.y_test[:3000]


@functools.cache
def bench(size):
    filters, units = SIZES[size]
    return networks.Bench(lambda seed: networks.build_cnn(filters=filters, units=units, seed=seed))


def train(size, count, rate, seed, updates=UPDATES, part="full"):
    """Return the network, and the positions of labelled, unlabelled and validation images."""
    x, y = examples(part)[:2]
    chosen, rest = protocol.split_labels(y, count, 1000 + UNLABELLED, seed)
    model, _ = bench(size).train(bench(size).fresh(seed), x[chosen], y[chosen], updates, rate, seed)
    return model, chosen, rest[1000:], rest[:1000]


def train_itself(model, chosen, others, labels, seed, part="full", updates=UPDATES):
    """Train further, half of each batch labelled images and half others with given labels; the optimizer starts afresh."""
    x, y = examples(part)[:2]
    rate = float(model.optimizer.learning_rate)
    half = BATCH // 2
    own = chosen[protocol.example_order(len(chosen), updates, half, seed)].reshape(updates, half)
    place = protocol.example_order(len(others), updates, half, seed + 1).reshape(updates, half)
    order = np.concatenate([own, others[place]], axis=1).ravel()
    given = np.concatenate([y[own], labels[place]], axis=1).ravel()
    protocol.restart(model, model.get_weights(), rate, seed)
    model.fit(x[order], given, batch_size=BATCH, shuffle=False, verbose=0)
    return model


def run_arm(arm, count, rate, seed, part="full", updates=UPDATES):
    """Return the test accuracy, and for self-training how many labels it gave itself and how many were wrong."""
    x, y, x_test, y_test = examples(part)
    model, chosen, others, _ = train("small", count, rate, seed, 2 * updates if arm == "longer" else updates, part)
    result = {}
    if arm in ("self-trained", "told the truth"):
        answers = model.predict(x[others], batch_size=1000, verbose=0)
        sure = answers.max(axis=1) > SURE
        given = answers.argmax(axis=1) if arm == "self-trained" else y[others]
        result = {"kept": float(sure.mean()), "wrong": float((given[sure] != y[others][sure]).mean()) if sure.any() else 0.0}
        if sure.any():
            train_itself(model, chosen, others[sure], given[sure], seed, part, updates)
    return result | {"accuracy": protocol.accuracy(model, x_test, y_test)}


def run_check():
    """Return the short run that the tests repeat: five labels a class, three seeds, 100 updates, course data."""
    accuracy = {arm: [run_arm(arm, 5, 1e-3, seed, "course", 100)["accuracy"] for seed in range(3)]
                for arm in ("told the truth", "plain")}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], examples)
    depends_on = [sys.modules[__name__], networks, protocol]

    def validate(size, rate, seed):
        model, _, _, held_out = train(size, TUNED_AT, rate, seed)
        return protocol.accuracy(model, examples()[0][held_out], examples()[1][held_out])

    def tune(size):
        return {"rate": protocol.choose_rate(lambda rate, seed: validate(size, rate, seed), RATES, TUNING_SEEDS)[0]}

    tuned = evidence.collect("little_data_rates", tune, list(SIZES), depends_on)
    rates = {size: found["rate"] for size, found in zip(SIZES, tuned, strict=True)}
    jobs = [("size", size, count, seed) for seed in seeds for size in SIZES for count in COUNTS]
    jobs += [("arm", arm, count, seed) for seed in seeds for arm in ARMS[1:] for count in COUNTS]

    def run_job(job):
        kind, name, count, seed = job
        if kind == "arm":
            return run_arm(name, count, rates["small"], seed)
        return {"accuracy": protocol.accuracy(train(name, count, rates[name], seed)[0], *examples()[2:])}

    runs = evidence.collect("little_data", run_job, jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))

    rate = evidence.load("augmentation")["rates"]
    long_jobs = [(arm, seed) for seed in seeds for arm in ("none", "shift")]

    def run_long(job):
        arm, seed = job
        return {"accuracy": augmentation.train("fashion_mnist", arm, 50, rate[f"fashion_mnist {arm}"], seed, "test", updates=LONG_UPDATES)}

    long_runs = evidence.collect("little_data_longer", run_long, long_jobs, [augmentation, networks, protocol, LONG_UPDATES])
    long = dict(zip(long_jobs, long_runs, strict=True))

    def by_count(kind, name, key="accuracy"):
        return {str(n): [found[kind, name, n, seed][key] for seed in seeds] for n in COUNTS}

    facts = {
        "rates": rates, "sure": SURE,
        "sizes": {size: by_count("size", size) for size in SIZES},
        "self-training": {"plain": by_count("size", "small")} | {arm: by_count("arm", arm) for arm in ARMS[1:]},
        "kept": by_count("arm", "self-trained", "kept"), "wrong": by_count("arm", "self-trained", "wrong"),
        "longer clothes": {arm: [long[arm, seed]["accuracy"] for seed in seeds] for arm in ("none", "shift")},
        "check": run_check(),
    }
    print(evidence.store("little_data", "book/evidence/little_data.py", seeds, [*tuned, *runs, *long_runs], **facts))


if __name__ == "__main__":
    main()
