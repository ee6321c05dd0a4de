"""What remedies against overfitting bring, and what makes an epoch faster: chapter 6's evidence.

    python book/evidence/training.py

A network with one hidden layer learns 1,000 images for 50 epochs, once plainly and once with each remedy, on MNIST and
on Fashion-MNIST. All arms have the same learning rate, except ``slow``, which is plain training with a smaller one. Of a
remedy three strengths are tried (``SETTINGS``); the one with the best mean validation accuracy over three seeds that are
not used again is kept. Then all arms run with the same seeds: same images, same first weights, same order of batches;
``frozen`` repeats the batches of the first epoch. A finished seed is kept in ``_build/evidence``. The result, helpers/results/training.json, holds

``chosen``: by data set and arm, the setting kept; ``arms``: by data set and arm, lists over seeds of test ``accuracy``,
test ``loss`` and expected calibration error ``ece``; ``curves``: of the plain arm on Fashion-MNIST, loss on the training
and the validation images by epoch, a list over seeds; ``speed``: by network and way of training, the seconds of one
epoch in ten rounds, one after the other within each round; ``check``: a short run that the tests repeat.
"""

import sys
import time

import arguments
import numpy as np

from helpers import data, evidence, metrics

EPOCHS, BATCH, COUNT, HIDDEN = 50, 50, 1000, 256
SETS = ("mnist", "fashion_mnist")
RATE, SLOW_RATE = 1e-3, 3e-4
# early: patience in epochs; decay: AdamW's; dropout: rate; shift: pixels; norm: momentum of the running averages
SETTINGS = {
    "early": (2, 5, 10),
    "decay": (0.1, 0.3, 1.0),
    "dropout": (0.2, 0.5, 0.7),
    "shift": (1, 2, 3),
    "norm": (0.8, 0.9, 0.99),
}
TUNING_SEEDS = (1000, 1001, 1002)
ROUNDS = 10
CHECK_TOLERANCE = 0.04


def build(arm, setting=None):
    """Return the network of an arm, compiled."""
    import keras

    layers = [keras.Input((784,)), keras.layers.Dense(HIDDEN, name="hidden")]
    if arm == "norm":
        layers.append(keras.layers.BatchNormalization(momentum=setting))
    layers.append(keras.layers.Activation("relu"))
    if arm == "dropout":
        layers.append(keras.layers.Dropout(setting, name="dropout"))
    layers.append(keras.layers.Dense(10, activation="softmax", name="head"))
    model = keras.Sequential(layers)
    rate = SLOW_RATE if arm == "slow" else RATE
    decay = setting if arm == "decay" else None
    optimizer = keras.optimizers.AdamW(rate, weight_decay=decay) if decay else keras.optimizers.Adam(rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", steps_per_execution=COUNT // BATCH)
    return model


def reset(model, arm, setting, seed):
    """Give a network the first weights of a seed and an optimizer without memory."""
    import keras

    keras.utils.set_random_seed(seed)
    model.set_weights(build(arm, setting).get_weights())
    for variable in model.optimizer.variables:
        if "learning_rate" not in variable.path:
            variable.assign(np.zeros(variable.shape, variable.dtype))
    if arm == "dropout":
        model.get_layer("dropout").seed_generator.state.assign([seed, 0])


def split(name, seed):
    """Return x, y, x_val, y_val, x_test, y_test: 1,000, 1,000 and 2,000 images, the first two drawn by the seed."""
    images = data.load(name)
    chosen = np.random.default_rng(seed).permutation(len(images.x_train))[: 2 * COUNT]
    x, y = data.flatten(images.x_train[chosen]), images.y_train[chosen]
    return x[:COUNT], y[:COUNT], x[COUNT:], y[COUNT:], data.flatten(images.x_test), images.y_test


def shift(rows, reach, rng):
    """Return flat images, each moved by up to ``reach`` pixels in both directions; what comes in is background."""
    images = np.pad(rows.reshape(-1, 28, 28), ((0, 0), (reach, reach), (reach, reach)))
    down, right = rng.integers(0, 2 * reach + 1, (2, len(rows), 1))
    lines = np.arange(28)
    moved = images[np.arange(len(rows))[:, None, None], (down + lines)[:, :, None], (right + lines)[:, None, :]]
    return moved.reshape(-1, 784)


def forward(weights, x):
    """Return the probabilities of a network without normalisation."""
    scores = np.maximum(x @ weights[0] + weights[1], 0) @ weights[2] + weights[3]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def cross_entropy(probabilities, y):
    return float(-np.log(np.maximum(probabilities[np.arange(len(y)), y], 1e-30)).mean())


def score(probabilities, y):
    """Return accuracy, loss and calibration error."""
    return {
        "accuracy": float((probabilities.argmax(axis=1) == y).mean()),
        "loss": cross_entropy(probabilities, y),
        "ece": metrics.reliability(probabilities, y, bins=15).error,
    }


def stop_epoch(losses, patience):
    """Return the epoch whose weights early stopping restores: the best one before ``patience`` epochs without a new best."""
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best


def train(model, arm, setting, split_data, seed, epochs=EPOCHS):
    """Train a network from fresh weights; return its scores and, of the arm plain, what it was after each epoch."""
    import keras

    x, y, x_val, y_val, x_test, y_test = split_data
    reset(model, arm, setting, seed)
    rng, shifts = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    orders = [rng.permutation(len(x)) for _ in range(epochs)]
    if arm == "frozen":
        orders = orders[:1] * epochs
    order = np.concatenate(orders)
    rows = shift(x[order], setting, shifts) if arm == "shift" else x[order]
    after = {"train_loss": [], "val_loss": [], "weights": []}

    def follow(batch, logs=None):
        weights = model.get_weights()
        after["train_loss"].append(cross_entropy(forward(weights, x), y))
        after["val_loss"].append(cross_entropy(forward(weights, x_val), y_val))
        after["weights"].append(weights)

    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=follow)] if arm == "plain" else []
    model.fit(rows, y[order], batch_size=BATCH, shuffle=False, callbacks=callbacks, verbose=0)
    right = (model.predict(x_val, batch_size=1000, verbose=0).argmax(axis=1) == y_val).mean()
    result = score(model.predict(x_test, batch_size=1000, verbose=0), y_test) | {"val_accuracy": float(right)}
    return result, after


