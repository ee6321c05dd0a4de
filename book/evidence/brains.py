"""Learning rules nearer to the brain, and what they carry over: chapter 13's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/brains.py

``feedback``: MNIST, a network 784-128-10 written out in NumPy, 5 epochs of 10,000 images: test accuracy by arm:
``backpropagation``; ``feedback alignment``, errors sent back through fixed random weights (Lillicrap et al., 2016);
``output only``, the hidden layer left as it was; and ``angle``, by epoch the angle in degrees between the error that feedback
alignment sends to the hidden layer and the one that backpropagation would send. ``features``: 100 features learned from
10,000 unlabelled digits, or none, and a linear probe on few labels of others: by kind and labels a class the test accuracy:
``pixels``, ``random`` (a frozen random ReLU layer of 100), ``oja`` (Sanger's form of Oja's rule: principal components),
``sparse`` (a dictionary with sparse codes, scikit-learn's); ``sequence``: five
tasks one after the other with one shared head: ``digits``, each two new digits, or ``pixels``, all ten digits with the
pixels in an order of their own; by kind and arm the matrix of accuracies, row: after task t, column: on task k: ``naive``;
``EWC`` (Kirkpatrick et al., 2017), its strength chosen on tuning seeds (``ewc_strength``); ``replay 10`` and ``replay
100``, that many images a digit kept and rehearsed; ``joint``, all tasks' images from the start. All are lists over seeds; ``check``: a short run that the tests repeat.
"""

import argparse
import functools
import sys

import numpy as np

from helpers import data, evidence, protocol

HIDDEN, EPOCHS, BATCH, RATE = 128, 5, 50, 0.1
COUNTS = (1, 3, 10, 30, 100)
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
FEATURES = ("pixels", "random", "oja", "sparse")
SEQUENCE_ARMS = ("naive", "EWC", "replay 10", "replay 100", "joint")
TASK_UPDATES, TASK_RATE, EWC_STRENGTHS = 300, 0.05, (10.0, 30.0, 100.0, 300.0)
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
CHECK_TOLERANCE = 0.06


@functools.cache
def digits():
    """Return 10,000 training and 2,000 test digits as rows with their labels."""
    found = data.load("mnist")
    return data.flatten(found.x_train), found.y_train, data.flatten(found.x_test), found.y_test


def first_weights(rng, sizes=(784, HIDDEN, 10)):
    """Return weights and biases of a network with one hidden layer, Glorot's uniform draw."""
    weights = []
    for inputs, units in zip(sizes, sizes[1:]):
        limit = np.sqrt(6 / (inputs + units))
        weights += [rng.uniform(-limit, limit, (inputs, units)), np.zeros(units)]
    return weights


def forward(weights, x):
    """Return the hidden activity and the class probabilities."""
    hidden = np.maximum(x @ weights[0] + weights[1], 0)
    scores = hidden @ weights[2] + weights[3]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, scores / scores.sum(axis=1, keepdims=True)


def gradients(weights, x, y, feedback=None):
    """Return the gradients of the cross-entropy; with ``feedback`` the error reaches the hidden layer through it."""
    hidden, probabilities = forward(weights, x)
    error = (probabilities - np.eye(10)[y]) / len(x)
    back = error @ (weights[2].T if feedback is None else feedback) * (hidden > 0)
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


def accuracy(weights, x, y):
    return float((forward(weights, x)[1].argmax(axis=1) == y).mean())


def angle(weights, x, y, feedback):
    """Return the angle in degrees between the two errors at the hidden layer, averaged over examples."""
    hidden, probabilities = forward(weights, x)
    error = probabilities - np.eye(10)[y]
    sent, true = (error @ w * (hidden > 0) for w in (feedback, weights[2].T))
    cosine = (sent * true).sum(axis=1) / np.maximum(np.linalg.norm(sent, axis=1) * np.linalg.norm(true, axis=1), 1e-12)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def train_feedback(arm, seed, epochs=EPOCHS):
    """Return the test accuracy by epoch, and for feedback alignment the angle by epoch."""
    x, y, x_test, y_test = digits()
    rng = np.random.default_rng(seed)
    weights, feedback = first_weights(rng), rng.uniform(-0.5, 0.5, (10, HIDDEN))
    scores, angles = [accuracy(weights, x_test, y_test)], [angle(weights, x_test[:500], y_test[:500], feedback)]
    for _ in range(epochs):
        for batch in rng.permutation(len(x)).reshape(-1, BATCH):
            parts = gradients(weights, x[batch], y[batch], feedback if arm == "feedback alignment" else None)
            for place, (w, g) in enumerate(zip(weights, parts)):
                if arm != "output only" or place >= 2:
                    w -= RATE * g
        scores.append(accuracy(weights, x_test, y_test))
        angles.append(angle(weights, x_test[:500], y_test[:500], feedback))
    return {"accuracy": scores, "angle": angles}


