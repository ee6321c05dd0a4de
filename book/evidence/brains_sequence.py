"""One task after the other, and what keeps the earlier ones: chapter 13's second evidence.

    python book/evidence/brains_sequence.py

Five tasks in a row for a network 196-128-10 (digits shrunk to 14 by 14 pixels), 200 updates of 50 images each. Three kinds:
``told``, each task two new digits (which, differs by seed), and the network is told which two it has to choose between; ``classes``, the same tasks,
but it must always choose among all ten; ``pixels``, all ten digits, the pixels in an order of their own in each task.

``matrix``: by kind and way, the mean over seeds of the matrix of test accuracies: row, after which task; column, on which
task. ``final``: its last row, and ``fresh``: the mean of its diagonal (each task just after it was learned), lists over seeds.
Ways: ``naive``; ``EWC`` (Kirkpatrick et al., 2017), the tasks' springs added up and tied to the newest weights (Schwarz et
al., 2018); ``replay N``, N images of each class kept, half of every batch taken from them; ``sketch``, replay of images drawn
from a Gaussian kept of each class (mean and twenty principal components), none stored; ``joint``, every task's images from the
start. Every way chose its rate (``rates``), EWC also its strength (``strengths``), on tuning seeds and images of their own.
``check``: a short run that the tests repeat.
"""

import functools
import sys

import arguments
import brains
import numpy as np

from helpers import data, evidence, protocol

KINDS = ("told", "classes", "pixels")
SIZES = (1, 3, 10, 30, 100)
WAYS = ("naive", "EWC", *(f"replay {n}" for n in SIZES), "sketch", "joint")
UPDATES, BATCH, TASKS, COMPONENTS = 200, 50, 5, 20
RATES, STRENGTHS = (0.03, 0.1, 0.3, 1.0), (10.0, 100.0, 1000.0, 10_000.0)
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
CHECK_TOLERANCE = 0.06


@functools.cache
def small_digits():
    """Return the three sets of brains.digits, each image shrunk to 14 × 14 by averaging."""
    return [(x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196), y) for x, y in brains.digits()]


def task_data(kind, seed):
    """Return five tasks: three sets of x, y (training, choosing, test) and which classes are allowed as an answer."""
    rng = np.random.default_rng([seed, 11])
    labels, tasks = rng.permutation(10), []
    for number in range(TASKS):
        if kind == "pixels":
            order, allowed = rng.permutation(196) if number else np.arange(196), None
            sets = [(x[:, order], y) for x, y in small_digits()]
        else:
            pair = labels[2 * number : 2 * number + 2]
            sets = [(x[np.isin(y, pair)], y[np.isin(y, pair)]) for x, y in small_digits()]
            allowed = np.isin(np.arange(10), pair) if kind == "told" else None
        tasks.append((sets, allowed))
    return tasks


def fisher(weights, x, allowed=None):
    """Return, weight by weight, the diagonal of the Fisher information over images x: no labels, no drawing.

    The gradient's square of one image's weight is the product of two squares, so that one product of matrices gives the sum.
    """
    hidden, probabilities = brains.forward(weights, x, allowed)
    total = [np.zeros_like(w) for w in weights]
    for label in range(10):
        error = probabilities - np.eye(10, dtype="float32")[label]
        back = error @ weights[2].T * (hidden > 0)
        share = probabilities[:, [label]] / len(x)
        parts = [(x**2).T @ (share * back**2), (share * back**2).sum(axis=0)]
        parts += [(hidden**2).T @ (share * error**2), (share * error**2).sum(axis=0)]
        total = [t + p for t, p in zip(total, parts)]
    return total


def keep(way, x, y, rng):
    """Return what a way of replay keeps of a task: a function that gives n images and labels."""
    classes = np.unique(y)
    if way != "sketch":
        kept = data.few_per_class(y, int(way.split()[1]), rng)

        def draw(n):
            chosen = kept[rng.integers(0, len(kept), n)]
            return x[chosen], y[chosen]
        return draw
    sketches = []
    for label in classes:
        mean = x[y == label].mean(axis=0)
        _, spread, directions = np.linalg.svd(x[y == label] - mean, full_matrices=False)
        spread = spread[:COMPONENTS, None] / np.sqrt((y == label).sum()) * directions[:COMPONENTS]
        sketches.append((mean, spread.astype("float32")))

    def draw(n):
        places = rng.integers(0, len(classes), n)
        waves = rng.normal(size=(n, COMPONENTS)).astype("float32")
        drawn = [sketches[p][0] + wave @ sketches[p][1] for p, wave in zip(places, waves)]
        return np.clip(np.array(drawn), 0, 1), classes[places]
    return draw


