"""How we compare ways of training: the page "How we compare" explains the rules, this module keeps them.

1. Every arm has the same network and makes the same number of updates on the same examples in the same order.
2. Every arm tries the same learning rates, with the same seeds; what scores best on *validation* data is kept
   (:func:`choose_rate`). Those seeds are not used again.
3. At least ten paired seeds. A source network and the arms draw from different random numbers
   (``transfer.SOURCE_STREAM``).
4. The test set is used once, at the end. The verdict is the interval of the difference (:mod:`helpers.compare`).
5. Three questions are told apart: how good in the end, how fast (:func:`updates_to_reach`), how many labels less
   (:func:`labels_to_reach`).
"""

import numpy as np

from . import data

RATES = (1e-4, 3e-4, 1e-3, 3e-3)
TUNING_SEEDS = (1000, 1001, 1002)


def split_labels(labels, count, held_out, seed):
    """Return which examples get a label for training and which are held out for validation; the two are disjoint.

    Parameters
    ----------
    labels : numpy.ndarray of int, shape (n,)
        Of the training pool; the test set is never part of it.
    count : int
        Training examples a class.
    held_out : int
        Validation examples in all, drawn from the rest.
    seed : int
        Equal seeds give equal draws, so that arms are paired.

    Returns
    -------
    chosen : numpy.ndarray of int, shape (count * classes,)
    validation : numpy.ndarray of int, shape (held_out,)

    Raises
    ------
    ValueError
        When a class has fewer than ``count`` examples or fewer than ``held_out`` are left.
    """
    rng = np.random.default_rng([seed, count])
    chosen = data.few_per_class(labels, count, rng)
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    if not 0 <= held_out <= len(rest):
        raise ValueError(f"held_out must be from 0 to {len(rest)}, what the training examples leave, not {held_out}.")
    return chosen, rng.permutation(rest)[:held_out]


def example_order(count, updates, batch_size, seed):
    """Return the order in which ``count`` examples are shown: whole passes, each shuffled anew, cut to the updates.

    Parameters
    ----------
    count, updates, batch_size : int
        At least 1 each.
    seed : int

    Returns
    -------
    numpy.ndarray of int, shape (updates * batch_size,)
        Positions from 0 to ``count - 1``.

    Raises
    ------
    ValueError
        When one of the three is below 1.
    """
    if min(count, updates, batch_size) < 1:
        raise ValueError(f"count, updates and batch_size must be at least 1, not {count}, {updates} and {batch_size}.")
    rng = np.random.default_rng([*np.atleast_1d(seed), 1])
    needed = updates * batch_size
    passes = -(-needed // count)
    return np.concatenate([rng.permutation(count) for _ in range(passes)])[:needed]


def restart(model, weights, learning_rate, seed):
    """Make a compiled model as good as new for another run: weights, empty optimizer, rate and random numbers.

    Building and compiling a small network takes longer than training it, so experiments use one for many runs.

    Parameters
    ----------
    model : keras.Model
        Compiled; changed in place.
    weights : list of numpy.ndarray
        As from ``get_weights``.
    learning_rate : float
    seed : int
        Of dropout and other random layers.
    """
    import keras

    keras.utils.set_random_seed(seed)
    model.set_weights(weights)
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    model.optimizer.learning_rate = learning_rate
    for layer in model._flatten_layers():
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign([seed, 0])


def fit_updates(model, x, y, updates, batch_size=32, seed=0, measure=None, at=()):
    """Train for a fixed number of updates, whatever the number of examples.

    Parameters
    ----------
    model : keras.Model
        Compiled; trained in place.
    x, y : numpy.ndarray
        Training examples, first axis of equal length.
    updates, batch_size : int
    seed : int
        Of the order of examples, see :func:`example_order`.
    measure : callable, optional
        ``measure(model)`` returns what is recorded.
    at : sequence of int
        Numbers of updates, rising, from 0 to ``updates``, after which ``measure`` is called.

    Returns
    -------
    list
        What ``measure`` returned, one for each of ``at``.
    """
    order = example_order(len(x), updates, batch_size, seed)
    record, done = [], 0
    for stop in [*at, updates]:
        if stop > done:
            part = order[done * batch_size : stop * batch_size]
            model.fit(x[part], y[part], batch_size=batch_size, shuffle=False, verbose=0)
            done = stop
        if measure is not None and len(record) < len(at):
            record.append(measure(model))
    return record


def accuracy(model, x, y):
    """Return the share of examples whose most probable class is the true one.

    Parameters
    ----------
    model : keras.Model
        Gives one row of class scores an example.
    x : numpy.ndarray
    y : numpy.ndarray of int, shape (n,)

    Returns
    -------
    float
    """
    return float((model.predict(x, batch_size=1000, verbose=0).argmax(axis=1) == y).mean())


def choose_rate(validate, rates=RATES, seeds=TUNING_SEEDS):
    """Return the learning rate with the best mean validation score; each arm gets the same rates and seeds.

    Parameters
    ----------
    validate : callable
        ``validate(learning_rate, seed)`` trains and returns a score on validation data, larger is better.
    rates : sequence of float
    seeds : sequence of int
        Seeds that the comparison itself does not use.

    Returns
    -------
    rate : float
        Of equal scores the smaller rate.
    scores : dict of float to float
        Mean validation score by rate.
    """
    scores = {rate: float(np.mean([validate(rate, seed) for seed in seeds])) for rate in sorted(rates)}
    return max(scores, key=scores.get), scores


def updates_to_reach(at, scores, level):
    """Return after how many updates a curve first reaches a level, or None if it never does: speed.

    Parameters
    ----------
    at : sequence of int
        Numbers of updates, rising.
    scores : sequence of float
        Score after each of them.
    level : float

    Returns
    -------
    float or None
        Interpolated between the two measurements around the crossing.
    """
    return _crossing(np.asarray(at, float), np.asarray(scores, float), level)


def labels_to_reach(counts, scores, level):
    """Return how many labels a class are needed for a level, or None if no measured number suffices.

    Parameters
    ----------
    counts : sequence of int
        Labels a class, rising.
    scores : sequence of float
        Score with each.
    level : float

    Returns
    -------
    float or None
        Interpolated on a logarithmic scale; the smallest count when it suffices already.
    """
    found = _crossing(np.log(np.asarray(counts, float)), np.asarray(scores, float), level)
    return None if found is None else float(np.exp(found))


def _crossing(places, scores, level):
    if places.shape != scores.shape or places.ndim != 1 or not len(places):
        raise ValueError(f"places and scores must be equally long lists, not {places.shape} and {scores.shape}.")
    if (np.diff(places) <= 0).any():
        raise ValueError("the numbers of updates or labels must rise.")
    reached = np.flatnonzero(scores >= level)
    if not len(reached):
        return None
    first = reached[0]
    if first == 0:
        return float(places[0])
    part = (level - scores[first - 1]) / (scores[first] - scores[first - 1])
    return float(places[first - 1] + part * (places[first] - places[first - 1]))
