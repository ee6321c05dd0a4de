"""Altered copies of few labelled images, sensible and wrong ones: evidence of chapters 10 and 11.

    COURSE_DATA_DIR=FOLDER python book/evidence/augmentation.py

The small convolutional network learns 5 or 50 labels a class for 300 updates; each image of each batch is altered
anew. ``accuracy``: by data set, arm (see ``ARMS``) and labels a class, test accuracies, lists over seeds; ``rates``: the
learning rate of each arm, chosen on validation images with 20 labels a class; ``check``: a short run that the tests repeat.
"""

import functools
import sys

import arguments
import numpy as np

from helpers import data, evidence, networks, protocol

UPDATES, BATCH = 300, 32
SETS = ("mnist", "fashion_mnist")
COUNTS = (5, 50)
RATES = (3e-4, 1e-3, 3e-3)
TUNED_AT = 20
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
ARMS = ("none", "shift", "shift, turn, zoom", "mirror", "half turn")
CHECK_TOLERANCE = 0.06


def alter(images, arm, rng):
    """Return altered copies of images, float32 of shape (n, 28, 28, 1); what comes in from outside is background.

    ``shift``: up to 2 pixels; ``turn``: up to 10 degrees; ``zoom``: up to a tenth; ``mirror`` and ``half turn``: with
    probability one half.
    """
    if arm == "none":
        return images
    chosen = rng.random(len(images)) < 0.5
    if arm == "mirror":
        return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)
    if arm == "half turn":
        return np.where(chosen[:, None, None, None], images[:, ::-1, ::-1], images)
    from scipy import ndimage

    altered = np.empty_like(images)
    for place, image in enumerate(images[..., 0]):
        angle, zoom = (np.deg2rad(rng.uniform(-10, 10)), rng.uniform(0.9, 1.1)) if "turn" in arm else (0.0, 1.0)
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
        offset = 13.5 - matrix @ (13.5 + rng.integers(-2, 3, 2))
        altered[place, ..., 0] = ndimage.affine_transform(image, matrix, offset, order=1)
    return altered


@functools.cache
def examples(name, size="full"):
    found = data.load(name, size)
    return networks.as_images(found.x_train), found.y_train, networks.as_images(found.x_test[:3000]), found.y_test[:3000]


@functools.cache
def bench():
    return networks.Bench(networks.build_cnn)


def train(name, arm, count, rate, seed, judge, size="full", updates=UPDATES):
    """Return the accuracy on what ``judge`` names: "validation" or "test" images."""
    x, y, x_test, y_test = examples(name, size)
    chosen, held_out = protocol.split_labels(y, count, 1000, seed)
    order = chosen[protocol.example_order(len(chosen), updates, BATCH, seed)]
    altered = alter(x[order], arm, np.random.default_rng([seed, 3]))
    model, _ = bench().train(bench().fresh(seed), altered[:BATCH], y[order[:BATCH]], 1, 0.0, seed)  # starts anew
    model.optimizer.learning_rate = rate
    model.fit(altered, y[order], batch_size=BATCH, shuffle=False, verbose=0)
    return protocol.accuracy(model, x[held_out], y[held_out]) if judge == "validation" else protocol.accuracy(model, x_test, y_test)


def run_check():
    """Return the short run that the tests repeat: five labels a class, three seeds, 100 updates, course data."""
    arms = ("shift, turn, zoom", "half turn")
    accuracy = {arm: [train("mnist", arm, 5, 3e-3, seed, "test", "course", 100) for seed in range(3)] for arm in arms}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], lambda: (examples("mnist"), examples("fashion_mnist")))
    depends_on = [sys.modules[__name__], networks, protocol]
    arms = [(name, arm) for name in SETS for arm in ARMS]

    def tune(job):
        name, arm = job
        return {"rate": protocol.choose_rate(lambda r, s: train(name, arm, TUNED_AT, r, s, "validation"), RATES, TUNING_SEEDS)[0]}

    tuned = evidence.collect("augmentation_rates", tune, arms, depends_on)
    rates = {f"{name} {arm}": found["rate"] for (name, arm), found in zip(arms, tuned, strict=True)}
    jobs = [(name, arm, count, seed) for seed in seeds for name, arm in arms for count in COUNTS]

    def run_job(job):
        name, arm, count, seed = job
        return {"accuracy": train(name, arm, count, rates[f"{name} {arm}"], seed, "test")}

    runs = evidence.collect("augmentation", run_job, jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))
    accuracy = {name: {arm: {str(n): [found[name, arm, n, s]["accuracy"] for s in seeds] for n in COUNTS} for arm in ARMS}
                for name in SETS}
    print(evidence.store("augmentation", "book/evidence/augmentation.py", seeds, [*tuned, *runs],
                         updates=UPDATES, rates=rates, accuracy=accuracy, check=run_check()))


if __name__ == "__main__":
    main()
