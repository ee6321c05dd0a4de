"""Seven optimizers on scikit-learn's digits with the same budget of tuning: chapter 5's evidence.

    python book/evidence/optimizers.py

A network 64-64-10 (ReLU, softmax, cross-entropy) in NumPy, 20 epochs of batches of 32. Every optimizer gets the same 13
learning rates, two a decade from 1e-5 to 10; momentum is 0.9, all else is as Keras has it. Of the 1,797 images 497 are the
test set, the same for every seed. The other 1,300 are dealt out anew for each seed: 1,000 to learn from and 300 on which
the rate is chosen. Within a seed all runs start from the same weights and see the same batches. The test images are asked
once for each seed and optimizer: by the network that the validation images have chosen. Two arms more show what an
untuned comparison would say: SGD at Keras' default rate, 0.01, and Adam at its default, 0.001.

Seeds 0 to 29 were the study. Seeds 30 to 59 were run afterwards, with nothing changed, to confirm what it had found.

``validation``: by optimizer, seeds × rates, the accuracy after the last epoch; ``first_epoch``: by optimizer and rate, the
mean over the seeds after the first; ``chosen``: by optimizer, the index of the chosen rate, a list over seeds; ``early`` and
``test``: by optimizer, the chosen network's validation accuracy after its first epoch and its test accuracy after the last,
lists over seeds; ``default``: the test accuracy of the untuned arms; ``check``: a short run that the tests repeat.
"""

import functools
import sys

import arguments
import numpy as np

from helpers import evidence, optimizers

RATES = np.logspace(-5, 1, 13)
EPOCHS, BATCH = 20, 32
DECAY = 0.004  # AdamW's, as Keras counts it: a share of the learning rate
STEPS = {
    "SGD": optimizers.sgd,
    "momentum": optimizers.momentum,
    "Nesterov": optimizers.nesterov,
    "AdaGrad": functools.partial(optimizers.adagrad, initial=0.1),
    "RMSprop": optimizers.rmsprop,
    "Adam": functools.partial(optimizers.adam, epsilon=1e-7),
    "AdamW": lambda theta, gradient, memory, learning_rate: optimizers.adamw(
        theta, gradient, memory, learning_rate, DECAY * learning_rate, epsilon=1e-7
    ),
}
DEFAULTS = {"SGD": 0.01, "Adam": 0.001}
CHECK_TOLERANCE = 0.02


def split(seed):
    """Return the images and labels of training, validation and test set; only the first two depend on the seed."""
    from sklearn import datasets

    x, y = datasets.load_digits(return_X_y=True)
    fixed = np.random.default_rng(2024).permutation(len(x))
    rest = np.random.default_rng(seed).permutation(fixed[497:])
    return [(x[rows] / 16, y[rows]) for rows in (rest[:1000], rest[1000:], fixed[:497])]


def unpack(theta):
    """Return the layers that rows of 4,810 numbers hold: a kernel and a bias, twice, for every row."""
    w1, b1, w2, b2 = np.split(theta, (4096, 4160, 4800), axis=1)
    return w1.reshape(-1, 64, 64), b1[:, None], w2.reshape(-1, 64, 10), b2[:, None]


def start(seed, count):
    """Return the same random weights in every row: He's for the hidden layer, Glorot's for the head, biases zero."""
    rng = np.random.default_rng([seed, 1])
    hidden = rng.normal(0, np.sqrt(2 / 64), 4096)
    head = rng.normal(0, np.sqrt(2 / 74), 640)
    return np.tile(np.concatenate([hidden, np.zeros(64), head, np.zeros(10)]), (count, 1))


def gradient(theta, x, y):
    """Return the gradient of the mean cross-entropy for every row of weights."""
    w1, b1, w2, b2 = unpack(theta)
    hidden = np.maximum(x @ w1 + b1, 0)
    scores = hidden @ w2 + b2
    wrong = np.exp(scores - scores.max(axis=2, keepdims=True))
    wrong /= wrong.sum(axis=2, keepdims=True)
    wrong[:, np.arange(len(y)), y] -= 1
    wrong /= len(y)
    back = wrong @ w2.transpose(0, 2, 1) * (hidden > 0)
    parts = (x.T @ back, back.sum(axis=1), hidden.transpose(0, 2, 1) @ wrong, wrong.sum(axis=1))
    return np.concatenate([part.reshape(len(theta), -1) for part in parts], axis=1)


def accuracy(theta, x, y):
    """Return the share of images read correctly for every row of weights; a row that has exploded gets none."""
    w1, b1, w2, b2 = unpack(theta)
    scores = np.maximum(x @ w1 + b1, 0) @ w2 + b2
    return (scores.argmax(axis=2) == y).mean(axis=1) * np.isfinite(scores).all(axis=(1, 2))


def train(step, rates, seed, train_set, epochs=EPOCHS):
    """Yield the weights after each epoch, one row a learning rate."""
    x, y = train_set
    rng = np.random.default_rng([seed, 2])
    theta, memory, rates = start(seed, len(rates)), {}, np.reshape(rates, (-1, 1))
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(x)), -(-len(x) // BATCH)):
            with np.errstate(all="ignore"):  # large rates explode: that is a result
                theta = step(theta, lambda point: gradient(point, x[rows], y[rows]), memory, rates)
        yield theta


def run_seed(seed):
    """Return everything that one seed gives."""
    train_set, validation, test = split(seed)
    result = {"validation": {}, "first_epoch": {}, "chosen": {}, "early": {}, "test": {}, "default": {}}
    with np.errstate(all="ignore"):
        for name, step in STEPS.items():
            for epoch, theta in enumerate(train(step, RATES, seed, train_set), 1):
                if epoch == 1:
                    result["first_epoch"][name] = accuracy(theta, *validation).tolist()
            scores = accuracy(theta, *validation)
            best = int(scores.argmax())  # of equals the smallest rate
            result["validation"][name], result["chosen"][name] = scores.tolist(), best
            result["early"][name] = result["first_epoch"][name][best]
            result["test"][name] = float(accuracy(theta[best : best + 1], *test)[0])
        for name, rate in DEFAULTS.items():
            *_, theta = train(STEPS[name], [rate], seed, train_set)
            result["default"][name] = float(accuracy(theta, *test)[0])
    return result


def run_check():
    """Return the short run that the tests repeat: one seed, three epochs, one rate for each optimizer."""
    train_set, validation, _ = split(0)
    found = {}
    for name, rate in (("SGD", 0.1), ("momentum", 0.03), ("Nesterov", 0.03), ("AdaGrad", 0.03), ("Adam", 0.003), ("AdamW", 0.003)):
        *_, theta = train(STEPS[name], [rate], 0, train_set, epochs=3)
        found[name] = float(accuracy(theta, *validation)[0])
    return {"seed": 0, "epochs": 3, "tolerance": CHECK_TOLERANCE, "accuracy": found}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], default=60)
    runs = evidence.collect("optimizers", run_seed, seeds, [sys.modules[__name__], optimizers])
    parts = ("validation", "first_epoch", "chosen", "early", "test", "default")
    gathered = {part: {name: [run[part][name] for run in runs] for name in runs[0][part]} for part in parts}
    gathered["first_epoch"] = {name: np.mean(table, axis=0).tolist() for name, table in gathered["first_epoch"].items()}
    facts = {"rates": RATES.tolist(), "epochs": EPOCHS, "batch": BATCH, "check": run_check()}
    print(evidence.store("optimizers", "book/evidence/optimizers.py", seeds, runs, **facts, **gathered))


if __name__ == "__main__":
    main()
