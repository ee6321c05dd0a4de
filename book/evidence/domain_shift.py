"""Other pictures or other questions: domain shift and task shift, and what few labels repair. Chapter 10's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/domain_shift.py

A small convolutional network has learned 10,000 digits of MNIST for 600 updates. ``fall``: by kind of shift, its accuracy on
test digits altered with rising strength (``STRENGTHS``), lists over seeds. ``repair``: by case and arm, accuracy after 200
updates with few labels of the new domain or task (``COUNTS``): ``scratch``, ``copied`` (all weights) and ``new head``
(body only); the cases are one strength of each shift (``REPAIRED``) and two task shifts on unaltered digits: ``odd or even``
and ``permuted``, the same classes under other names. ``misled``: on scikit-learn's 8 × 8 digits, the arms of
``MISLED`` by labels a class: a source with right and with wrong names, its body under a new head. ``rates``: learning
rates, chosen on validation images; ``check``: a short run that the tests repeat.
"""

import functools
import sys

import arguments
import label_efficiency
import numpy as np
from scipy import ndimage

from helpers import data, evidence, networks, protocol, transfer

UPDATES, SOURCE_UPDATES = 200, 600
COUNTS = (1, 10)
RATES = (3e-4, 1e-3, 3e-3)
TUNED_AT = 10
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
STRENGTHS = {
    "moved": (0, 1, 2, 3, 4, 5, 6, 8),
    "turned": (0, 10, 20, 30, 45, 60, 90),
    "inverted": (0, 0.1, 0.2, 0.3, 0.4, 0.6, 1),
    "noisy": (0, 0.1, 0.2, 0.3, 0.5, 0.7, 1),
}
REPAIRED = {"moved": 5, "turned": 60, "inverted": 1, "noisy": 0.7}
TASKS = ("odd or even", "permuted")
ARMS = ("scratch", "copied", "new head")
MISLED = ("scratch", "right names", "wrong names", "new head")
CHECK_TOLERANCE = 0.08


def shifted(images, kind, strength, seed=0):
    """Return altered images, float32 of shape (n, 28, 28, 1): moved (pixels, to the right and down), turned (degrees),
    inverted (share of the way to the negative) or noisy (standard deviation)."""
    if kind == "moved":
        moved = np.zeros_like(images)
        moved[:, strength:, strength:] = images[:, : 28 - strength, : 28 - strength]
        return moved
    if kind == "turned":
        return np.clip(ndimage.rotate(images, strength, axes=(1, 2), reshape=False, order=1), 0, 1)
    if kind == "inverted":
        return (1 - strength) * images + strength * (1 - images)
    noise = np.random.default_rng([seed, 9]).normal(0, strength, images.shape)
    return np.clip(images + noise, 0, 1).astype("float32")


@functools.cache
def digits():
    """Return source images and labels, and x, y of another pool and of the test set."""
    found = data.load("mnist", "full")
    x, y = networks.as_images(found.x_train), found.y_train
    return x[:10_000], y[:10_000], x[10_000:], y[10_000:], networks.as_images(found.x_test), found.y_test


@functools.cache
def target(case):
    """Return x, y of the pool and of the test set of a case; the pool shares no image with the source."""
    _, _, x, y, x_test, y_test = digits()
    x, y, x_test, y_test = x[:5000], y[:5000], x_test[:3000], y_test[:3000]
    if case == "odd or even":
        y, y_test = y % 2, y_test % 2
    elif case == "permuted":
        names = np.roll(np.arange(10), 3)
        y, y_test = names[y], names[y_test]
    else:
        x, x_test = (shifted(part, case, REPAIRED[case], place) for place, part in enumerate((x, x_test)))
    return x, y, x_test, y_test


@functools.cache
def bench():
    return networks.Bench(networks.build_cnn)


@functools.lru_cache(maxsize=2)
def pretrained(seed):
    stream = transfer.SOURCE_STREAM + seed
    model, _ = bench().train(bench().fresh(stream), *digits()[:2], SOURCE_UPDATES, 1e-3, stream, batch_size=64)
    return model.get_weights()


def repair(case, arm, count, rate, seed, judge):
    """Return the accuracy on what ``judge`` names: "validation" or "test" images."""
    x, y, x_test, y_test = target(case)
    chosen, held_out = protocol.split_labels(y, count, 1000, seed)
    fresh = bench().fresh(seed)
    start = fresh if arm == "scratch" else pretrained(seed)
    start = start[:-2] + fresh[-2:] if arm == "new head" else start
    model, _ = bench().train(start, x[chosen], y[chosen], UPDATES, rate, seed)
    return judged(model, judge, x[held_out], y[held_out], x_test, y_test)


