"""From how many labels on is pretraining not worth it any more? Three pairs of tasks: chapter 9's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/label_efficiency.py

``fonts``    drawn digits to MNIST: the same ten classes in another style
``scanner``  MNIST, cut and shrunk to 8 × 8, to scikit-learn's digits: the same classes from another scanner, few pixels
``clothes``  Fashion-MNIST to MNIST: other classes

The recipes were found in quick trials on the course's 12,000 images of MNIST. So the targets ``fonts`` and ``clothes`` here
use only images of the full MNIST that are *not* among these; scikit-learn's digits, of which there are 1,797, are split
anew by each seed (600 for the test). All arms make the same number of updates; the learning rate of each arm is chosen
on validation images at two numbers of labels (``TUNED_AT``), the nearer one is used. The result holds

``counts``: by case, labels a class; ``accuracy``: by case, arm and number of labels, test accuracies, lists over seeds;
``zero``: by case, accuracy of the pretrained network before any target label (same classes only); ``speed``: of the case
``fonts`` with ten labels, by arm, validation accuracy after ``speed_at`` updates, a list over seeds; ``rates``: the
rates kept; ``check``: a short run that the tests repeat.

Arms: ``scratch``; ``copied``, all weights copied, all trained; ``new head``, body copied, all trained; ``frozen``, body
copied and frozen, the head copied where classes are the same; ``random``, a frozen random body; ``clothes body`` (case
``scanner``), the body of a network that learned clothes, all trained.
"""

import functools
import sys

import arguments
import numpy as np

from helpers import data, evidence, fonts, networks, protocol, transfer

UPDATES, SOURCE_UPDATES, SOURCE_SIZE = 200, 600, 10_000
TEST_SIZE = 4000
RATES = (3e-4, 1e-3, 3e-3)
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
TUNED_AT = (3, 90)
SPEED_AT, SPEED_COUNT = (0, 10, 20, 40, 80, 120, 200), 10
BODY = ("conv1", "conv2", "dense")
COUNTS = {"fonts": (1, 3, 10, 30, 100, 300, 1000), "scanner": (1, 3, 10, 30, 90), "clothes": (1, 3, 10, 30, 100, 300, 1000)}
ARMS = {
    "fonts": ("scratch", "copied", "new head", "frozen", "random"),
    "scanner": ("scratch", "copied", "new head", "frozen", "random", "clothes body"),
    "clothes": ("scratch", "new head", "frozen", "random"),
}
CHECK_TOLERANCE = 0.08


def shrink(images):
    """Return 28 × 28 images cut to their inner 20 × 20, averaged down to 8 × 8 in steps of 2.5 pixels, float32 0 to 1."""
    from PIL import Image

    small = [np.asarray(Image.fromarray(image[4:24, 4:24]).resize((8, 8), Image.Resampling.BOX)) for image in images]
    return np.stack(small)[..., None].astype("float32") / 255


@functools.cache
def fresh_mnist():
    """Return images of the full MNIST that are not among the course's, and their labels: pool and test."""
    full, course, parts = data.load("mnist", "full"), data.load("mnist"), []
    for part in ("train", "test"):
        known = {image.tobytes() for image in getattr(course, f"x_{part}")}
        images, labels = getattr(full, f"x_{part}"), getattr(full, f"y_{part}")
        new = np.flatnonzero([image.tobytes() not in known for image in images])
        new = new if part == "train" else new[:TEST_SIZE]
        parts += [networks.as_images(images[new]), labels[new]]
    return parts


@functools.cache
def scanned_digits():
    """Return scikit-learn's 1,797 digits of 8 × 8 pixels, 0 to 1, and their labels."""
    from sklearn import datasets

    found = datasets.load_digits()
    return (found.images[..., None] / 16).astype("float32"), found.target


def target(case, seed):
    """Return x, y of the pool and of the test set."""
    if case != "scanner":
        return fresh_mnist()
    x, y = scanned_digits()
    order = np.random.default_rng([seed, 600]).permutation(len(x))
    return x[order[600:]], y[order[600:]], x[order[:600]], y[order[:600]]


def source_data(case, seed):
    """Return x and y to pretrain on."""
    if case == "fonts":
        images, labels = fonts.draw_digits(SOURCE_SIZE, transfer.SOURCE_STREAM + seed)
        return networks.as_images(images), labels
    found = data.load("mnist" if case == "scanner" else "fashion_mnist")
    if case in ("scanner", "clothes body"):
        return shrink(found.x_train), found.y_train
    return networks.as_images(found.x_train), found.y_train


@functools.cache
def bench(case):
    size = 8 if case == "scanner" else 28
    return networks.Bench(lambda seed: networks.build_cnn((size, size, 1), seed=seed))


