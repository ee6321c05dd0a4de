"""What a smaller, cheaper network costs in accuracy: chapter 11's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/little_compute.py

All lists are over seeds; learning rates (``rates``) were chosen on validation images. ``adapt``: drawn digits to MNIST, 20 labels a class, a dense network 784-256-256-10, 200 updates: by arm
test ``accuracy`` and number of trained weights: ``full``, all; ``head``, the last layer; ``rank 1`` … ``rank 16``, the head
and a low-rank change of each hidden layer (Hu et al., 2022); ``energy``: share of the squared change of the first layer's
matrix, after ``full``, that its 16 largest singular values hold. ``probe``: networks of ``BODIES`` that have learned drawn
digits, 100 labels a class, 400 updates: by body, accuracy and processor seconds of ``fine-tuned``, ``frozen`` (the head
alone), ``cached`` (the head alone on features computed once, the computing of them included) and ``cached, NumPy`` (the
same updates without Keras). ``distil``: 10,000
labelled images, 600 updates of 64: accuracy of a ``teacher``, of a tiny network that learned from the labels (``labels``)
or from the teacher's softened answers too (``teacher's answers``), and how many weights each has. The small network after
800 updates: ``bits``: by number of bits a weight, its accuracy rounded after training; ``lite``: its accuracy as a
TensorFlow Lite model of 8 bits; ``pruned``: by share of weights set to zero, smallest first, its accuracy ``at once`` and
after 200 more updates with the zeros kept (``retrained``), and the ``kilobytes`` of its weights after ``zlib``. ``speed``:
of four networks and four ways to run each, kilobytes, and milliseconds for one image and for a hundred, best and median of
``speed_rounds`` rounds that took turns, all in one run. ``check``: a short run that the tests repeat.
"""

import functools
import sys
import tempfile
import time

import arguments
import zlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from helpers import data, evidence, fonts, networks, protocol, transfer

RANKS = (1, 4, 16)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
ADAPT_ARMS = ("full", "head", *(f"rank {rank}" for rank in RANKS))
BITS = (8, 6, 5, 4, 3, 2)
SHARES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
DISTIL_ARMS = ("teacher", "labels", "teacher's answers")
TEMPERATURE = 4.0
SIZES = {"small": ((16, 32), 64), "teacher": ((32, 64), 128), "tiny": ((4, 8), 16), "wide": ((64, 128), 256)}
BODIES = ("small", "wide")
SPEED_ROUNDS = 60
CHECK_TOLERANCE = 0.06


@functools.cache
def mnist(size="full"):
    found = data.load("mnist", size)
    return networks.as_images(found.x_train), found.y_train, networks.as_images(found.x_test[:3000]), found.y_test[:3000]


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
    filters, units = SIZES[kind]
    return networks.Bench(lambda seed: networks.build_cnn(filters=filters, units=units, seed=seed))


@functools.lru_cache(maxsize=4)
def from_fonts(kind, seed, updates=600):
    """Return the weights of a network that has learned drawn digits."""
    stream = transfer.SOURCE_STREAM + seed
    images, labels = fonts.draw_digits(10_000, stream)
    model, _ = bench(kind).train(bench(kind).fresh(stream), networks.as_images(images), labels, updates, 1e-3, stream, batch_size=64)
    return model.get_weights()


def adapt(arm, rate, seed, judge, size="full", updates=200, source_updates=600):
    """Return the accuracy on "validation" or "test" images (``judge``) and the number of trained weights."""
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
    judged = (x[held_out], y[held_out]) if judge == "validation" else (x_test, y_test)
    return protocol.accuracy(model, *judged), trained


def measure_energy(rate, seed, rank=16):
    """Return which share of the squared change of the first layer's matrix its largest singular values hold."""
    x, y = mnist()[:2]
    chosen, _ = protocol.split_labels(y, 20, 1000, seed)
    start = from_fonts("dense", seed)
    model, _ = bench("dense").train(start, x[chosen], y[chosen], 200, rate, seed)
    values = np.linalg.svd(model.get_weights()[0] - start[0], compute_uv=False) ** 2
    return float(values[:rank].sum() / values.sum())