def stopped(after, patience, split_data):
    """Return the scores of the weights that early stopping keeps."""
    weights = after["weights"][stop_epoch(after["val_loss"], patience)]
    right = (forward(weights, split_data[2]).argmax(axis=1) == split_data[3]).mean()
    return score(forward(weights, split_data[4]), split_data[5]) | {"val_accuracy": float(right)}


def choose(name, seeds=TUNING_SEEDS):
    """Return by arm the setting with the best mean validation accuracy."""
    chosen, splits = {}, [split(name, seed) for seed in seeds]
    plain = build("plain")
    plain_after = [train(plain, "plain", None, s, seed)[1] for s, seed in zip(splits, seeds)]
    for arm, settings in SETTINGS.items():
        found = {}
        for setting in settings:
            if arm == "early":
                runs = [stopped(after, setting, s) for after, s in zip(plain_after, splits)]
            else:
                model = build(arm, setting)
                runs = [train(model, arm, setting, s, seed)[0] for s, seed in zip(splits, seeds)]
            found[setting] = float(np.mean([run["val_accuracy"] for run in runs]))
        chosen[arm] = max(found, key=found.get)
    return chosen


def run_seed(seed, chosen, models):
    """Return, by data set and arm, the scores of one seed, and the plain arm's curves on Fashion-MNIST."""
    result = {"arms": {}}
    for name in SETS:
        split_data, settings, arms = split(name, seed), chosen[name], {}
        for arm in ("plain", "slow", "decay", "dropout", "shift", "norm"):
            if (name, arm) not in models:
                models[name, arm] = build(arm, settings.get(arm))
            arms[arm], after = train(models[name, arm], arm, settings.get(arm), split_data, seed)
            if arm == "plain":
                arms["early"] = stopped(after, settings["early"], split_data)
                if name == "fashion_mnist":
                    result["curves"] = {key: after[key] for key in ("train_loss", "val_loss")}
        arms["frozen"], _ = train(models[name, "plain"], "frozen", None, split_data, seed)
        result["arms"][name] = arms
    return result


