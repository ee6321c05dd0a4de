"""More data, more weights: how the loss falls, and what more pretraining is worth afterwards. Chapter 14's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/scaling.py

The small convolutional network learns to read drawn digits from ``SIZES`` pictures, 600 updates of 64; the weights with the
best loss on validation pictures are kept (looked at every 100 updates). ``loss``: by number of pictures, the loss on 3,000
other drawn digits; ``target``: by number of pictures and labels a class of MNIST, the accuracy after 200 updates of
fine-tuning (``0`` pictures: from scratch); ``width``: by width of the network, trained on 8,000 pictures, its ``weights`` and
its ``loss``. Lists over seeds. ``check``: a short run that the tests repeat. All runs have Adam's rate 1e-3.
"""

import functools
import sys

import arguments
import numpy as np

from helpers import data, evidence, fonts, networks, protocol, transfer

SIZES = (250, 500, 1000, 2000, 4000, 8000, 16_000)
WIDTHS = (0.25, 0.5, 1.0, 2.0)
WIDTH_SIZE, UPDATES, TUNE_UPDATES, RATE = 8000, 600, 200, 1e-3
COUNTS = (3, 30)
CHECK_TOLERANCE = 0.08


@functools.cache
def drawn(count, seed):
    images, labels = fonts.draw_digits(count, seed)
    return networks.as_images(images), labels


@functools.cache
def mnist(size="full"):
    found = data.load("mnist", size)
    return networks.as_images(found.x_train), found.y_train, networks.as_images(found.x_test[:3000]), found.y_test[:3000]


@functools.cache
def bench(width=1.0):
    filters, units = (int(16 * width), int(32 * width)), int(64 * width)
    return networks.Bench(lambda seed: networks.build_cnn(filters=filters, units=units, seed=seed))


def loss(model, x, y):
    """Return the cross-entropy."""
    p = model.predict(x, batch_size=1000, verbose=0)[np.arange(len(y)), y]
    return float(-np.log(np.maximum(p, 1e-12)).mean())


def pretrain(count, seed, width=1.0, updates=UPDATES):
    """Return the weights with the best validation loss, and their loss on other drawn digits."""
    stream = transfer.SOURCE_STREAM + seed
    x, y = drawn(count, stream)
    validation, test = drawn(1000, 2 * transfer.SOURCE_STREAM), drawn(3000, 3 * transfer.SOURCE_STREAM)
    best = {"loss": np.inf}

    def look(model):
        now = loss(model, *validation)
        if now < best["loss"]:
            best.update(loss=now, weights=model.get_weights())

    model, _ = bench(width).train(bench(width).fresh(stream), x, y, updates, RATE, stream, batch_size=64, measure=look,
                                  at=range(100, updates + 1, 100))
    model.set_weights(best["weights"])
    return best["weights"], loss(model, *test)


def fine_tune(weights, count, seed, size="full"):
    """Return the accuracy on MNIST after fine-tuning all weights under a copied head."""
    x, y, x_test, y_test = mnist(size)
    chosen, _ = protocol.split_labels(y, count, 0, seed)
    model, _ = bench().train(weights, x[chosen], y[chosen], TUNE_UPDATES, RATE, seed)
    return protocol.accuracy(model, x_test, y_test)


def run_job(job):
    kind, number, seed = job
    if kind == "width":
        weights, value = pretrain(WIDTH_SIZE, seed, number)
        return {"loss": value, "weights": int(sum(w.size for w in weights))}
    weights, value = pretrain(number, seed) if number else (bench().fresh(seed), None)
    return {"loss": value, "target": {str(n): fine_tune(weights, n, seed) for n in COUNTS}}


def run_check():
    """Return the short run that the tests repeat: much and little pretraining, three seeds, course data."""
    accuracy = {str(n): [fine_tune(pretrain(n, seed, updates=200)[0], 3, seed, "course") for seed in range(3)] for n in (4000, 125)}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], mnist)
    jobs = [("size", count, seed) for seed in seeds for count in (0, *SIZES)]
    jobs += [("width", width, seed) for seed in seeds for width in WIDTHS]
    runs = evidence.collect("scaling", run_job, jobs, [sys.modules[__name__], networks, protocol, fonts])
    found = dict(zip(jobs, runs, strict=True))
    facts = {
        "loss": {str(n): [found["size", n, s]["loss"] for s in seeds] for n in SIZES},
        "target": {str(c): {str(n): [found["size", n, s]["target"][str(c)] for s in seeds] for n in (0, *SIZES)} for c in COUNTS},
        "width": {str(w): {"weights": found["width", w, seeds[0]]["weights"], "loss": [found["width", w, s]["loss"] for s in seeds]}
                  for w in WIDTHS},
        "check": run_check(),
    }
    print(evidence.store("scaling", "book/evidence/scaling.py", seeds, runs, **facts))


if __name__ == "__main__":
    main()