def compare_probe(body, seed, updates=400):
    """Return accuracy and processor seconds of three ways to make equally many updates on 100 labels a class.

    ``fine-tuned``: all layers; ``frozen``: the head alone, the features computed anew in each update; ``cached``: the
    head alone, on features computed once.
    """
    x, y, x_test, y_test = mnist()
    chosen, _ = protocol.split_labels(y, 100, 0, seed)
    source, seconds, accuracy = from_fonts(body, seed), {}, {}
    for arm, frozen in (("fine-tuned", ()), ("frozen", ("conv1", "conv2", "dense"))):
        bench(body).train(source, x[chosen[:64]], y[chosen[:64]], 40, 1e-3, seed, frozen)  # traced before the clock starts
        began = time.process_time()
        model, _ = bench(body).train(source, x[chosen], y[chosen], updates, 1e-3, seed, frozen)
        seconds[arm] = time.process_time() - began
        accuracy[arm] = protocol.accuracy(model, x_test, y_test)
    features = functools.partial(networks.embed, model, "dense")
    head(body).train(source[-2:], features(x[:64]), y[:64], 40, 1e-3, seed)
    began = time.process_time()
    linear, _ = head(body).train(source[-2:], features(x[chosen]), y[chosen], updates, 1e-3, seed)
    seconds["cached"] = time.process_time() - began
    accuracy["cached"] = protocol.accuracy(linear, features(x_test), y_test)
    began = time.process_time()
    w, b = fit_head(*source[-2:], features(x[chosen]), y[chosen], updates, 1e-3, seed)
    seconds["cached, NumPy"] = time.process_time() - began
    accuracy["cached, NumPy"] = float(((features(x_test) @ w + b).argmax(axis=1) == y_test).mean())
    return {"accuracy": accuracy, "seconds": seconds}


def fit_head(w, b, x, y, updates, rate, seed):
    """Return matrix and bias of a softmax head after updates of Adam (Kingma and Ba, 2015) on batches of 32."""
    theta = np.concatenate([w, b[None]])
    x, mean, square = np.concatenate([x, np.ones((len(x), 1), x.dtype)], axis=1), 0.0, 0.0
    for step, rows in enumerate(protocol.example_order(len(x), updates, 32, seed).reshape(updates, 32), 1):
        scores = x[rows] @ theta
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(32), y[rows]] -= 1
        gradient = x[rows].T @ p / 32
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        theta = theta - rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-7)
    return theta[:-1], theta[-1]


