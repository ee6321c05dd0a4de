"""What a smaller, cheaper network costs in accuracy: chapter 11's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/little_compute.py

All lists are over seeds. ``adapt``: drawn digits to MNIST, 20 labels a class, a dense network 784-256-256-10, 200 updates: by arm
test ``accuracy`` and number of trained weights: ``full``, all; ``head``, the last layer; ``rank 1`` … ``rank 16``, the head
and a low-rank change of each dense layer (Hu et al., 2022). ``probe``: the small convolutional network from drawn digits,
100 labels a class, 400 updates: accuracy and processor seconds of ``fine-tuned``, ``frozen`` (the head alone) and ``cached``
(the head alone on features computed once, the computing of them included). ``distil``: accuracy of a ``teacher`` and of a tiny network that
learned from the labels (``labels``) or from the teacher's softened answers too (``teacher's answers``), and how many weights
each has. ``bits``: by number of bits a weight, the accuracy of the small network rounded after training; ``pruned``: by
share of weights set to zero, smallest first, the accuracy ``at once`` and after 200 more updates with the zeros kept
(``retrained``). ``speed``: kilobytes, milliseconds for one image and for a hundred, of ways to run the same trained
network, best of many rounds that took turns (``speed_rounds``). ``check``: a short run that the tests repeat.
"""

import argparse
import functools
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from helpers import data, evidence, fonts, networks, protocol, transfer

RANKS = (1, 4, 16)
RATES = (3e-4, 1e-3, 3e-3)
TUNING_SEEDS = protocol.TUNING_SEEDS[:2]
ADAPT_ARMS = ("full", "head", *(f"rank {rank}" for rank in RANKS))
BITS = (8, 6, 5, 4, 3, 2)
SHARES = (0.5, 0.8, 0.9, 0.95, 0.98)
SPEED_ROUNDS = 60
CHECK_TOLERANCE = 0.06


@functools.cache
def mnist(size="full"):
    found = data.load("mnist", size)
    return networks.as_images(found.x_train), found.y_train, networks.as_images(found.x_test[:5000]), found.y_test[:5000]


@keras.saving.register_keras_serializable()
class LowRankDense(keras.layers.Layer):
    """A frozen dense layer plus a change of low rank: outputs = activation(x (W + A B) + b), B zero at the start."""

    def __init__(self, units, rank, activation=None, **settings):
        super().__init__(**settings)
        self.units, self.rank, self.activation = units, rank, keras.activations.get(activation)

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], self.units), name="w", trainable=False)
        self.b = self.add_weight(shape=(self.units,), name="b", initializer="zeros", trainable=False)
        self.down = self.add_weight(shape=(shape[-1], self.rank), name="down", initializer="glorot_uniform")
        self.up = self.add_weight(shape=(self.rank, self.units), name="up", initializer="zeros")

    def call(self, x):
        return self.activation(x @ self.w + (x @ self.down) @ self.up + self.b)


def build_dense(rank=0, seed=None):
    """Return 784-256-256-10; with a rank, its two hidden layers are frozen and changed by low-rank products."""
    keras.utils.set_random_seed(0 if seed is None else seed)
    hidden = [LowRankDense(256, rank, "relu", name=f"dense{i}") if rank else
              keras.layers.Dense(256, activation="relu", name=f"dense{i}") for i in (1, 2)]
    head = keras.layers.Dense(10, activation="softmax", name="head")
    return keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), *hidden, head])


@functools.cache
def bench(kind):
    if kind.startswith("rank"):
        return networks.Bench(lambda seed: build_dense(int(kind.split()[1]), seed))
    if kind == "dense":
        return networks.Bench(lambda seed: build_dense(seed=seed))
    filters, units = {"cnn": ((16, 32), 64), "teacher": ((32, 64), 128), "tiny": ((4, 8), 16)}[kind]
    return networks.Bench(lambda seed: networks.build_cnn(filters=filters, units=units, seed=seed))