def train_task(weights, batches, rate, springs=None):
    """Return the weights after one step a batch; ``springs`` (strengths, rest) pull each weight back, without overshooting."""
    for parts in batches:
        steps = [brains.gradients(weights, x, y, allowed=allowed) for x, y, allowed in parts]
        step = [sum(gradient) / len(steps) for gradient in zip(*steps)]
        weights = [w - np.float32(rate) * g for w, g in zip(weights, step)]
        if springs is not None:
            weights = [(w + rate * f * a) / (1 + rate * f) for w, f, a in zip(weights, *springs)]
    return weights


def batches(tasks, number, memories, rng, updates):
    """Yield for each update the images to learn from: the task's, and half of them from what is kept of earlier tasks."""
    (x, y), allowed = tasks[number][0][0], tasks[number][1]
    half = BATCH // 2 if memories else BATCH
    for _ in range(updates):
        rows = rng.integers(0, len(x), half)
        parts = [(x[rows], y[rows], allowed)]
        if memories:
            draw, old = memories[rng.integers(len(memories))]
            parts.append((*draw(BATCH - half), old))
        yield parts


def learn_sequence(kind, way, seed, rate, strength=None, judge=2, updates=UPDATES):
    """Return the matrix of accuracies: row, after which task; column, on which task."""
    tasks, rng = task_data(kind, seed), np.random.default_rng([seed, 13])
    weights = brains.first_weights(np.random.default_rng(seed), (196, brains.HIDDEN, 10))
    memories, matrix, springs = [], [], None
    for number, (sets, allowed) in enumerate(tasks):
        x, y = sets[0]
        if way == "joint":  # every task's turn comes at random, all along
            turns = [next(batches(tasks, t, [], rng, 1)) for t in rng.integers(0, TASKS, updates)]
        else:
            turns = batches(tasks, number, memories, rng, updates)
        weights = train_task(weights, turns, rate, springs)
        if way == "EWC":
            found = [np.float32(strength) * f for f in fisher(weights, x[:500], allowed)]
            springs = (found if springs is None else [a + b for a, b in zip(springs[0], found)], weights)
        elif way not in ("naive", "joint"):
            memories.append((keep(way, x, y, rng), allowed))
        matrix.append([brains.accuracy(weights, *task[judge], a) for task, a in tasks])
    return matrix


def tune(job):
    """Return the rate, and for EWC the strength, with the best mean accuracy over all tasks at the end."""
    kind, way = job
    best = []
    for strength in STRENGTHS if way == "EWC" else (None,):
        def score(rate, seed, strength=strength):
            return np.mean(learn_sequence(kind, way, seed, rate, strength, judge=1)[-1])
        rate, scores = protocol.choose_rate(score, RATES, TUNING_SEEDS)
        best.append((scores[rate], rate, strength))
    _, rate, strength = max(best, key=lambda found: found[0])
    return {"rate": rate, "strength": strength}


def run_check():
    """Return the short run that the tests repeat: three seeds, half the updates, new classes with and without replay."""
    ends = {
        way: [float(np.mean(learn_sequence("classes", way, seed, 0.1, updates=UPDATES // 2)[-1])) for seed in range(3)]
        for way in ("replay 10", "naive")
    }
    return {"tolerance": CHECK_TOLERANCE, "accuracy": ends}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__])
    depends_on = [sys.modules[__name__], brains, protocol]
    pairs = [(kind, way) for kind in KINDS for way in WAYS]
    tuned = evidence.collect("brains_sequence_rates", tune, pairs, depends_on)
    chosen = dict(zip(pairs, tuned, strict=True))

    def run(job):
        kind, way, seed = job
        found = chosen[kind, way]
        return {"matrix": learn_sequence(kind, way, seed, found["rate"], found["strength"])}

    jobs = [(*pair, seed) for seed in seeds for pair in pairs]
    runs = evidence.collect("brains_sequence", run, jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))
    facts = {
        "matrix": {k: {w: np.mean([found[k, w, s]["matrix"] for s in seeds], axis=0).tolist() for w in WAYS} for k in KINDS},
        "final": {k: {w: [found[k, w, s]["matrix"][-1] for s in seeds] for w in WAYS} for k in KINDS},
        "fresh": {k: {w: [float(np.trace(found[k, w, s]["matrix"])) / TASKS for s in seeds] for w in WAYS} for k in KINDS},
        "rates": {kind: {way: chosen[kind, way]["rate"] for way in WAYS} for kind in KINDS},
        "strengths": {kind: chosen[kind, "EWC"]["strength"] for kind in KINDS},
        "check": run_check(),
    }
    print(evidence.store("brains_sequence", "book/evidence/brains_sequence.py", seeds, [*tuned, *runs], **facts))


if __name__ == "__main__":
    main()