@functools.lru_cache(maxsize=8)
def pretrained(case, source, seed):
    """Return the weights of a case's source network; ``source`` is the case or "clothes body"."""
    place, stream = bench(case), transfer.SOURCE_STREAM + seed
    model, _ = place.train(place.fresh(stream), *source_data(source, seed), SOURCE_UPDATES, 1e-3, stream, batch_size=64)
    return model.get_weights()


def start(case, arm, seed):
    """Return the weights with which an arm begins."""
    fresh = bench(case).fresh(seed)
    if arm in ("scratch", "random"):
        return fresh
    weights = pretrained(case, "clothes body" if arm == "clothes body" else case, seed)
    same_classes = case != "clothes"
    return weights if arm == "copied" or (arm == "frozen" and same_classes) else weights[:-2] + fresh[-2:]


def train(case, arm, count, rate, seed, updates=UPDATES, **measuring):
    """Train an arm; return the network, what was measured, and the validation and the test examples."""
    x, y, x_test, y_test = target(case, seed)
    chosen, held_out = protocol.split_labels(y, count, 200 if case == "scanner" else 1000, seed)
    frozen = BODY if arm in ("frozen", "random") else ()
    validation = x[held_out], y[held_out]
    if measuring:
        measuring["measure"] = lambda model: protocol.accuracy(model, *validation)
    model, record = bench(case).train(start(case, arm, seed), x[chosen], y[chosen], updates, rate, seed, frozen, **measuring)
    return model, record, validation, (x_test, y_test)


def tune(job):
    case, arm, count = job

    def validate(rate, seed):
        model, _, validation, _ = train(case, arm, count, rate, seed)
        return protocol.accuracy(model, *validation)

    return {"rate": protocol.choose_rate(validate, RATES, TUNING_SEEDS)[0]}


def nearest(count):
    """Return the number of labels at which the rate for ``count`` labels was tuned."""
    return min(TUNED_AT, key=lambda tuned: abs(np.log(tuned / count)))


def run_job(job, rates):
    kind, case, arm, count, seed = job
    if kind == "zero":
        model, _ = bench(case).train(pretrained(case, case, seed), *(part[:32] for part in target(case, seed)[:2]), 1, 0.0, seed)
        return {"accuracy": protocol.accuracy(model, *target(case, seed)[2:])}
    rate = rates[f"{case} {arm} {nearest(count)}"]
    if kind == "speed":
        return {"record": train(case, arm, count, rate, seed, at=SPEED_AT)[1]}
    model, _, _, test = train(case, arm, count, rate, seed)
    return {"accuracy": protocol.accuracy(model, *test)}


def run_check():
    """Return the short run that the tests repeat: the scanner with three labels a class, three seeds, 100 updates."""
    accuracy = {"copied": [], "scratch": []}
    for seed in range(3):
        for arm, scores in accuracy.items():
            model, _, _, test = train("scanner", arm, 3, 3e-3, seed, updates=100)
            scores.append(protocol.accuracy(model, *test))
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], fresh_mnist)
    depends_on = [sys.modules[__name__], networks, protocol, fonts]
    arms = [(case, arm, count) for case in COUNTS for arm in ARMS[case] for count in TUNED_AT]
    tuned = evidence.collect("label_efficiency_rates", tune, arms, depends_on)
    rates = {f"{case} {arm} {count}": found["rate"] for (case, arm, count), found in zip(arms, tuned, strict=True)}
    jobs = [("count", case, arm, count, seed) for seed in seeds for case in COUNTS for count in COUNTS[case] for arm in ARMS[case]]
    jobs += [("zero", case, "copied", 0, seed) for case in ("fonts", "scanner") for seed in seeds]
    jobs += [("speed", "fonts", arm, SPEED_COUNT, seed) for seed in seeds for arm in ("scratch", "copied", "new head", "frozen")]
    runs = evidence.collect("label_efficiency", lambda job: run_job(job, rates), jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))
    facts = {
        "updates": UPDATES, "counts": COUNTS, "rates": rates, "speed_at": SPEED_AT,
        "accuracy": {case: {arm: {str(n): [found["count", case, arm, n, s]["accuracy"] for s in seeds] for n in COUNTS[case]}
                            for arm in ARMS[case]} for case in COUNTS},
        "zero": {case: [found["zero", case, "copied", 0, s]["accuracy"] for s in seeds] for case in ("fonts", "scanner")},
        "speed": {arm: [found["speed", "fonts", arm, SPEED_COUNT, s]["record"] for s in seeds]
                  for arm in ("scratch", "copied", "new head", "frozen")},
        "check": run_check(),
    }
    print(evidence.store("label_efficiency", "book/evidence/label_efficiency.py", seeds, [*tuned, *runs], **facts))


if __name__ == "__main__":
    main()
