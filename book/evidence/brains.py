"""Learning rules nearer to the brain, and features without labels: chapter 13's evidence (the sequences: brains_sequence.py).

    python book/evidence/brains.py

The course-size digits; a network 784-128-10 written out in NumPy. 8,000 of the training images are used, 2,000 serve for
choosing rates and strengths, on tuning seeds.

``rules``: by rule the test accuracy after each epoch, a list over seeds: ``backpropagation``; ``feedback alignment``, errors
sent back through fixed random weights (Lillicrap et al., 2016); ``output only``, the hidden layer left as drawn. ``rates``:
what each chose. ``angle``: by epoch, under feedback alignment, the angle in degrees between the feedback weights and the
output layer's weights; ``blame``: the same between the errors that the two would send to the hidden layer.

``features``: by kind and labels a class the test accuracy of a linear probe, a list over seeds: ``pixels``; ``random``, a
random ReLU layer of 100; ``sanger``, Sanger's form of Oja's rule; ``pca``, exact principal components; ``sparse``, sparse
codes with a learned dictionary; ``patches``, 64 pieces of 7 by 7 pixels learned by sparse coding, applied everywhere and
summed over nine fields; ``random patches``, the same with random pieces; ``scratch``, not a probe but the network 784-128-10
trained on the few labels. ``strengths``: the probe's strength, or scratch's rate, by kind and labels a class.
``check``: short runs that the tests repeat.
"""

import functools
import sys

import arguments
import numpy as np

from helpers import data, evidence, protocol

HIDDEN, EPOCHS, BATCH = 128, 5, 50
RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
RULES = ("backpropagation", "feedback alignment", "output only")
COUNTS = (1, 3, 10, 30, 100)
STRENGTHS = (0.003, 0.03, 0.3, 3.0)
KINDS = ("pixels", "random", "sanger", "pca", "sparse", "patches", "random patches", "scratch")
FEW_UPDATES = 400
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
CHECK_TOLERANCE = 0.05


@functools.cache
def digits():
    """Return 8,000 images for training, 2,000 for choosing, 2,000 for the test, as rows, each with labels."""
    found = data.load("mnist")
    x, y = data.flatten(found.x_train), found.y_train
    order = np.random.default_rng(0).permutation(len(x))
    parts = [(x[order[:8000]], y[order[:8000]]), (x[order[8000:]], y[order[8000:]])]
    return [*parts, (data.flatten(found.x_test), found.y_test)]


def first_weights(rng, sizes=(784, HIDDEN, 10)):
    """Return weights and biases of a network with one hidden layer, Glorot's uniform draw."""
    weights = []
    for inputs, units in zip(sizes, sizes[1:]):
        limit = np.sqrt(6 / (inputs + units))
        weights += [rng.uniform(-limit, limit, (inputs, units)).astype("float32"), np.zeros(units, "float32")]
    return weights


def forward(weights, x, allowed=None):
    """Return the hidden activity and the class probabilities; ``allowed`` (bool, classes) bars the other classes."""
    hidden = np.maximum(x @ weights[0] + weights[1], 0)
    scores = hidden @ weights[2] + weights[3]
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, scores / scores.sum(axis=1, keepdims=True)


def gradients(weights, x, y, feedback=None, allowed=None):
    """Return the gradients of the cross-entropy; with ``feedback`` the error reaches the hidden layer through it."""
    hidden, probabilities = forward(weights, x, allowed)
    error = (probabilities - np.eye(10, dtype="float32")[y]) / len(x)
    back = error @ (weights[2].T if feedback is None else feedback) * (hidden > 0)
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


def accuracy(weights, x, y, allowed=None):
    return float((forward(weights, x, allowed)[1].argmax(axis=1) == y).mean())