@functools.lru_cache(maxsize=4)
def from_fonts(kind, seed, updates=600):
    """Return the weights of a network that has learned drawn digits."""
    stream = transfer.SOURCE_STREAM + seed
    images, labels = fonts.draw_digits(10_000, stream)
    model, _ = bench(kind).train(bench(kind).fresh(stream), networks.as_images(images), labels, updates, 1e-3, stream, batch_size=64)
    return model.get_weights()


def adapt(arm, rate, seed, size="full", updates=200, source_updates=600):
    """Return validation accuracy, test accuracy and the number of trained weights."""
    x, y, x_test, y_test = mnist(size)
    chosen, held_out = protocol.split_labels(y, 20, 1000, seed)
    source = from_fonts("dense", seed, source_updates)
    if arm.startswith("rank"):
        place, fresh = bench(arm), bench(arm).fresh(seed)
        # Keras lists trainable arrays before frozen ones in a layer: (down, up, w, b).
        start = [fresh[0], fresh[1], source[0], source[1], fresh[4], fresh[5], source[2], source[3], source[4], source[5]]
    else:
        place, start = bench("dense"), source
    model, _ = place.train(start, x[chosen], y[chosen], updates, rate, seed, ("dense1", "dense2") if arm == "head" else ())
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return protocol.accuracy(model, x[held_out], y[held_out]), protocol.accuracy(model, x_test, y_test), trained


def compare_probe(seed, updates=400):
    """Return accuracy and processor seconds of three ways to make equally many updates on 100 labels a class.

    ``fine-tuned``: all layers; ``frozen``: the head alone, the features computed anew in each update; ``cached``: the
    head alone, on features computed once.
    """
    x, y, x_test, y_test = mnist()
    chosen, _ = protocol.split_labels(y, 100, 0, seed)
    source, seconds, accuracy = from_fonts("cnn", seed), {}, {}
    for arm, frozen in (("fine-tuned", ()), ("frozen", ("conv1", "conv2", "dense"))):
        bench("cnn").train(source, x[chosen[:64]], y[chosen[:64]], 40, 1e-3, seed, frozen)  # traced before the clock starts
        began = time.process_time()
        model, _ = bench("cnn").train(source, x[chosen], y[chosen], updates, 1e-3, seed, frozen)
        seconds[arm] = time.process_time() - began
        accuracy[arm] = protocol.accuracy(model, x_test, y_test)
    body = keras.Model(model.inputs[0], model.get_layer("dense").output)
    body(x[:10]), head().train(source[-2:], np.zeros((64, 64)), y[:64], 40, 1e-3, seed)
    began = time.process_time()
    features = body(x[chosen]).numpy()
    linear, _ = head().train(source[-2:], features, y[chosen], updates, 1e-3, seed)
    seconds["cached"] = time.process_time() - began
    accuracy["cached"] = protocol.accuracy(linear, body.predict(x_test, batch_size=1000, verbose=0), y_test)
    return {"accuracy": accuracy, "seconds": {arm: round(value, 4) for arm, value in seconds.items()}}


@functools.cache
def head():
    """Return a bench for the head alone: ten classes on 64 features."""
    def build(seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, activation="softmax", name="head")])
    return networks.Bench(build)


def compare_distil(seed, temperature=3.0):
    """Return the accuracies of teacher and pupils; 10,000 labelled images, 600 updates of 64 each."""
    x, y, x_test, y_test = mnist()
    x, y = x[:10_000], y[:10_000]
    stream = transfer.SOURCE_STREAM + seed
    teacher, _ = bench("teacher").train(bench("teacher").fresh(stream), x, y, 600, 1e-3, stream, batch_size=64)
    accuracy = {"teacher": protocol.accuracy(teacher, x_test, y_test)}
    soft = np.log(np.maximum(teacher.predict(x, batch_size=1000, verbose=0), 1e-7)) / temperature
    soft = np.exp(soft) / np.exp(soft).sum(axis=1, keepdims=True)
    pupil, _ = bench("tiny").train(bench("tiny").fresh(seed), x, y, 600, 3e-3, seed, batch_size=64)
    accuracy["labels"] = protocol.accuracy(pupil, x_test, y_test)
    mixed = 0.5 * np.eye(10, dtype="float32")[y] + 0.5 * soft
    taught = soft_pupil()
    protocol.restart(taught, bench("tiny").fresh(seed), 3e-3, seed)
    protocol.fit_updates(taught, x, mixed, 600, 64, seed)
    accuracy["teacher's answers"] = protocol.accuracy(taught, x_test, y_test)
    return {"accuracy": accuracy, "weights": {"teacher": teacher.count_params(), "pupil": pupil.count_params()}}


