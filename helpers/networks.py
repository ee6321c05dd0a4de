"""Small convolutional networks for images, and what one does to their weights when a task changes."""

import numpy as np

from . import protocol


def as_images(images):
    """Return grey images as the numbers between 0 and 1 that a convolution takes.

    Parameters
    ----------
    images : numpy.ndarray of uint8, shape (n, height, width)

    Returns
    -------
    numpy.ndarray of float32, shape (n, height, width, 1)

    Raises
    ------
    ValueError
        When the images are not three-dimensional, or were scaled already (not uint8).
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 from 0 to 255 of shape (n, height, width), not {images.dtype} of {images.shape}."
        )
    return images[..., None].astype("float32") / 255


def build_cnn(shape=(28, 28, 1), classes=10, filters=(16, 32), units=64, seed=None):
    """Return a small convolutional classifier, not yet compiled.

    Two 3 × 3 convolutions with ReLU that halve height and width, a dense ReLU layer and a softmax head: the plan of
    LeCun et al. (1998) with today's activation, and with steps of 2 pixels in place of pooling (Springenberg et al.,
    2015), which trains three times as fast on a processor.

    Parameters
    ----------
    shape : tuple of int
        Height, width and channels of an image.
    classes : int
    filters : tuple of two int
        Channels of ``conv1`` and ``conv2``.
    units : int
        Of the layer ``dense``.
    seed : int, optional
        Fixes the fresh weights (and Keras' global seed).

    Returns
    -------
    keras.Sequential
        Layers with weights are named ``conv1``, ``conv2``, ``dense`` and ``head``.
    """
    import keras
    from keras import layers

    if seed is not None:
        keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(filters[0], 3, strides=2, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(filters[1], 3, strides=2, padding="same", activation="relu", name="conv2"),
            layers.Flatten(name="flatten"),
            layers.Dense(units, activation="relu", name="dense"),
            layers.Dense(classes, activation="softmax", name="head"),
        ]
    )


def compile_classifier(model, learning_rate=1e-3, steps_per_execution=20):
    """Compile a classifier with Adam and cross-entropy, and return it. Needed again when ``trainable`` has changed.

    Parameters
    ----------
    model : keras.Model
        Ends in a softmax.
    learning_rate : float
    steps_per_execution : int
        Updates between two returns to Python; the result is the same.

    Returns
    -------
    keras.Model
    """
    import keras

    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return model


class Bench:
    """One network, built and compiled once for each set of frozen layers, and started anew for every run.

    Parameters
    ----------
    build : callable
        ``build(seed=...)`` returns a fresh, uncompiled network.
    """

    def __init__(self, build):
        self._build, self._compiled, self._fresh = build, {}, {}

    def fresh(self, seed):
        """Return the fresh weights of a seed, a list of numpy.ndarray."""
        if seed not in self._fresh:
            self._fresh[seed] = self._build(seed=seed).get_weights()
        return self._fresh[seed]

    def train(self, weights, x, y, updates, learning_rate, seed, frozen=(), batch_size=32, **measuring):
        """Train from given weights and return the network, which the next call with equal ``frozen`` starts anew.

        Parameters
        ----------
        weights : list of numpy.ndarray
            To begin with; see :meth:`fresh`.
        x, y, updates, seed, batch_size
            As in :func:`helpers.protocol.fit_updates`.
        learning_rate : float
        frozen : tuple of str
            Layers that are not trained.
        **measuring
            ``measure`` and ``at`` of :func:`helpers.protocol.fit_updates`.

        Returns
        -------
        model : keras.Model
        record : list
            What was measured on the way.
        """
        if frozen not in self._compiled:
            self._compiled[frozen] = compile_classifier(freeze(self._build(seed=0), frozen))
        model = self._compiled[frozen]
        protocol.restart(model, weights, learning_rate, seed)
        return model, protocol.fit_updates(model, x, y, updates, batch_size, seed, **measuring)


def copy_layers(source, target, names):
    """Copy the weights of the named layers from one network into another, and return the latter.

    Parameters
    ----------
    source, target : keras.Model
        Each has layers of these names and shapes; ``source`` is left as it is.
    names : sequence of str

    Returns
    -------
    keras.Model
        ``target``, changed in place.

    Raises
    ------
    ValueError
        When a network has no layer of a name, or the shapes differ.
    """
    for name in names:
        target.get_layer(name).set_weights(source.get_layer(name).get_weights())
    return target


def freeze(model, names):
    """Take the named layers out of training, and return the model; compile it afterwards.

    Parameters
    ----------
    model : keras.Model
    names : sequence of str
        All other layers become trainable.

    Returns
    -------
    keras.Model

    Raises
    ------
    ValueError
        When the model has no layer of a name.
    """
    for name in names:
        model.get_layer(name)
    for layer in model.layers:
        layer.trainable = layer.name not in names
    return model


def embed(model, layer, x, batch_size=500):
    """Return what a layer gives for each example: its features, one flat row each.

    Parameters
    ----------
    model : keras.Model
    layer : str
        Name of the layer whose output is wanted.
    x : numpy.ndarray
        Inputs of the model.
    batch_size : int

    Returns
    -------
    numpy.ndarray of float32, shape (n, features)
    """
    import keras

    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    # Called directly: predict would trace a function anew for every network and layer.
    parts = [np.asarray(part(x[first : first + batch_size], training=False)) for first in range(0, len(x), batch_size)]
    return np.concatenate(parts).reshape(len(x), -1)