@functools.cache
def head(body):
    """Return a bench for the head alone: ten classes on a body's features."""
    def build(seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential([keras.Input((SIZES[body][1],)), keras.layers.Dense(10, activation="softmax", name="head")])
    return networks.Bench(build)


def soften(probabilities, temperature=TEMPERATURE):
    """Return probabilities with their logarithms divided by a temperature."""
    return keras.ops.softmax(keras.ops.log(keras.ops.maximum(probabilities, 1e-7)) / temperature)


def distillation_loss(answers, predicted):
    """Return half the cross-entropy with the labels and half, times T², that with the teacher's softened answers.

    Hinton, Vinyals and Dean (2015), section 2. ``answers``: for each image ten label columns (one is 1), then the
    teacher's ten probabilities; ``predicted``: the pupil's ten probabilities.
    """
    labels, taught = answers[:, :10], soften(answers[:, 10:])
    hard = keras.losses.categorical_crossentropy(labels, predicted)
    return 0.5 * hard + 0.5 * TEMPERATURE**2 * keras.losses.categorical_crossentropy(taught, soften(predicted))


@functools.cache
def soft_pupil():
    model = networks.build_cnn(filters=SIZES["tiny"][0], units=SIZES["tiny"][1], seed=0)
    model.compile(keras.optimizers.Adam(), distillation_loss, steps_per_execution=20)
    return model


@functools.lru_cache(maxsize=4)
def teacher_answers(rate, seed):
    """Return a teacher's weights and its probabilities for the 10,000 training images."""
    x, y = mnist()[:2]
    stream = transfer.SOURCE_STREAM + seed
    model, _ = bench("teacher").train(bench("teacher").fresh(stream), x[:10_000], y[:10_000], 600, rate, stream, batch_size=64)
    return model.get_weights(), model.predict(x[:10_000], batch_size=1000, verbose=0)


def distil(arm, rate, seed, judge, teacher_rate=1e-3):
    """Return the accuracy on "validation" or "test" images and the number of weights; 10,000 labelled images."""
    x, y, x_test, y_test = mnist()
    if arm == "teacher":
        model = bench("teacher").train(teacher_answers(rate, seed)[0], x[:64], y[:64], 1, 0.0, seed)[0]
    elif arm == "labels":
        model, _ = bench("tiny").train(bench("tiny").fresh(seed), x[:10_000], y[:10_000], 600, rate, seed, batch_size=64)
    else:
        model = soft_pupil()
        protocol.restart(model, bench("tiny").fresh(seed), rate, seed)
        answers = np.concatenate([np.eye(10, dtype="float32")[y[:10_000]], teacher_answers(teacher_rate, seed)[1]], axis=1)
        protocol.fit_updates(model, x[:10_000], answers, 600, 64, seed)
    judged = (x[10_000:12_000], y[10_000:12_000]) if judge == "validation" else (x_test, y_test)
    return protocol.accuracy(model, *judged), model.count_params()


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


def shrink_network(seed, updates=800):
    """Return the accuracy by bits, as a Lite model, and by pruned share, at once and retrained, with kilobytes."""
    x, y, x_test, y_test = mnist()
    x, y = x[:10_000], y[:10_000]
    model, _ = bench("small").train(bench("small").fresh(seed), x, y, updates, 1e-3, seed, batch_size=64)
    weights = model.get_weights()
    lite = run_lite(convert(model, quantise=True), x_test).argmax(axis=1) == y_test

    def score(changed):
        model.set_weights(changed)
        return protocol.accuracy(model, x_test, y_test)

    result = {"full": score(weights), "lite": float(lite.mean()), "bits": {str(b): score(round_weights(weights, b)) for b in BITS}}
    result["pruned"] = {}
    for share in SHARES:
        masks = prune(weights, share)
        thin = [w * m for w, m in zip(weights, masks)]
        at_once = score(thin)
        protocol.restart(model, thin, 1e-3, seed)
        for part in range(10):  # the zeros are put back after every 20 updates
            order = protocol.example_order(len(x), 20, 64, 100 * seed + part)
            model.fit(x[order], y[order], batch_size=64, shuffle=False, verbose=0)
            model.set_weights([w * m for w, m in zip(model.get_weights(), masks)])
        packed = sum(len(zlib.compress(w.astype("float32").tobytes(), 9)) for w in model.get_weights())
        result["pruned"][str(share)] = {
            "at once": at_once, "retrained": protocol.accuracy(model, x_test, y_test), "kilobytes": packed / 1024}
    return result


def convert(model, quantise=False):
    """Return a TensorFlow Lite interpreter of a network, and its kilobytes; quantised, its weights have 8 bits."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.kilobytes = len(content) / 1024
    return interpreter


def measure_speed(seed=0):
    """Return kilobytes and milliseconds of four networks, each run in four ways; the rounds take turns."""
    x, y, x_test, y_test = mnist()
    ways, facts = {}, {}
    for name in ("teacher", "small", "tiny", "small, 90 % zeros"):
        filters, units = SIZES[name.split(",")[0]]
        model = networks.compile_classifier(networks.build_cnn(filters=filters, units=units, seed=seed))
        protocol.fit_updates(model, x[:10_000], y[:10_000], 400, 64, seed)
        if name.endswith("zeros"):
            model.set_weights([w * m for w, m in zip(model.get_weights(), prune(model.get_weights(), 0.9))])
        compiled = tf.function(functools.partial(model, training=False), input_signature=[tf.TensorSpec((None, 28, 28, 1))])
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model.keras")
            size = (Path(folder) / "model.keras").stat().st_size / 1024
        ways[name, "Keras predict"] = functools.partial(model.predict, verbose=0)
        ways[name, "compiled function"] = functools.partial(run_compiled, compiled)
        facts[name, "Keras predict"] = facts[name, "compiled function"] = {"kilobytes": size, "weights": model.count_params()}
        for label, quantise in (("TensorFlow Lite", False), ("TensorFlow Lite, 8 bits", True)):
            interpreter = convert(model, quantise)
            ways[name, label] = functools.partial(run_lite, interpreter)
            facts[name, label] = {"kilobytes": interpreter.kilobytes, "weights": model.count_params()}
    times = {(*key, count): [] for key in ways for count in (1, 100)}
    for _ in range(SPEED_ROUNDS + 5):
        for key, way in ways.items():
            for count in (1, 100):
                began = time.perf_counter()
                way(x_test[:count])
                times[*key, count].append(1000 * (time.perf_counter() - began))
    result = {}
    for (name, label), fact in facts.items():
        for summary, function in (("best", min), ("median", np.median)):
            fact = fact | {summary: {str(count): float(function(times[name, label, count][5:])) for count in (1, 100)}}
        result.setdefault(name, {})[label] = fact
    return result


def run_compiled(function, batch):
    return function(batch).numpy()


def run_lite(interpreter, batch):
    """Return a TensorFlow Lite model's answers."""
    place, shape = (interpreter.get_input_details()[0][key] for key in ("index", "shape"))
    if tuple(shape) != batch.shape:
        interpreter.resize_tensor_input(place, batch.shape)
        interpreter.allocate_tensors()
    interpreter.set_tensor(place, np.ascontiguousarray(batch, "float32"))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def run_check():
    """Return the short run that the tests repeat: full fine-tuning and head alone, three seeds, course data."""
    accuracy = {arm: [adapt(arm, 1e-3, seed, "test", "course", 100, 200)[0] for seed in range(3)] for arm in ("full", "head")}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], mnist)
    depends_on = [sys.modules[__name__], networks, protocol, fonts]

    def tune(job):
        kind, arm = job
        way = {"adapt": adapt, "distil": distil}[kind]
        return {"rate": protocol.choose_rate(lambda rate, seed: way(arm, rate, seed, "validation")[0], RATES)[0]}

    arms = [("adapt", arm) for arm in ADAPT_ARMS] + [("distil", arm) for arm in DISTIL_ARMS]
    tuned = evidence.collect("little_compute_rates", tune, arms, depends_on)
    rates = {arm: found["rate"] for arm, found in zip(arms, tuned, strict=True)}

    def run_job(job):
        kind, arm, seed = job
        if kind == "adapt":
            accuracy, trained = adapt(arm, rates[kind, arm], seed, "test")
            return {"value": {"accuracy": accuracy, "trained": trained}}
        if kind == "distil":
            accuracy, weights = distil(arm, rates[kind, arm], seed, "test", rates[kind, "teacher"])
            return {"value": {"accuracy": accuracy, "weights": weights}}
        if kind == "energy":
            return {"value": measure_energy(rates["adapt", "full"], seed)}
        return {"value": compare_probe(arm, seed) if kind == "probe" else shrink_network(seed)}

    kinds = arms + [("energy", "full")] + [("probe", body) for body in BODIES] + [("shrink", "small")]
    jobs = [(*kind, seed) for seed in seeds for kind in kinds]
    runs = evidence.collect("little_compute", run_job, jobs, depends_on)
    speed = evidence.collect("little_compute_speed", lambda job: {"value": measure_speed()}, [0], depends_on)
    found = {job: run["value"] for job, run in zip(jobs, runs, strict=True)}

    def over_seeds(kind, arm, *keys):
        return [functools.reduce(lambda value, key: value[key], keys, found[kind, arm, seed]) for seed in seeds]

    def both(kind, arms, count):
        return {arm: {"accuracy": over_seeds(kind, arm, "accuracy"), count: found[kind, arm, seeds[0]][count]} for arm in arms}

    def shrunk(*keys):
        return over_seeds("shrink", "small", *keys)

    facts = {
        "rates": {f"{kind} {arm}": rate for (kind, arm), rate in rates.items()},
        "adapt": both("adapt", ADAPT_ARMS, "trained"), "energy": over_seeds("energy", "full"),
        "probe": {body: {key: {arm: over_seeds("probe", body, key, arm) for arm in ("fine-tuned", "frozen", "cached", "cached, NumPy")}
                         for key in ("accuracy", "seconds")} for body in BODIES},
        "distil": both("distil", DISTIL_ARMS, "weights"),
        "full": shrunk("full"), "lite": shrunk("lite"), "bits": {str(b): shrunk("bits", str(b)) for b in BITS},
        "pruned": {way: {str(s): shrunk("pruned", str(s), way) for s in SHARES} for way in ("at once", "retrained", "kilobytes")},
        "speed": speed[0]["value"], "speed_rounds": SPEED_ROUNDS, "check": run_check(),
    }
    print(evidence.store("little_compute", "book/evidence/little_compute.py", seeds, [*tuned, *runs, *speed], **facts))


if __name__ == "__main__":
    main()
