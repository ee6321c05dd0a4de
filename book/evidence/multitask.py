"""Two tasks at once: does a second task help the first? Chapter 10's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/multitask.py

One small convolutional body, a head for each task, 300 updates of 32 images of the task that counts, and where there is a
second task as many of that. ``clothes``: by arm and labels a class of MNIST, the test accuracy on MNIST: ``alone``;
``few clothes``, jointly with as many labels of Fashion-MNIST; ``many clothes``, jointly with 10,000. ``digits``: 1 or
10 labels a class of scikit-learn's 8 × 8 digits and MNIST shrunk alike as the second task: ``alone``, ``jointly``, ``one
after the other`` (first MNIST, then the digits with a head of their own); ``kept``: the accuracy on shrunk MNIST
afterwards. All are lists over seeds; all arms have Adam's rate 1e-3, which no arm chose. ``check``: a short run that the
tests repeat.
"""

import functools
import sys

import arguments
import label_efficiency
import numpy as np
import two_tasks

from helpers import data, evidence, networks, protocol, transfer

UPDATES, BATCH, RATE = 300, 32, 1e-3
CLOTHES_COUNTS, DIGIT_COUNTS = (5, 50), (1, 10)
CLOTHES_ARMS, DIGIT_ARMS = ("alone", "few clothes", "many clothes"), ("alone", "jointly", "one after the other")
CHECK_TOLERANCE = 0.08


@functools.cache
def images(name, size="full"):
    found = data.load(name, size)
    return networks.as_images(found.x_train), found.y_train, networks.as_images(found.x_test[:3000]), found.y_test[:3000]


@functools.cache
def network(size):
    """Return body and two heads for square images; what stands before the head of ``build_cnn`` is the body."""
    import keras

    whole = networks.build_cnn((size, size, 1), seed=0)
    return two_tasks.TwoTasks(keras.Model(whole.inputs[0], whole.get_layer("dense").output), (10, 10))


@functools.cache
def fresh(size, seed):
    """Return fresh weights: body, head of the second task (0), head of the task that counts (1)."""
    whole = networks.build_cnn((size, size, 1), seed=seed).get_weights()
    other = networks.build_cnn((size, size, 1), seed=transfer.SOURCE_STREAM + seed).get_weights()
    return whole[:-2] + other[-2:] + whole[-2:]


def with_clothes(arm, count, seed, size="full"):
    """Return the test accuracy on MNIST."""
    x, y, x_test, y_test = images("mnist", size)
    chosen, _ = protocol.split_labels(y, count, 0, seed)
    x_other, y_other = images("fashion_mnist", size)[:2]
    if arm == "few clothes":
        other, _ = protocol.split_labels(y_other, count, 0, seed)
    else:
        other = np.random.default_rng([seed, 5]).permutation(len(x_other))[:10_000]
    both = network(28)
    both.restart(fresh(28, seed), RATE, seed)
    both.train((x[chosen], y[chosen]), (x_other[other], y_other[other]), updates=UPDATES, batch_size=BATCH, old_batch=BATCH,
               old_weight=0.0 if arm == "alone" else 1.0, seed=seed)
    return both.accuracy(1, x_test, y_test)


def with_digits(arm, count, seed, updates=UPDATES):
    """Return the test accuracy on scikit-learn's digits, and on shrunk MNIST."""
    x, y, x_test, y_test = label_efficiency.target("scanner", seed)
    chosen, _ = protocol.split_labels(y, count, 0, seed)
    other = label_efficiency.source_data("scanner", seed)
    both = network(8)
    both.restart(fresh(8, seed), RATE, seed)
    if arm == "one after the other":
        both.train(other, updates=updates, batch_size=BATCH, head=0, seed=transfer.SOURCE_STREAM + seed)
        both.restart(both.get_weights(), RATE, seed)
    both.train((x[chosen], y[chosen]), other, updates=updates, batch_size=BATCH, old_batch=BATCH,
               old_weight=1.0 if arm == "jointly" else 0.0, seed=seed)
    return both.accuracy(1, x_test, y_test), both.accuracy(0, *shrunk_test())


@functools.cache
def shrunk_test():
    mnist = data.load("mnist")
    return label_efficiency.shrink(mnist.x_test), mnist.y_test


def run_job(job):
    kind, arm, count, seed = job
    if kind == "clothes":
        return {"accuracy": with_clothes(arm, count, seed)}
    accuracy, kept = with_digits(arm, count, seed)
    return {"accuracy": accuracy, "kept": kept}


def run_check():
    """Return the short run that the tests repeat: what is kept of MNIST; three labels a class, three seeds, 100 updates."""
    accuracy = {arm: [with_digits(arm, 3, seed, 100)[1] for seed in range(3)] for arm in ("jointly", "one after the other")}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], lambda: (images("mnist"), images("fashion_mnist")))
    arms = [("clothes", arm, count) for arm in CLOTHES_ARMS for count in CLOTHES_COUNTS]
    arms += [("digits", arm, count) for arm in DIGIT_ARMS for count in DIGIT_COUNTS]
    jobs = [(*arm, seed) for seed in seeds for arm in arms]
    depends_on = [sys.modules[__name__], two_tasks, label_efficiency, networks, protocol]
    runs = evidence.collect("multitask", run_job, jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))

    def by_count(kind, arm, counts, key="accuracy"):
        return {str(n): [found[kind, arm, n, seed][key] for seed in seeds] for n in counts}

    facts = {
        "clothes": {arm: by_count("clothes", arm, CLOTHES_COUNTS) for arm in CLOTHES_ARMS},
        "digits": {arm: by_count("digits", arm, DIGIT_COUNTS) for arm in DIGIT_ARMS},
        "kept": {arm: by_count("digits", arm, DIGIT_COUNTS, "kept") for arm in DIGIT_ARMS[1:]},
        "check": run_check(),
    }
    print(evidence.store("multitask", "book/evidence/multitask.py", seeds, runs, **facts))


if __name__ == "__main__":
    main()