@functools.cache
def soft_pupil():
    model = networks.build_cnn(filters=(4, 8), units=16, seed=0)
    model.compile(keras.optimizers.Adam(3e-3), "categorical_crossentropy", steps_per_execution=20)
    return model


def round_weights(weights, bits):
    """Return weights rounded to 2^bits equal steps between the smallest and the largest of each array (biases stay)."""
    rounded = []
    for w in weights:
        if w.ndim > 1:
            low, high = w.min(), w.max()
            step = (high - low) / (2**bits - 1)
            w = low + np.round((w - low) / step) * step
        rounded.append(w)
    return rounded


def prune(weights, share):
    """Return masks that keep the largest weights of all arrays but biases; ``share`` of them is set to zero."""
    sizes = np.concatenate([np.abs(w).ravel() for w in weights if w.ndim > 1])
    limit = np.quantile(sizes, share) if share else -1.0
    return [np.abs(w) > limit if w.ndim > 1 else np.ones(w.shape, bool) for w in weights]


def shrink_network(seed, size="full", updates=800, shares=SHARES, bits=BITS):
    """Return the accuracy by bits and by pruned share, at once and retrained."""
    x, y, x_test, y_test = mnist(size)
    x, y = x[:10_000], y[:10_000]
    model, _ = bench("cnn").train(bench("cnn").fresh(seed), x, y, updates, 1e-3, seed, batch_size=64)
    weights = model.get_weights()

    def score(changed):
        model.set_weights(changed)
        return protocol.accuracy(model, x_test, y_test)

    result = {"full": score(weights), "bits": {str(b): score(round_weights(weights, b)) for b in bits}, "pruned": {}}
    for share in shares:
        masks = prune(weights, share)
        at_once = score([w * m for w, m in zip(weights, masks)])
        protocol.restart(model, [w * m for w, m in zip(weights, masks)], 1e-3, seed)
        for part in range(10):  # the zeros are put back after every 20 updates
            order = protocol.example_order(len(x), 20, 64, 100 * seed + part)
            model.fit(x[order], y[order], batch_size=64, shuffle=False, verbose=0)
            model.set_weights([w * m for w, m in zip(model.get_weights(), masks)])
        result["pruned"][str(share)] = {"at once": at_once, "retrained": protocol.accuracy(model, x_test, y_test)}
    return result


def measure_speed(seed=0):
    """Return kilobytes and milliseconds of four ways to run one trained network; the rounds take turns."""
    x, y, x_test, y_test = mnist()
    model, _ = bench("cnn").train(bench("cnn").fresh(seed), x[:10_000], y[:10_000], 400, 1e-3, seed, batch_size=64)
    compiled = tf.function(lambda batch: model(batch, training=False), input_signature=[tf.TensorSpec((None, 28, 28, 1))])
    ways, kilobytes, right = {}, {}, {}
    ways["Keras predict"] = lambda batch: model.predict(batch, verbose=0)
    ways["tf.function"] = lambda batch: compiled(batch).numpy()
    for name, quantise in (("TensorFlow Lite", False), ("TensorFlow Lite, 8 bits", True)):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if quantise:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        content = converter.convert()
        kilobytes[name] = len(content) / 1024
        ways[name] = functools.partial(run_lite, tf.lite.Interpreter(model_content=content, num_threads=1))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        kilobytes["Keras predict"] = kilobytes["tf.function"] = (Path(folder) / "model.keras").stat().st_size / 1024
    times = {name: {"1": [], "100": []} for name in ways}
    for round_number in range(SPEED_ROUNDS):
        for name, way in ways.items():
            for count in (1, 100):
                began = time.perf_counter()
                way(x_test[:count])
                times[name][str(count)].append(1000 * (time.perf_counter() - began))
    for name, way in ways.items():
        right[name] = float((way(x_test[:1000]).argmax(axis=1) == y_test[:1000]).mean())
    return {name: {"kilobytes": kilobytes[name], "accuracy": right[name],
                   "milliseconds": {count: min(values[5:]) for count, values in times[name].items()}} for name in ways}


