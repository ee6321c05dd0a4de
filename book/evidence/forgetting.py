"""What learning clothes does to digits, and what the remedies cost: chapter 10's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/forgetting.py

The article's network (784-128-10, dropout 0.2, Adam) has learned MNIST for five epochs and then makes as many updates on
Fashion-MNIST as five epochs have, batch 128, on the full data. ``old`` and ``new``: by arm, the accuracy on the test sets
of MNIST and of Fashion-MNIST after ``at`` updates, a list over seeds. The arms, see ``ARMS``: the article's recipe; a
smaller learning rate; an L2 penalty on the distance from the pretrained weights, of three strengths; a head of its own
for the new task (the old head is kept); the same, with a few or many old images rehearsed, 32 beside each batch; and the
two tasks learned jointly from scratch. ``check``: a short run that the tests repeat.
"""

import functools
import sys

import arguments
import numpy as np
import two_tasks

from helpers import data, evidence, protocol, transfer

BATCH, OLD_BATCH = 128, 32
UPDATES = 5 * 60_000 // BATCH
AT = (0, 25, 50, 100, 200, 400, 800, 1600, UPDATES)
ARMS = {
    "article": dict(head=0),
    "slow": dict(head=0, learning_rate=1e-4),
    "pull 0.001": dict(head=0, pull=0.001),
    "pull 0.01": dict(head=0, pull=0.01),
    "pull 0.1": dict(head=0, pull=0.1),
    "new head": dict(),
    "rehearse 600": dict(rehearse=600),
    "rehearse 12000": dict(rehearse=12_000),
    "joint": dict(rehearse=60_000, scratch=True),
}
CHECK_TOLERANCE = 0.1


@functools.cache
def pair(size="full"):
    """Return MNIST and Fashion-MNIST as flat rows: two tuples x, y, x_test, y_test."""
    found = [data.load(name, size) for name in ("mnist", "fashion_mnist")]
    return [(data.flatten(d.x_train), d.y_train, data.flatten(d.x_test), d.y_test) for d in found]


@functools.cache
def network():
    """Return the article's network with a second head."""
    import keras

    body = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128, activation="relu"), keras.layers.Dropout(0.2)])
    return two_tasks.TwoTasks(body, (10, 10))


@functools.cache
def fresh(seed):
    """Return fresh weights as Keras draws them: body, old head, new head."""
    import keras

    keras.utils.set_random_seed(seed)
    draw = keras.initializers.GlorotUniform(seed=seed)
    shapes = [v.shape for v in network().variables]
    return [np.asarray(draw(s)) if len(s) == 2 else np.zeros(s, "float32") for s in shapes]


@functools.lru_cache(maxsize=2)
def pretrained(seed, size="full", updates=UPDATES):
    """Return weights that have learned MNIST with the old head; the new head is fresh, from other random numbers."""
    stream = transfer.SOURCE_STREAM + seed
    network().restart(fresh(stream), 1e-3, stream)
    network().train(pair(size)[0][:2], updates=updates, batch_size=BATCH, seed=stream, head=0)
    return network().get_weights()[:4] + fresh(seed)[4:]


def run_arm(arm, seed, size="full", updates=UPDATES, at=AT):
    """Return the accuracies on both tasks along an arm's training."""
    mnist, fashion = pair(size)
    settings = dict(ARMS[arm])
    rate, rehearse = settings.pop("learning_rate", 1e-3), settings.pop("rehearse", 0)
    weights = fresh(seed) if settings.pop("scratch", False) else pretrained(seed, size, updates)
    network().restart(weights, rate, seed)
    old = None
    if rehearse:
        kept = np.random.default_rng([seed, 7]).permutation(len(mnist[0]))[:rehearse]
        old = mnist[0][kept], mnist[1][kept]
        settings |= dict(old_weight=1.0, old_batch=OLD_BATCH if rehearse < len(mnist[0]) else BATCH)
    head = settings.get("head", 1)

    def measure(both):
        return both.accuracy(0, *mnist[2:]), both.accuracy(head, *fashion[2:])

    record = network().train(fashion[:2], old, updates=updates, batch_size=BATCH, seed=seed, measure=measure, at=at, **settings)
    return {"old": [r[0] for r in record], "new": [r[1] for r in record]}


def run_check():
    """Return the short run that the tests repeat: three seeds, 150 updates, course data; accuracy on the old task."""
    accuracy = {"rehearse 600": [], "article": []}
    for seed in range(3):
        for arm, scores in accuracy.items():
            scores.append(run_arm(arm, seed, "course", 150, (150,))["old"][-1])
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], pair)
    jobs = [(arm, seed) for seed in seeds for arm in ARMS]
    depends_on = [sys.modules[__name__], two_tasks, protocol]
    runs = evidence.collect("forgetting", lambda job: run_arm(*job), jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))
    facts = {"at": AT, "check": run_check()}
    facts |= {task: {arm: [found[arm, seed][task] for seed in seeds] for arm in ARMS} for task in ("old", "new")}
    print(evidence.store("forgetting", "book/evidence/forgetting.py", seeds, runs, **facts))


if __name__ == "__main__":
    main()