def oja_features(x, units, rng, rate=0.002, epochs=5):
    """Return units' weights (784, units) learned by Sanger's rule: each unit also subtracts what the ones before it explain."""
    w = rng.normal(0, 0.05, (x.shape[1], units))
    for _ in range(epochs):
        for batch in rng.permutation(len(x)).reshape(-1, 20):
            y = x[batch] @ w
            w += rate * (x[batch].T @ y - w @ np.triu(y.T @ y))
    return w


@functools.lru_cache(maxsize=2)
def feature_maps(seed):
    """Return by kind a function from images as rows to features, learned without labels on half of the digits."""
    from sklearn import decomposition

    rng = np.random.default_rng([10_000, seed])
    x = digits()[0][rng.permutation(10_000)[:5000]]
    mean = x.mean(axis=0)
    layer = first_weights(rng, (784, 100))
    oja = oja_features(x - mean, 100, rng)
    sparse = decomposition.MiniBatchDictionaryLearning(100, alpha=0.5, batch_size=50, max_iter=20, random_state=seed,
                                                       transform_algorithm="lasso_cd", transform_alpha=0.5).fit(x - mean)
    return {
        "pixels": lambda rows: rows,
        "random": lambda rows: np.maximum(rows @ layer[0], 0),
        "oja": lambda rows: (rows - mean) @ oja,
        "sparse": lambda rows: sparse.transform(rows - mean),
    }


def probe_features(seed, counts=COUNTS, kinds=FEATURES):
    """Return by kind and labels a class the test accuracy of a linear probe, its strength chosen on validation images."""
    from sklearn import linear_model

    x, y, x_test, y_test = digits()
    result = {}
    for kind in kinds:
        look = feature_maps(seed)[kind]
        z, z_test = look(x), look(x_test)
        # One factor for all features: scaling each to variance 1 would blow up principal components that are noise.
        centre, spread = z.mean(axis=0), z.std()
        z, z_test = (z - centre) / spread, (z_test - centre) / spread
        result[kind] = {}
        for count in counts:
            chosen, held_out = protocol.split_labels(y, count, 1000, seed)
            probes = [linear_model.LogisticRegression(C=c, max_iter=200, tol=1e-3).fit(z[chosen], y[chosen]) for c in STRENGTHS]
            best = max(probes, key=lambda probe: probe.score(z[held_out], y[held_out]))
            result[kind][str(count)] = float(best.score(z_test, y_test))
    return result


def task_data(kind, seed):
    """Return five tasks, each x, y, x_test, y_test: two new digits each ("digits") or a new order of pixels ("pixels")."""
    x, y, x_test, y_test = digits()
    rng = np.random.default_rng([seed, 11])
    tasks = []
    for number in range(5):
        if kind == "digits":
            here, there = (np.isin(labels, (2 * number, 2 * number + 1)) for labels in (y, y_test))
            tasks.append((x[here], y[here], x_test[there], y_test[there]))
        else:
            order = rng.permutation(784) if number else np.arange(784)
            tasks.append((x[:, order], y, x_test[:, order], y_test))
    return tasks


