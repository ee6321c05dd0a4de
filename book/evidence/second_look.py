"""Two objections to what article.py finds, tested with few labels: is the new head new, and is the frozen layer too loud?

    COURSE_DATA_DIR=FOLDER python book/evidence/second_look.py

Same updates as in article.py; all arms learn clothes.

scratch        a fresh network
hidden         MNIST's hidden layer under a fresh head
first head     MNIST's hidden layer under the head with which the *source* began, before it had seen a digit. This is what
               one gets by giving source and arm the same random seed.
frozen         MNIST's hidden layer, frozen, under a fresh head
frozen quiet   the same, multiplied by the number that makes its mean activity on clothes that of a fresh layer
random         a fresh hidden layer, frozen

``few`` holds, by labels a class and arm, the test accuracy after the last update; ``loss`` the test loss before the first
update, ``activity`` the mean output of the hidden layer on clothes before training; all are lists over seeds. ``check`` is
a short run on the course-size data that the tests repeat.
"""

import sys

import arguments
import article
import numpy as np

from helpers import evidence, transfer

COUNTS = (1, 10)
ARMS = ("scratch", "hidden", "first head", "frozen", "frozen quiet", "random")
CHECK_TOLERANCE = 0.06


def activity(weights, x):
    """Return the mean output of a ReLU layer."""
    return np.maximum(x @ weights[0] + weights[1], 0).mean()


def start(arm, source, x, seed):
    """Return the network with which an arm begins; ``x`` are clothes without labels, to measure activity on."""
    if arm == "first head":
        model = transfer.start("hidden", source, seed)
        before = transfer.start("scratch", None, transfer.SOURCE_STREAM + seed)
        model.get_layer("head").set_weights(before.get_layer("head").get_weights())
    elif arm == "frozen quiet":
        fresh = transfer.start("random", source, seed).get_layer("hidden").get_weights()
        model = transfer.start("frozen", source, seed)
        layer = model.get_layer("hidden")
        factor = activity(fresh, x) / activity(layer.get_weights(), x)
        layer.set_weights([factor * w for w in layer.get_weights()])  # ReLU lets a factor through
    else:
        model = transfer.start(arm, source, seed)
    return model


def run_seed(seed, mnist, fashion, counts=COUNTS, arms=ARMS):
    """Return everything that one seed gives."""
    source, _ = transfer.pretrain(*mnist, article.EPOCHS, seed)
    clothes = fashion[0][:2000]
    result = {"few": {str(n): {} for n in counts}, "loss": {}, "activity": {}}
    for arm in arms:
        model = start(arm, source, clothes, seed)
        result["activity"][arm] = float(activity(model.get_layer("hidden").get_weights(), clothes))
        result["loss"][arm] = float(model.evaluate(*fashion[2:], batch_size=1000, verbose=0)[0])
        for n in counts:
            result["few"][str(n)][arm] = article.train_on_few(start(arm, source, clothes, seed), fashion, n, seed)
    return result


def run_check():
    """Return the short run that the tests repeat: three seeds, one label a class, the data that ship with the helpers."""
    mnist, fashion = article.load_pair("course")
    arms = ("random", "frozen")
    runs = [run_seed(seed, mnist, fashion, counts=(1,), arms=arms)["few"]["1"] for seed in range(3)]
    return {"size": "course", "tolerance": CHECK_TOLERANCE, "accuracy": {arm: [run[arm] for run in runs] for arm in arms}}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], lambda: article.load_pair("full"), default=20)
    mnist, fashion = article.load_pair("full")
    depends_on = [sys.modules[__name__], article, transfer]
    runs = evidence.collect("second_look", lambda seed: run_seed(seed, mnist, fashion), seeds, depends_on)
    facts = {
        "few": {str(n): {arm: [run["few"][str(n)][arm] for run in runs] for arm in ARMS} for n in COUNTS},
        "loss": {arm: [run["loss"][arm] for run in runs] for arm in ARMS},
        "activity": {arm: [run["activity"][arm] for run in runs] for arm in ARMS},
        "check": run_check(),
    }
    print(evidence.store("second_look", "book/evidence/second_look.py", seeds, runs, **facts))


if __name__ == "__main__":
    main()
