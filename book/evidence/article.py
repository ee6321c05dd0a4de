"""The article's experiment with its controls, on the full data: chapter 7's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/article.py

For each seed: pretrain on MNIST, then train every arm on Fashion-MNIST with the same updates. Then the same with few
Fashion-MNIST labels and a fixed number of updates. A finished seed is kept in ``_build/evidence``, so a run that was
stopped goes on where it was. The result, helpers/results/article.json, holds

``full``: by arm, a list over seeds of the test loss and accuracy before training and after each epoch (``scratch``
has ten epochs, the others five); ``mnist_after``: accuracy on MNIST by epoch, with the head that learned MNIST;
``few``: by labels a class and arm, the test accuracy after the last update, a list over seeds;
``check``: a short run on the course-size data that the tests repeat: its gap must keep its sign and roughly its size.
"""

import sys

import arguments
import numpy as np

from helpers import data, evidence, transfer

EPOCHS = 5
FEW_LABELS = (1, 3, 10, 30, 100, 300, 1000)
FEW_UPDATES, FEW_BATCH = 400, 32
CHECK_TOLERANCE = 0.03


def load_pair(size):
    """Return MNIST and Fashion-MNIST as flat rows: two tuples x, y, x_test, y_test."""
    sets = [data.load(name, size) for name in ("mnist", "fashion_mnist")]
    return [(data.flatten(d.x_train), d.y_train, data.flatten(d.x_test), d.y_test) for d in sets]


def run_arm(arm, source, mnist, fashion, seed, epochs=EPOCHS):
    """Return an arm's record on Fashion-MNIST, with its accuracy on MNIST by epoch where weights were copied."""
    model = transfer.start(arm, source, seed)
    old = transfer.build_network()
    mnist_accuracy = []

    def ask_mnist(epoch):
        hidden = model.get_layer("hidden").get_weights()
        head = (model if arm == "article" else source).get_layer("head").get_weights()
        old.set_weights(hidden + head)
        mnist_accuracy.append(float(old.evaluate(*mnist[2:], batch_size=1000, verbose=0)[1]))

    follow = ask_mnist if arm in ("article", "hidden") else None
    record = transfer.train(model, *fashion, epochs=epochs, seed=seed, after_epoch=follow)
    return record | ({"mnist_after": mnist_accuracy} if follow else {})


def train_on_few(model, fashion, count, seed):
    """Return the test accuracy after a fixed number of updates on ``count`` labels a class."""
    x, y, x_test, y_test = fashion
    rng = np.random.default_rng([seed, count])
    chosen = data.few_per_class(y, count, rng)
    repeats = -(-FEW_UPDATES * FEW_BATCH // len(chosen))
    order = np.concatenate([rng.permutation(chosen) for _ in range(repeats)])[: FEW_UPDATES * FEW_BATCH]
    model.fit(x[order], y[order], batch_size=FEW_BATCH, shuffle=False, verbose=0)
    return float(model.evaluate(x_test, y_test, batch_size=1000, verbose=0)[1])


def run_seed(seed, mnist, fashion):
    """Return everything that one seed gives."""
    source, record = transfer.pretrain(*mnist, EPOCHS, seed)
    result = {"mnist": record, "full": {}, "few": {}}
    for arm in transfer.ARMS:
        epochs = 2 * EPOCHS if arm == "scratch" else EPOCHS  # ten: what pretraining and fine-tuning cost together
        result["full"][arm] = run_arm(arm, source, mnist, fashion, seed, epochs)
    for count in FEW_LABELS:
        result["few"][str(count)] = {
            arm: train_on_few(transfer.start(arm, source, seed), fashion, count, seed) for arm in transfer.ARMS
        }
    return result


def run_check():
    """Return the short run that the tests repeat: three seeds, one epoch, the data that ship with the helpers."""
    mnist, fashion = load_pair("course")
    accuracy = {"scratch": [], "article": []}
    for seed in range(3):
        source, _ = transfer.pretrain(*mnist, EPOCHS, seed)
        for arm, scores in accuracy.items():
            scores.append(run_arm(arm, source, mnist, fashion, seed, epochs=1)["accuracy"][-1])
    return {"size": "course", "tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def gather(runs):
    """Turn a list over seeds into lists by arm."""
    arms = list(transfer.ARMS)
    return {
        "mnist": {key: [run["mnist"][key] for run in runs] for key in ("loss", "accuracy")},
        "full": {a: {key: [r["full"][a][key] for r in runs] for key in ("loss", "accuracy")} for a in arms},
        "mnist_after": {a: [r["full"][a]["mnist_after"] for r in runs] for a in ("article", "hidden")},
        "few": {str(n): {a: [r["few"][str(n)][a] for r in runs] for a in arms} for n in FEW_LABELS},
    }


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], lambda: load_pair("full"), default=20)
    mnist, fashion = load_pair("full")
    runs = evidence.collect("article", lambda seed: run_seed(seed, mnist, fashion), seeds, [sys.modules[__name__], transfer])
    facts = {"epochs": EPOCHS, "few_updates": FEW_UPDATES, "few_batch": FEW_BATCH, "check": run_check()}
    print(evidence.store("article", "book/evidence/article.py", seeds, runs, **facts, **gather(runs)))


if __name__ == "__main__":
    main()