def run_lite(interpreter, batch):
    """Return a TensorFlow Lite model's answers."""
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, np.ascontiguousarray(batch, "float32"))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def run_check():
    """Return the short run that the tests repeat: full fine-tuning and head alone, three seeds, course data."""
    accuracy = {arm: [adapt(arm, 1e-3, seed, "course", 100, 200)[1] for seed in range(3)] for arm in ("full", "head")}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of paired seeds (default: 10)")
    seeds = range(parser.parse_args().seeds)
    try:
        mnist()
    except (OSError, ValueError) as error:
        sys.exit(f"little_compute.py: {error}")
    depends_on = [sys.modules[__name__], networks, protocol, fonts]

    def tune(arm):
        return {"rate": protocol.choose_rate(lambda rate, seed: adapt(arm, rate, seed)[0], RATES, TUNING_SEEDS)[0]}

    tuned = evidence.collect("little_compute_rates", tune, list(ADAPT_ARMS), depends_on)
    rates = {arm: found["rate"] for arm, found in zip(ADAPT_ARMS, tuned, strict=True)}

    def run_job(job):
        kind, arm, seed = job
        if kind == "adapt":
            _, accuracy, trained = adapt(arm, rates[arm], seed)
            return {"accuracy": accuracy, "trained": trained}
        return {"value": {"probe": compare_probe, "distil": compare_distil, "shrink": shrink_network}[kind](seed)}

    jobs = [("adapt", arm, seed) for seed in seeds for arm in ADAPT_ARMS]
    jobs += [(kind, "", seed) for seed in seeds for kind in ("probe", "distil", "shrink")]
    runs = evidence.collect("little_compute", run_job, jobs, depends_on)
    speed = evidence.collect("little_compute_speed", lambda job: {"value": measure_speed()}, [0], depends_on)
    found = dict(zip(jobs, runs, strict=True))

    def over_seeds(kind, *keys):
        values = [found[kind, "", seed]["value"] for seed in seeds]
        for key in keys:
            values = [value[key] for value in values]
        return values

    first = found["distil", "", seeds[0]]["value"]["weights"]
    facts = {
        "rates": rates,
        "adapt": {arm: {"accuracy": [found["adapt", arm, s]["accuracy"] for s in seeds],
                        "trained": found["adapt", arm, seeds[0]]["trained"]} for arm in ADAPT_ARMS},
        "probe": {key: {arm: over_seeds("probe", key, arm) for arm in ("fine-tuned", "frozen", "cached")} for key in ("accuracy", "seconds")},
        "distil": {"weights": first, "accuracy": {arm: over_seeds("distil", "accuracy", arm)
                                                  for arm in ("teacher", "labels", "teacher's answers")}},
        "full": over_seeds("shrink", "full"),
        "bits": {str(b): over_seeds("shrink", "bits", str(b)) for b in BITS},
        "pruned": {way: {str(s): over_seeds("shrink", "pruned", str(s), way) for s in SHARES} for way in ("at once", "retrained")},
        "speed": speed[0]["value"], "speed_rounds": SPEED_ROUNDS, "check": run_check(),
    }
    print(evidence.store("little_compute", "book/evidence/little_compute.py", seeds, [*tuned, *runs, *speed], **facts))


if __name__ == "__main__":
    main()