def networks():
    """Return the two networks whose speed is measured, each with its images' form and their number."""
    import keras

    def dense():
        return keras.Sequential([
            keras.Input((784,)), keras.layers.Dense(128, activation="relu"), keras.layers.Dense(10, activation="softmax"),
        ])

    def convolutional():
        return keras.Sequential([
            keras.Input((28, 28, 1)), keras.layers.Conv2D(16, 3, activation="relu"), keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, activation="relu"), keras.layers.MaxPooling2D(), keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ])

    return {"dense": (dense, (784,), 5120), "convolutional": (convolutional, (28, 28, 1), 1024)}


def ways(make, x, y):
    """Return by name a function that trains one epoch; each has a network of its own."""
    import keras
    import tensorflow as tf

    def fit(batch=32, dataset=None, **options):
        model = make()
        model.compile("adam", "sparse_categorical_crossentropy", **options)
        if dataset is not None:
            return lambda: model.fit(dataset, verbose=0)
        return lambda: model.fit(x, y, batch_size=batch, verbose=0)

    def by_hand():
        model, optimizer = make(), keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)

        @tf.function
        def epoch(x, y, order):
            for rows in tf.reshape(order, (-1, 32)):
                with tf.GradientTape() as tape:
                    predicted = model(tf.gather(x, rows), training=True)
                    loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(tf.gather(y, rows), predicted))
                optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

        x_all, y_all, rng = tf.constant(x), tf.constant(y), np.random.default_rng(0)
        return lambda: epoch(x_all, y_all, tf.constant(rng.permutation(len(x))))

    cached = tf.data.Dataset.from_tensor_slices((x, y)).cache().shuffle(len(x)).batch(32).prefetch(2)
    return {
        "fit, batches of 32": fit(),
        "batches of 512": fit(batch=512),
        "16 steps per execution": fit(steps_per_execution=16),
        "cached tf.data, 16 steps": fit(dataset=cached, steps_per_execution=16),
        "an epoch in one tf.function": by_hand(),
        "jit_compile": fit(jit_compile=True),
        "run_eagerly": fit(run_eagerly=True),
    }


def measure(rounds=ROUNDS):
    """Return the seconds of one epoch by network and way; the ways take turns, so that a busy moment hits all alike."""
    seconds = {}
    for name, (make, form, count) in networks().items():
        images = data.load("fashion_mnist")
        x, y = (images.x_train[:count] / np.float32(255)).reshape(-1, *form), images.y_train[:count]
        functions = ways(make, x, y)
        seconds[name] = {way: [] for way in functions}
        for number in range(rounds + 1):  # the first round compiles and is not counted
            for way, function in functions.items():
                began = time.perf_counter()
                function()
                if number:
                    seconds[name][way].append(time.perf_counter() - began)
    return seconds


def run_check():
    """Return the short run that the tests repeat: plain and shifted training on MNIST, one seed, few epochs."""
    split_data, accuracy = split("mnist", 0), {}
    for arm, setting in (("plain", None), ("shift", 2)):
        accuracy[arm] = train(build(arm, setting), arm, setting, split_data, 0, epochs=10)[0]["accuracy"]
    return {"seed": 0, "epochs": 10, "tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], default=12)
    depends_on = [sys.modules[__name__], metrics]
    chosen = evidence.collect("training-settings", lambda _: {name: choose(name) for name in SETS}, [0], depends_on)[0]
    models = {}
    runs = evidence.collect("training", lambda seed: run_seed(seed, chosen, models), seeds, depends_on)
    speed = evidence.collect("training-speed", lambda _: measure(), [0], depends_on)[0]
    arms = {
        name: {
            arm: {key: [run["arms"][name][arm][key] for run in runs] for key in ("accuracy", "loss", "ece")}
            for arm in runs[0]["arms"][name]
        }
        for name in SETS
    }
    curves = {key: [run["curves"][key] for run in runs] for key in ("train_loss", "val_loss")}
    facts = {
        "epochs": EPOCHS, "batch": BATCH, "images": COUNT, "settings": {a: list(s) for a, s in SETTINGS.items()},
        "chosen": {name: chosen[name] for name in SETS}, "speed": {key: speed[key] for key in networks()},
    }
    everything = [chosen, *runs, speed]
    path = evidence.store("training", "book/evidence/training.py", seeds, everything, **facts, arms=arms, curves=curves,
                          check=run_check())
    print(path)


if __name__ == "__main__":
    main()