def learn_sequence(kind, arm, seed, strength=None, updates=TASK_UPDATES):
    """Return the matrix of accuracies: row, after which task; column, on which task."""
    tasks, rng = task_data(kind, seed), np.random.default_rng([seed, 13])
    weights, kept, matrix = first_weights(np.random.default_rng(seed)), [], []
    importance, anchor = [np.zeros_like(w) for w in weights], weights
    everything = [np.concatenate([task[part] for task in tasks]) for part in (0, 1)]
    for x, y, _, _ in tasks:
        for _ in range(updates):
            source = everything if arm == "joint" else (x, y)
            batch = rng.integers(0, len(source[0]), BATCH)
            parts = gradients(weights, source[0][batch], source[1][batch])
            if kept:
                old_x, old_y = kept[rng.integers(len(kept))]
                again = rng.integers(0, len(old_x), BATCH)
                parts = [(g + old) / 2 for g, old in zip(parts, gradients(weights, old_x[again], old_y[again]))]
            if arm == "EWC":
                parts = [g + f * (w - a) for g, f, w, a in zip(parts, importance, weights, anchor)]
            weights = [w - TASK_RATE * np.clip(g, -1, 1) for w, g in zip(weights, parts)]
        if arm == "EWC":
            importance = [f + strength * g for f, g in zip(importance, fisher(weights, x, y, rng))]
            anchor = [w.copy() for w in weights]
        if arm.startswith("replay"):
            chosen = data.few_per_class(y, int(arm.split()[1]), rng)
            kept.append((x[chosen], y[chosen]))
        matrix.append([accuracy(weights, task[2], task[3]) for task in tasks])
    return matrix


def fisher(weights, x, y, rng, count=300):
    """Return by weight the mean squared gradient of the log probability of labels drawn from the network's own answers."""
    chosen = rng.permutation(len(x))[:count]
    total = [np.zeros_like(w) for w in weights]
    probabilities = forward(weights, x[chosen])[1]
    for row, p in zip(chosen, probabilities):
        drawn = np.array([rng.choice(10, p=p)])
        total = [t + g**2 for t, g in zip(total, gradients(weights, x[row : row + 1], drawn))]
    return [t / count for t in total]


def tune_ewc(kind):
    """Return the strength with the best mean accuracy over all tasks at the end, on tuning seeds."""
    return protocol.choose_rate(lambda s, seed: np.mean(learn_sequence(kind, "EWC", seed, s)[-1]), EWC_STRENGTHS, TUNING_SEEDS)[0]


def run_check():
    """Return the short run that the tests repeat: three seeds, two epochs."""
    arms = ("feedback alignment", "output only")
    return {"tolerance": CHECK_TOLERANCE,
            "accuracy": {arm: [train_feedback(arm, seed, 1)["accuracy"][-1] for seed in range(3)] for arm in arms}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of paired seeds (default: 10)")
    seeds = range(parser.parse_args().seeds)
    depends_on = [sys.modules[__name__], protocol]
    strengths = evidence.collect("brains_rates", lambda kind: {"strength": tune_ewc(kind)}, ["digits", "pixels"], depends_on)
    strength = {kind: found["strength"] for kind, found in zip(("digits", "pixels"), strengths, strict=True)}

    def run_job(job):
        what, arm, seed = job
        if what == "feedback":
            return train_feedback(arm, seed)
        if what == "features":
            return {"value": probe_features(seed)}
        return {"value": learn_sequence(what, arm, seed, strength[what])}

    rules = ("backpropagation", "feedback alignment", "output only")
    jobs = [("feedback", rule, seed) for seed in seeds for rule in rules] + [("features", "", seed) for seed in seeds]
    jobs += [(kind, arm, seed) for kind in ("digits", "pixels") for seed in seeds for arm in SEQUENCE_ARMS]
    runs = evidence.collect("brains", run_job, jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))
    facts = {
        "feedback": {rule: [found["feedback", rule, s]["accuracy"] for s in seeds] for rule in rules},
        "angle": [found["feedback", "feedback alignment", s]["angle"] for s in seeds],
        "features": {kind: {str(n): [found["features", "", s]["value"][kind][str(n)] for s in seeds] for n in COUNTS} for kind in FEATURES},
        "ewc_strength": strength,
        "sequence": {kind: {arm: [found[kind, arm, s]["value"] for s in seeds] for arm in SEQUENCE_ARMS} for kind in ("digits", "pixels")},
        "check": run_check(),
    }
    print(evidence.store("brains", "book/evidence/brains.py", seeds, [*strengths, *runs], **facts))


if __name__ == "__main__":
    main()