def angle(one, other):
    """Return the angle in degrees between two arrays, row by row, averaged over rows."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosine = (one * other).sum(axis=1) / np.maximum(lengths, 1e-12)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def train_rule(rule, seed, rate, epochs=EPOCHS, judge=2):
    """Return by epoch the accuracy on the images ``judge`` (1: for choosing, 2: test) and the two angles."""
    x, y = digits()[0]
    rng = np.random.default_rng(seed)
    weights, feedback = first_weights(rng), rng.uniform(-0.5, 0.5, (10, HIDDEN)).astype("float32")
    record = {"accuracy": [], "angle": [], "blame": []}
    for epoch in range(epochs + 1):
        for batch in rng.permutation(len(x)).reshape(-1, BATCH) if epoch else ():
            steps = gradients(weights, x[batch], y[batch], feedback if rule == "feedback alignment" else None)
            first = 2 if rule == "output only" else 0
            for w, g in zip(weights[first:], steps[first:]):
                w -= np.float32(rate) * g
        x_judge, y_judge = digits()[judge]
        error = forward(weights, x_judge)[1] - np.eye(10)[y_judge]
        record["accuracy"].append(accuracy(weights, x_judge, y_judge))
        record["angle"].append(angle(feedback.reshape(1, -1), weights[2].T.reshape(1, -1)))
        record["blame"].append(angle(error @ feedback, error @ weights[2].T))
    return record


def sanger(x, units, rng, rate=0.003, epochs=8):
    """Return units' weights (inputs, units) by Sanger's rule: each also subtracts what the ones before it explain."""
    w = rng.normal(0, 0.05, (x.shape[1], units)).astype("float32")
    for _ in range(epochs):
        for batch in rng.permutation(len(x)).reshape(-1, 20):
            y = x[batch] @ w
            w += np.float32(rate / 20) * (x[batch].T @ y - w @ np.triu(y.T @ y))
    return w


def sparse_codes(x, pieces, price, steps=60):
    """Return codes (n, pieces) that minimise |x - z pieces|² / 2 + price · sum |z| by ISTA (Daubechies et al., 2004)."""
    overlap = pieces @ pieces.T
    size = 1 / np.linalg.eigvalsh(overlap)[-1]
    drive, z = x @ pieces.T, np.zeros((len(x), len(pieces)), x.dtype)
    for _ in range(steps):
        z = z + np.float32(size) * (drive - z @ overlap)
        z = np.sign(z) * np.maximum(np.abs(z) - np.float32(size * price), 0)
    return z


def learn_pieces(x, count, rng, price, updates=800, rate=1.0):
    """Return pieces (count, inputs) of length 1: code a batch sparsely, then change each piece by code × what is left over."""
    pieces = rng.normal(size=(count, x.shape[1])).astype("float32")
    pieces /= np.linalg.norm(pieces, axis=1, keepdims=True)
    for _ in range(updates):
        batch = x[rng.integers(0, len(x), 100)]
        z = sparse_codes(batch, pieces, price, steps=30)
        pieces += np.float32(rate / 100) * z.T @ (batch - z @ pieces)
        pieces /= np.linalg.norm(pieces, axis=1, keepdims=True)
    return pieces


def cut(images, side=7, step=2):
    """Return all patches of images, each with its own mean removed: (n, places, side²)."""
    windows = np.lib.stride_tricks.sliding_window_view(images.reshape(-1, 28, 28), (side, side), axis=(1, 2))
    patches = windows[:, ::step, ::step].reshape(len(images), -1, side * side)
    return patches - patches.mean(axis=2, keepdims=True)


def pool(images, pieces, threshold=0.1):
    """Return how strongly each piece answers in each of nine fields: (n, 9 × pieces)."""
    answers = []
    for part in np.array_split(images, max(1, len(images) // 500)):
        z = np.maximum(cut(part) @ pieces.T - np.float32(threshold), 0)
        side = int(np.sqrt(z.shape[1]))
        z = z.reshape(len(part), side, side, -1)
        thirds = np.array_split(np.arange(side), 3)
        fields = [z[:, rows][:, :, columns].sum(axis=(1, 2)) for rows in thirds for columns in thirds]
        answers.append(np.concatenate(fields, axis=1))
    return np.concatenate(answers)


@functools.lru_cache(maxsize=2)
def feature_maps(seed):
    """Return by kind a function from rows of pixels to features, learned without labels on the training images."""
    from sklearn import decomposition

    rng = np.random.default_rng([10_000, seed])
    x = digits()[0][0]
    mean = x.mean(axis=0)
    layer = first_weights(rng, (784, 100))[0]
    w = sanger(x - mean, 100, rng)
    pca = decomposition.PCA(100, random_state=seed).fit(x)
    pieces = learn_pieces(x - mean, 100, rng, price=0.5)
    some = cut(x[rng.permutation(len(x))[:1000]]).reshape(-1, 49)
    some = some[np.linalg.norm(some, axis=1) > 0.5]  # empty corners teach nothing
    small = learn_pieces(some, 64, rng, price=0.3)
    chance = rng.normal(size=(64, 49)).astype("float32")
    chance -= chance.mean(axis=1, keepdims=True)
    chance /= np.linalg.norm(chance, axis=1, keepdims=True)
    return {
        "pixels": lambda rows: rows,
        "random": lambda rows: np.maximum(rows @ layer, 0),
        "sanger": lambda rows: (rows - mean) @ w,
        "pca": pca.transform,
        "sparse": lambda rows: sparse_codes(rows - mean, pieces, 0.5),
        "patches": lambda rows: pool(rows, small),
        "random patches": lambda rows: pool(rows, chance),
    }


@functools.lru_cache(maxsize=2)
def looked(kind, seed):
    """Return the features of the three sets of images, divided by one number so that they are of size 1."""
    sets = [feature_maps(seed)[kind](x) for x, _ in digits()]
    # One factor for all: scaling each feature by itself would blow up components that are noise.
    centre, spread = sets[0].mean(axis=0), sets[0].std()
    return [(z - centre) / spread for z in sets]


def probe(kind, count, seed, strength, judge=2):
    """Return the accuracy on the images ``judge`` of a classifier that has seen ``count`` labels a class."""
    from sklearn import linear_model

    (_, y), *_ = digits()
    chosen, _ = protocol.split_labels(y, count, 0, seed)
    if kind == "scratch":
        return scratch(chosen, seed, strength, judge)
    z = looked(kind, seed)
    classifier = linear_model.LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(z[0][chosen], y[chosen])
    return float(classifier.score(z[judge], digits()[judge][1]))


def scratch(chosen, seed, rate, judge):
    """Return the accuracy of the whole network, trained by backpropagation on the chosen images alone."""
    x, y = digits()[0]
    weights = first_weights(np.random.default_rng(seed))
    for batch in protocol.example_order(len(chosen), FEW_UPDATES, 32, seed).reshape(-1, 32):
        rows = chosen[batch]
        weights = [w - np.float32(rate) * g for w, g in zip(weights, gradients(weights, x[rows], y[rows]))]
    return accuracy(weights, *digits()[judge])


def run_check():
    """Return the short runs that the tests repeat: three seeds, one epoch; and ten labels a class on one seed."""
    rules = {rule: [train_rule(rule, seed, 0.1, 1)["accuracy"][-1] for seed in range(3)] for rule in RULES[1:]}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": rules, "scratch": probe("scratch", 10, 0, 0.1)}


def tune(job):
    """Return the chosen rate of a rule, or the chosen strength of a kind of features at a number of labels."""
    if job[0] == "rule":
        def score(rate, seed):
            return train_rule(job[1], seed, rate, judge=1)["accuracy"][-1]
        return {"value": protocol.choose_rate(score, RATES, TUNING_SEEDS)[0]}
    _, kind, count = job
    rates = RATES if kind == "scratch" else STRENGTHS
    return {"value": protocol.choose_rate(lambda s, seed: probe(kind, count, seed, s, judge=1), rates, TUNING_SEEDS)[0]}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__])
    depends_on = [sys.modules[__name__], protocol]
    tunings = [("rule", rule) for rule in RULES] + [("probe", kind, n) for kind in KINDS for n in COUNTS]
    tuned = evidence.collect("brains_rates", tune, tunings, depends_on)
    chosen = {job: run["value"] for job, run in zip(tunings, tuned, strict=True)}

    def run(job):
        what, seed = job
        if what in RULES:
            return train_rule(what, seed, chosen["rule", what])
        return {"value": {kind: {str(n): probe(kind, n, seed, chosen["probe", kind, n]) for n in COUNTS} for kind in KINDS}}

    jobs = [(what, seed) for seed in seeds for what in (*RULES, "features")]
    runs = evidence.collect("brains", run, jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))
    facts = {
        "rules": {rule: [found[rule, s]["accuracy"] for s in seeds] for rule in RULES},
        "rates": {rule: chosen["rule", rule] for rule in RULES},
        "angle": [found["feedback alignment", s]["angle"] for s in seeds],
        "blame": [found["feedback alignment", s]["blame"] for s in seeds],
        "features": {kind: {str(n): [found["features", s]["value"][kind][str(n)] for s in seeds] for n in COUNTS} for kind in KINDS},
        "strengths": {kind: {str(n): chosen["probe", kind, n] for n in COUNTS} for kind in KINDS},
        "check": run_check(),
    }
    print(evidence.store("brains", "book/evidence/brains.py", seeds, [*tuned, *runs], **facts))


if __name__ == "__main__":
    main()
