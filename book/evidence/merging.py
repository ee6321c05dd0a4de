"""Adding, subtracting and averaging the weights of fine-tuned networks: chapter 14's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/merging.py

The small convolutional network has learned drawn digits and is fine-tuned for 300 updates, all weights, 50 labels a class.
``path``: accuracy on MNIST along the straight line between the weights of two networks, at ``shares``: ``same start``, both
fine-tuned from the same pretrained network, with other labels and another order; ``other start``, from two networks
pretrained apart; ``scratch``, both from fresh weights of their own. ``soup``: accuracy on MNIST of five networks that were
fine-tuned from one start: ``single``, their mean accuracy; ``averaged``, the mean of their weights (Wortsman et al., 2022);
``ensemble``, the mean of their answers; ``scratch averaged``: the same for five networks from five fresh starts.
``arithmetic``: task vectors (Ilharco et al., 2023), fine-tuned minus pretrained weights, on two tasks, ``plain`` MNIST and
``inverted`` MNIST: the accuracy on both of the pretrained network (``base``), of each fine-tuned one (``plain``,
``inverted``), of the base plus the sum of both vectors times ``factors`` (``sum``), of the base minus the inverted vector
(``minus inverted``), and of a network fine-tuned on both (``both``). Lists over seeds. ``check``: a short run that the tests
repeat. All runs have Adam's rate 1e-3.
"""

import functools
import sys

import arguments
import numpy as np

from helpers import data, evidence, fonts, networks, protocol, transfer

UPDATES, SOURCE_UPDATES, COUNT, SOUP, RATE = 300, 600, 50, 5, 1e-3
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
FACTORS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
CHECK_TOLERANCE = 0.08


@functools.cache
def mnist(size="full"):
    """Return by task x, y of the pool and of the test set."""
    found = data.load("mnist", size)
    x, x_test = networks.as_images(found.x_train), networks.as_images(found.x_test[:3000])
    y, y_test = found.y_train, found.y_test[:3000]
    return {"plain": (x, y, x_test, y_test), "inverted": (1 - x, y, 1 - x_test, y_test)}


@functools.cache
def bench():
    return networks.Bench(networks.build_cnn)


@functools.lru_cache(maxsize=4)
def pretrained(stream, updates=SOURCE_UPDATES):
    images, labels = fonts.draw_digits(10_000, stream)
    model, _ = bench().train(bench().fresh(stream), networks.as_images(images), labels, updates, RATE, stream, batch_size=64)
    return model.get_weights()


def fine_tune(start, task, seed, size="full", updates=UPDATES):
    """Return the weights after fine-tuning on a task, or on both in turns."""
    parts = [mnist(size)[name] for name in (("plain", "inverted") if task == "both" else (task,))]
    chosen = [protocol.split_labels(y, COUNT, 0, seed)[0] for _, y, _, _ in parts]
    x, y = (np.concatenate([part[place][c] for part, c in zip(parts, chosen)]) for place in (0, 1))
    model, _ = bench().train(start, x, y, updates, RATE, seed)
    return model.get_weights()


@functools.cache
def reader():
    return networks.build_cnn()


def answers(weights, task="plain", size="full"):
    """Return the probabilities that a network with these weights gives to the test images."""
    reader().set_weights(weights)
    return reader()(mnist(size)[task][2]).numpy()


def score(weights, task="plain", size="full"):
    return float((answers(weights, task, size).argmax(axis=1) == mnist(size)[task][3]).mean())


def mix(*parts):
    """Return the sum of weights, each given as (factor, list of arrays)."""
    return [sum(factor * w for (factor, _), w in zip(parts, arrays)) for arrays in zip(*(weights for _, weights in parts))]


def run_seed(seed):
    """Return everything that one seed gives."""
    stream, result = transfer.SOURCE_STREAM + seed, {"path": {}, "soup": {}, "arithmetic": {}}
    base, other = pretrained(stream), pretrained(stream + 500)
    five = [fine_tune(base, "plain", 10 * seed + k) for k in range(SOUP)]
    alone = [fine_tune(bench().fresh(10 * seed + k), "plain", 10 * seed + k) for k in range(SOUP)]
    ends = {"same start": five[:2], "other start": [five[0], fine_tune(other, "plain", 10 * seed + 1)], "scratch": alone[:2]}
    for name, (first, second) in ends.items():
        result["path"][name] = [score(mix((1 - share, first), (share, second))) for share in SHARES]
    truth = mnist()["plain"][3]
    for name, members in (("", five), ("scratch ", alone)):
        result["soup"][f"{name}single"] = float(np.mean([score(w) for w in members]))
        result["soup"][f"{name}averaged"] = score(mix(*((1 / SOUP, w) for w in members)))
        result["soup"][f"{name}ensemble"] = float((sum(answers(w) for w in members).argmax(axis=1) == truth).mean())
    inverted, both = fine_tune(base, "inverted", 10 * seed), fine_tune(base, "both", 10 * seed)
    plans = {"base": base, "plain": five[0], "inverted": inverted, "both": both,
             "minus inverted": mix((2.0, base), (-1.0, inverted))}
    plans |= {f"sum {f}": mix((1 - 2 * f, base), (f, five[0]), (f, inverted)) for f in FACTORS}
    for name, weights in plans.items():
        result["arithmetic"][name] = {task: score(weights, task) for task in ("plain", "inverted")}
    return result


def run_check():
    """Return the short run that the tests repeat: the middle of the line, same start against scratch, course data."""
    accuracy = {"same start": [], "scratch": []}
    for seed in range(3):
        base = pretrained(transfer.SOURCE_STREAM + seed, 200)
        for name, scores in accuracy.items():
            starts = [base] * 2 if name == "same start" else [bench().fresh(10 * seed + k) for k in range(2)]
            ends = [fine_tune(start, "plain", 10 * seed + k, "course", 100) for k, start in enumerate(starts)]
            scores.append(score(mix((0.5, ends[0]), (0.5, ends[1])), size="course"))
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], mnist)
    runs = evidence.collect("merging", run_seed, seeds, [sys.modules[__name__], networks, protocol, fonts])
    facts = {"shares": SHARES, "factors": FACTORS, "check": run_check()}
    facts["path"] = {name: [run["path"][name] for run in runs] for name in runs[0]["path"]}
    facts["soup"] = {name: [run["soup"][name] for run in runs] for name in runs[0]["soup"]}
    facts["arithmetic"] = {name: {task: [run["arithmetic"][name][task] for run in runs] for task in ("plain", "inverted")}
                           for name in runs[0]["arithmetic"]}
    print(evidence.store("merging", "book/evidence/merging.py", seeds, runs, **facts))


if __name__ == "__main__":
    main()