def judged(model, judge, x, y, x_test, y_test):
    return protocol.accuracy(model, x, y) if judge == "validation" else protocol.accuracy(model, x_test, y_test)


@functools.lru_cache(maxsize=4)
def small_source(names, seed):
    """Return the weights of an 8 × 8 network that has learned MNIST under its own names or under permuted ones."""
    place, stream = label_efficiency.bench("scanner"), transfer.SOURCE_STREAM + seed
    x, y = label_efficiency.source_data("scanner", seed)
    y = np.roll(np.arange(10), 3)[y] if names == "wrong" else y
    model, _ = place.train(place.fresh(stream), x, y, SOURCE_UPDATES, 1e-3, stream, batch_size=64)
    return model.get_weights()


def mislead(arm, count, rate, seed, judge):
    """Return the accuracy on scikit-learn's digits, validation or test."""
    x, y, x_test, y_test = label_efficiency.target("scanner", seed)
    chosen, held_out = protocol.split_labels(y, count, 200, seed)
    fresh = label_efficiency.bench("scanner").fresh(seed)
    start = fresh if arm == "scratch" else small_source("right" if arm == "right names" else "wrong", seed)
    start = start[:-2] + fresh[-2:] if arm == "new head" else start
    model, _ = label_efficiency.bench("scanner").train(start, x[chosen], y[chosen], UPDATES, rate, seed)
    return judged(model, judge, x[held_out], y[held_out], x_test, y_test)


def fall(seed):
    """Return by shift and strength the accuracy of the untouched network."""
    x, y = digits()[4][:2000], digits()[5][:2000]
    model, _ = bench().train(pretrained(seed), x[:32], y[:32], 1, 0.0, seed)
    return {kind: [protocol.accuracy(model, shifted(x, kind, s, seed), y) for s in steps] for kind, steps in STRENGTHS.items()}


def run_check():
    """Return the short run that the tests repeat: right and wrong names, three labels a class, three seeds."""
    accuracy = {arm: [mislead(arm, 3, 1e-3, seed, "test") for seed in range(3)] for arm in ("right names", "wrong names")}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], digits)
    depends_on = [sys.modules[__name__], label_efficiency, networks, protocol]
    cases = (*REPAIRED, *TASKS)
    arms = [("repair", case, arm) for case in cases for arm in ARMS if (case, arm) != ("odd or even", "copied")]
    arms += [("misled", "", arm) for arm in MISLED]

    def run(kind, case, arm, count, rate, seed, judge):
        return repair(case, arm, count, rate, seed, judge) if kind == "repair" else mislead(arm, count, rate, seed, judge)

    def tune(job):
        return {"rate": protocol.choose_rate(lambda r, s: run(*job, TUNED_AT, r, s, "validation"), RATES, TUNING_SEEDS)[0]}

    tuned = evidence.collect("domain_shift_rates", tune, arms, depends_on)
    rates = {arm: found["rate"] for arm, found in zip(arms, tuned, strict=True)}
    jobs = [(*arm, count, seed) for seed in seeds for arm in arms for count in COUNTS]
    runs = evidence.collect("domain_shift", lambda job: {"accuracy": run(*job[:4], rates[job[:3]], job[4], "test")}, jobs, depends_on)
    falls = evidence.collect("domain_shift_fall", lambda seed: fall(seed), seeds, depends_on)
    found = dict(zip(jobs, runs, strict=True))

    def by_count(*arm):
        return {str(n): [found[(*arm, n, seed)]["accuracy"] for seed in seeds] for n in COUNTS}

    facts = {
        "strengths": STRENGTHS, "repaired": REPAIRED, "rates": {" ".join(arm): rate for arm, rate in rates.items()},
        "fall": {kind: [run[kind] for run in falls] for kind in STRENGTHS},
        "repair": {case: {arm: by_count("repair", case, arm) for kind, c, arm in arms if (kind, c) == ("repair", case)}
                   for case in cases},
        "misled": {arm: by_count("misled", "", arm) for arm in MISLED},
        "check": run_check(),
    }
    print(evidence.store("domain_shift", "book/evidence/domain_shift.py", seeds, [*tuned, *runs, *falls], **facts))


if __name__ == "__main__":
    main()
