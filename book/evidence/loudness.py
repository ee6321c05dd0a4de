"""Why a copied hidden layer hurts, even under a new head: its features, or how strongly it answers?

    COURSE_DATA_DIR=FOLDER python book/evidence/loudness.py

With few Fashion-MNIST labels and the updates of article.py, three copies of MNIST's hidden layer start under a new head:
as it is (``hidden``); multiplied by the number that makes its mean activity on clothes that of a random layer
(``quiet``); with its weights dealt out anew among all connections, so that their distribution stays and every feature
is gone (``shuffled``). ``few`` holds, by labels a class and arm, the test accuracy after the last update, a list over
seeds; ``check`` is a short run on the course-size data that the tests repeat.
"""

import argparse
import sys

import article
import numpy as np

from helpers import evidence, transfer

COUNTS = (1, 10, 100)
ARMS = ("scratch", "hidden", "quiet", "shuffled")
CHECK_TOLERANCE = 0.06


def activity(weights, x):
    """Return the mean output of a ReLU layer."""
    return np.maximum(x @ weights[0] + weights[1], 0).mean()


def start(arm, source, x, seed):
    """Return the network with which an arm begins."""
    model = transfer.start("scratch" if arm == "scratch" else "hidden", source, seed)
    layer = model.get_layer("hidden")
    kernel, bias = source.get_layer("hidden").get_weights()
    if arm == "quiet":
        fresh = transfer.start("scratch", source, seed).get_layer("hidden").get_weights()
        factor = activity(fresh, x) / activity([kernel, bias], x)
        layer.set_weights([factor * kernel, factor * bias])
    elif arm == "shuffled":
        shuffled = np.random.default_rng(seed).permutation(kernel.ravel())
        layer.set_weights([shuffled.reshape(kernel.shape), bias])
    return model


def run_seed(seed, mnist, fashion, counts=COUNTS, epochs=article.EPOCHS):
    source, _ = article.pretrain(mnist, seed, epochs)
    unlabelled = fashion[0][:2000]  # the factor needs pictures, no labels
    return {
        "few": {
            str(n): {arm: article.train_on_few(start(arm, source, unlabelled, seed), fashion, n, seed) for arm in ARMS}
            for n in counts
        }
    }


def run_check():
    """Return the short run that the tests repeat: one seed, ten labels a class, the data that ship with the helpers."""
    mnist, fashion = article.load_pair("course")
    accuracy = run_seed(0, mnist, fashion, counts=(10,), epochs=2)["few"]["10"]
    return {"size": "course", "seed": 0, "tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="number of paired seeds (default: 20)")
    seeds = range(parser.parse_args().seeds)
    try:
        mnist, fashion = article.load_pair("full")
    except (OSError, ValueError) as error:
        sys.exit(f"loudness.py: {error}")
    depends_on = [sys.modules[__name__], article, transfer]
    runs = evidence.collect("loudness", lambda seed: run_seed(seed, mnist, fashion), seeds, depends_on)
    few = {str(n): {arm: [run["few"][str(n)][arm] for run in runs] for arm in ARMS} for n in COUNTS}
    print(evidence.store("loudness", "book/evidence/loudness.py", seeds, runs, few=few, check=run_check()))


if __name__ == "__main__":
    main()
