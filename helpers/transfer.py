"""The article's experiment: one network, five ways to start, the same training for all of them."""

import numpy as np

ARMS = {
    "scratch": "from scratch",
    "article": "all weights copied (the article)",
    "hidden": "hidden layer copied, new head",
    "frozen": "hidden layer copied and frozen",
    "random": "random hidden layer, frozen",
}
BATCH_SIZE = 128
# Added to the seeds of source networks. With equal seeds the "new" head of an arm would be, number for number, the
# head with which the source began, and a copied hidden layer has been trained against just that one.
SOURCE_STREAM = 10_000


def build_network(learning_rate=1e-3):
    """Return the article's network, compiled: 784 inputs, 128 ReLU units, dropout 0.2, 10 classes.

    Parameters
    ----------
    learning_rate : float
        Step size of Adam.

    Returns
    -------
    keras.Sequential
        Its layers are named ``hidden``, ``dropout`` and ``head``; it takes float32 rows of 784 values and gives
        10 probabilities a row. Initial weights follow Keras' random seed.
    """
    import keras

    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(128, activation="relu", name="hidden"),
            keras.layers.Dropout(0.2, name="dropout"),
            keras.layers.Dense(10, activation="softmax", name="head"),
        ]
    )
    return compile_network(model, learning_rate)


def compile_network(model, learning_rate=1e-3):
    """Compile a classifier as the article does (Adam, cross-entropy, accuracy) and return it.

    Needed again after a layer's ``trainable`` has changed. The optimizer starts afresh.
    """
    import keras

    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=16,  # same result, fewer returns to Python
    )
    return model


def pretrain(x, y, x_test, y_test, epochs=5, seed=0):
    """Return a network trained on the source task, and its record.

    Its random numbers are not those that :func:`start` draws with the same seed.

    Parameters
    ----------
    x, y, x_test, y_test, epochs
        As in :func:`train`.
    seed : int
        Of fresh weights and shuffling.

    Returns
    -------
    source : keras.Sequential
    record : dict
        As :func:`train` returns it.
    """
    source = start("scratch", None, SOURCE_STREAM + seed)
    return source, train(source, x, y, x_test, y_test, epochs, SOURCE_STREAM + seed)


def start(arm, source, seed):
    """Return the network with which one arm of the experiment begins the new task.

    Parameters
    ----------
    arm : str
        A key of :data:`ARMS`.
    source : keras.Model
        The network trained on the first task; it is left as it is.
    seed : int
        Fixes the fresh weights: equal seeds give equal fresh weights in every arm.

    Returns
    -------
    keras.Sequential
        Compiled, ready for :func:`train`.

    Raises
    ------
    ValueError
        For an arm that does not exist.
    """
    import keras

    if arm not in ARMS:
        raise ValueError(f"arm must be one of {', '.join(map(repr, ARMS))}, not {arm!r}.")
    keras.utils.set_random_seed(seed)
    model = build_network()
    if arm == "article":
        model.set_weights(source.get_weights())
    elif arm in ("hidden", "frozen"):
        model.get_layer("hidden").set_weights(source.get_layer("hidden").get_weights())
    if arm in ("frozen", "random"):
        model.get_layer("hidden").trainable = False
        compile_network(model)
    return model


def train(model, x, y, x_test, y_test, epochs=5, seed=0, after_epoch=None, batch_size=BATCH_SIZE):
    """Train a network and return how it stood on the test set before the first epoch and after each.

    The order of the examples depends on ``seed`` alone, so that arms with equal seeds see equal batches.

    Parameters
    ----------
    model : keras.Model
        Compiled with a loss and the metric accuracy; it is trained in place.
    x, x_test : numpy.ndarray of float32, shape (n, features)
    y, y_test : numpy.ndarray of int, shape (n,)
    epochs : int
        Passes over the data, 0 or more.
    seed : int
        Of the shuffling.
    after_epoch : callable, optional
        Called with the epoch's number, 0 (untrained) to ``epochs``.
    batch_size : int

    Returns
    -------
    dict
        ``"loss"`` and ``"accuracy"`` on the test set: lists of ``epochs + 1`` floats.
    """
    rng = np.random.default_rng(seed)
    record = {"loss": [], "accuracy": []}
    for epoch in range(epochs + 1):
        if epoch:
            order = rng.permutation(len(x))
            model.fit(x[order], y[order], batch_size=batch_size, shuffle=False, verbose=0)
        loss, accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)
        record["loss"].append(float(loss))
        record["accuracy"].append(float(accuracy))
        if after_epoch is not None:
            after_epoch(epoch)
    return record
