"""A network with one body and two heads, trained on two tasks at once or one after the other; other scripts use it."""

import keras
import numpy as np
import tensorflow as tf

from helpers import protocol


class TwoTasks:
    """Body, two heads, and one compiled training step that every arm shares.

    Parameters
    ----------
    body : keras.Model
        From inputs to features.
    classes : tuple of int
        Of the old and of the new task.
    """

    def __init__(self, body, classes):
        self.body = body
        width = body.outputs[0].shape[-1]
        self.heads = [keras.Sequential([keras.Input((width,)), keras.layers.Dense(n, name=f"head{i}")])
                      for i, n in enumerate(classes)]
        self.optimizer = keras.optimizers.Adam(1e-3)
        self.variables = body.trainable_variables + [v for head in self.heads for v in head.trainable_variables]
        self.optimizer.build(self.variables)
        self.anchor = [tf.Variable(tf.zeros(v.shape)) for v in self.variables]
        self._loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def get_weights(self):
        """Return the weights of body, old and new head as a list of arrays."""
        return [v.numpy() for v in self.variables]

    def restart(self, weights, learning_rate, seed):
        """Begin anew: weights, empty optimizer; what :meth:`train` may pull towards is the start itself."""
        keras.utils.set_random_seed(seed)
        for variable, anchor, value in zip(self.variables, self.anchor, weights, strict=True):
            variable.assign(value)
            anchor.assign(value)
        for variable in self.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        self.optimizer.learning_rate = learning_rate
        for layer in self.body._flatten_layers():
            if getattr(layer, "seed_generator", None) is not None:
                layer.seed_generator.state.assign([seed, 0])

    @tf.function(reduce_retracing=True)
    def _updates(self, x_new, y_new, x_old, y_old, head, old_weight, new_weight, pull):
        """Make one update for each batch: x_new of shape (updates, batch, ...) and so on."""
        for i in tf.range(tf.shape(y_new)[0]):
            with tf.GradientTape() as tape:
                features = self.body(x_new[i], training=True)
                logits = tf.cond(head == 0, lambda: self.heads[0](features), lambda: self.heads[1](features))
                loss = new_weight * self._loss(y_new[i], logits)
                old = self.heads[0](self.body(x_old[i], training=True))
                loss += old_weight * self._loss(y_old[i], old)
                distance = tf.add_n([tf.reduce_sum((v - a) ** 2) for v, a in zip(self.variables, self.anchor)])
                loss += pull / 2 * distance
            gradients = tape.gradient(loss, self.variables)
            self.optimizer.apply(gradients)

    def train(self, new, old=None, *, updates, batch_size, old_batch=1, seed=0, head=1, old_weight=0.0, new_weight=1.0,
              pull=0.0, measure=None, at=()):
        """Train for a number of updates and return what was measured on the way.

        Parameters
        ----------
        new, old : tuple of numpy.ndarray
            Images and labels of the two tasks; ``old`` is rehearsed when ``old_weight`` is above 0.
        updates, batch_size, old_batch : int
            Batches hold ``batch_size`` new examples and ``old_batch`` old ones.
        head : int
            Which head answers for the new task: 1, its own, or 0, that of the old task.
        old_weight, new_weight, pull : float
            Factors of the old task's loss, of the new task's, and of half the squared distance from the start.
        """
        old = old or (new[0][:1], np.zeros(1, int))
        orders = [protocol.example_order(len(part[0]), updates, size, [seed, place] if place else seed)
                  for place, (part, size) in enumerate(((new, batch_size), (old, old_batch)))]
        orders = [order.reshape(updates, -1) for order in orders]
        record, done = [], 0
        for stop in [*at, updates]:
            while done < stop:
                batch = slice(done, min(done + 200, stop))
                parts = []
                for (x, y), order in zip((new, old), orders):
                    parts += [tf.constant(x[order[batch]]), tf.constant(y[order[batch]].astype("int32"))]
                self._updates(*parts, tf.constant(head), *(tf.constant(v, tf.float32) for v in (old_weight, new_weight, pull)))
                done = batch.stop
            if measure is not None and len(record) < len(at):
                record.append(measure(self))
        return record

    def accuracy(self, head, x, y):
        """Return the share of examples that a head names rightly."""
        right = [self.heads[head](self.body(x[i : i + 2000], training=False)).numpy().argmax(axis=1) == y[i : i + 2000]
                 for i in range(0, len(x), 2000)]
        return float(np.concatenate(right).mean())
