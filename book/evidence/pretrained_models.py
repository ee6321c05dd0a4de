"""Networks that others have trained, on small tasks with pictures, sentences and spoken words: chapter 12's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/pretrained_models.py

``tasks``: by task (``COUNTS``), arm and labels a class, test accuracies, lists over seeds. Arms: ``pretrained``, a probe
(logistic regression) on the features of a network that others have trained; ``random``, the same network with fresh weights,
new ones for each seed; ``raw``, a probe on the inputs themselves (pixels, counts of words, mean spectra); ``scratch``, a
small network of its own. ``elsewhere``: the same classifiers on examples of another origin: emoji in Google's style, sentences
about films. ``prepared``: emoji, 20 labels a class, pretrained features of wrongly prepared pictures. ``tuning``: emoji, 20
labels a class, 96 pixels, by way: ``probe``; ``fine-tuned``, a new head first, then every layer but batch normalisation, which
is frozen and so in inference mode; ``moving statistics``, the same, but with batch normalisation trained, in training mode. ``milliseconds``: of one
example through each network, on one thread. ``settings``: strength of the probes and learning rates, chosen on validation
examples at ``TUNED_AT``; ``check``: a short run that the tests repeat.
"""

import functools
import sys
import time

import arguments
import numpy as np

from helpers import data, evidence, networks, pretrained, protocol, samples

COUNTS = {"emoji": (1, 5, 20, 60), "clothes": (1, 5, 20, 100), "sentences": (5, 20, 50, 200), "what": (1, 2, 5, 10), "who": (1, 2, 5, 10)}
TUNED_AT = {"emoji": 20, "clothes": 20, "sentences": 50, "what": 5, "who": 5}
ARMS = ("pretrained", "random", "raw", "scratch")
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
RATES = (3e-4, 1e-3, 3e-3)
UPDATES, BATCH, HELD_OUT, CHECK_TOLERANCE = 300, 32, 60, 0.08
SIZE, CLOTHES_SIZE = 128, 96
WRONG = {"0 to 1": lambda x: pretrained.resize(x, SIZE) / 255, "0 to 255": lambda x: pretrained.resize(x, SIZE),
         "colours swapped": lambda x: pretrained.prepare_lite0(x[..., ::-1], SIZE),
         "64 pixels": lambda x: pretrained.prepare_lite0(x, 64), "right": lambda x: pretrained.prepare_lite0(x, SIZE)}
TUNING_UPDATES, TUNING_SIZE = 30, 96
WAYS = ("probe", "fine-tuned", "moving statistics")


@functools.cache
def examples(task):
    """Return the labelled inputs of a task: x and y of pool, test and, where there is one, of another origin."""
    if task in ("emoji", "sentences"):
        found = samples.load(task)
        return {part: (found[f"x_{name}"], found[f"y_{name}"].astype(int))
                for part, name in (("pool", "train"), ("test", "test"), ("elsewhere", "other"))}
    if task == "clothes":
        found = data.load("fashion_mnist")
        return {"pool": (found.x_train[:2600], found.y_train[:2600].astype(int)), "test": (found.x_test[:1000], found.y_test[:1000].astype(int))}
    found = samples.load("speech")
    what = found["x_what"], found["frames_what"], found["word_what"], found["voice_what"]
    if task == "what":  # which word, in voices that were not heard in training
        new = what[3] >= 25
        return {part: (list(zip(what[0][rows], what[1][rows], strict=True)), what[2][rows].astype(int))
                for part, rows in (("pool", ~new), ("test", new))}
    heard = what[3] < 10  # which voice, in words that were not heard in training
    return {"pool": (list(zip(found["x_who"], found["frames_who"], strict=True)), found["voice_who"].astype(int)),
            "test": (list(zip(what[0][heard], what[1][heard], strict=True)), what[3][heard].astype(int))}


def network_of(task, seed=None):
    """Return the trained network of a task's kind, or one with fresh weights, and what it takes for the task's examples."""
    if task in ("emoji", "clothes"):
        size = SIZE if task == "emoji" else CLOTHES_SIZE
        model = pretrained.load_lite0(size) if seed is None else pretrained.build_lite0(size, seed=seed)
        return model, lambda x: pretrained.prepare_lite0(np.repeat(x[..., None], 3, axis=-1) if x.ndim == 3 else x, size)
    if task == "sentences":
        return pretrained.load_minilm() if seed is None else pretrained.build_minilm(seed=seed), pretrained.load_pieces().encode
    return (pretrained.load_voice() if seed is None else pretrained.build_voice(seed=seed)), hear


def hear(words):
    return pretrained.prepare_voice(*map(np.array, zip(*words, strict=True)))


@functools.lru_cache(maxsize=8)
def features(task, seed=None):
    """Return the features of all examples of a task, by part; of the trained network, or of a fresh one."""
    model, prepare = network_of(task, seed)
    return {part: pretrained.features(model, prepare(x)) for part, (x, _) in examples(task).items()}


@functools.cache
def raw(task):
    """Return the inputs themselves as rows of numbers: pixels, weighted counts of words, or loudness by pitch."""
    parts = examples(task)
    if task == "sentences":
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = TfidfVectorizer(sublinear_tf=True).fit(parts["pool"][0])  # the words that occur, without their labels
        return {part: words.transform(x).toarray() for part, (x, _) in parts.items()}
    if task in ("what", "who"):  # each word stretched to sixteen steps of time
        return {part: np.stack([code[np.linspace(0, n - 1, 16).round().astype(int)].ravel() / 255 for code, n in x])
                for part, (x, _) in parts.items()}
    return {part: x.reshape(len(x), -1) / 255 for part, (x, _) in parts.items()}


def probe(rows, strength):
    """Return a probe trained on rows of features: logistic regression after centring, with one scale for all features.

    One scale, because fresh networks give tiny features, and because a scale for each would blow up those that never vary.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = rows
    middle, scale = x.mean(axis=0), x.std() or 1.0
    fitted = LogisticRegression(C=strength, max_iter=2000).fit((x - middle) / scale, y)
    return lambda x, y: float((fitted.predict((x - middle) / scale) == y).mean())


@functools.cache
def small_inputs(task):
    """Return what a network of one's own takes: pictures of 64 or 28 pixels, numbers of words, or spectra."""
    parts = examples(task)
    if task == "sentences":
        import keras

        words = keras.layers.TextVectorization(max_tokens=5000, output_sequence_length=32)
        words.adapt(parts["pool"][0].astype(str))
        return {part: np.asarray(words(x.astype(str))) for part, (x, _) in parts.items()}
    if task in ("what", "who"):
        return {part: np.stack([code for code, _ in x])[..., None].astype("float32") / 255 for part, (x, _) in parts.items()}
    return {part: (x if x.ndim == 4 else x[..., None]).astype("float32") / 255 for part, (x, _) in parts.items()}


@functools.cache
def bench(task):
    inputs = small_inputs(task)["pool"]
    classes = int(examples(task)["pool"][1].max()) + 1
    if task != "sentences":
        return networks.Bench(lambda seed: networks.build_cnn(inputs.shape[1:], classes, seed=seed))

    def build(seed):
        import keras
        from keras import layers

        keras.utils.set_random_seed(seed)
        return keras.Sequential([keras.Input((32,), dtype="int32"), layers.Embedding(5000, 32, mask_zero=True),
                                 layers.GlobalAveragePooling1D(), layers.Dense(32, activation="relu"), layers.Dense(2, activation="softmax")])

    return networks.Bench(build)


def run_arm(task, arm, count, setting, seed, validate=False, updates=UPDATES):
    """Return accuracies by part (``test``, ``elsewhere``), or on held-out examples of the pool."""
    y = {part: labels for part, (_, labels) in examples(task).items()}
    chosen, held_out = protocol.split_labels(y["pool"], count, HELD_OUT, seed)
    if arm == "scratch":
        x = small_inputs(task)
        model, _ = bench(task).train(bench(task).fresh(seed), x["pool"][chosen], y["pool"][chosen], updates, setting, seed, batch_size=BATCH)

        def score(x, y):
            return protocol.accuracy(model, x, y)
    else:
        x = raw(task) if arm == "raw" else features(task, seed if arm == "random" else None)
        score = probe((x["pool"][chosen], y["pool"][chosen]), setting)
    if validate:
        return score(x["pool"][held_out], y["pool"][held_out])
    return {part: score(x[part], y[part]) for part in y if part != "pool"}


def tune_arm(job):
    """Return the setting with the best validation score, over the same tuning seeds for each arm of a task."""
    task, arm = job
    return {"setting": protocol.choose_rate(lambda setting, seed: run_arm(task, arm, TUNED_AT[task], setting, seed, validate=True),
                                            RATES if arm == "scratch" else STRENGTHS, protocol.TUNING_SEEDS)[0]}


@functools.cache
def wrongly_prepared(kind):
    model, parts = pretrained.load_lite0(64 if kind == "64 pixels" else SIZE), examples("emoji")
    return {part: pretrained.features(model, WRONG[kind](parts[part][0])) for part in ("pool", "test")}


def run_prepared(kind, strength, seed):
    y = {part: labels for part, (_, labels) in examples("emoji").items()}
    chosen, _ = protocol.split_labels(y["pool"], 20, HELD_OUT, seed)
    x = wrongly_prepared(kind)
    return {"test": probe((x["pool"][chosen], y["pool"][chosen]), strength)(x["test"], y["test"])}


@functools.cache
def tuned_network(moving):
    """Return Lite0 with a head of four classes, and its weights; unless ``moving``, batch normalisation is frozen.

    Not by ``training=False`` in the call of the body: ``fit`` of Keras 3 overrides it.
    """
    import keras

    body = pretrained.load_lite0(TUNING_SIZE)
    for layer in body.layers:
        layer.trainable = moving or not isinstance(layer, keras.layers.BatchNormalization)
    model = keras.Sequential([keras.Input(body.input_shape[1:]), body, keras.layers.Dense(4, activation="softmax", name="head")])
    return networks.compile_classifier(model, 1e-3, 1), model.get_weights()


@functools.cache
def tuning_inputs():
    parts = examples("emoji")
    model = pretrained.load_lite0(TUNING_SIZE)
    images = {part: pretrained.prepare_lite0(parts[part][0], TUNING_SIZE) for part in ("pool", "test")}
    return images, {part: pretrained.features(model, x) for part, x in images.items()}


def run_tuning(way, setting, seed, validate=False):
    """Return the accuracy of a probe (``setting`` its strength), or of fine-tuning after it (``setting`` its learning rate)."""
    from sklearn.linear_model import LogisticRegression

    y = {part: labels for part, (_, labels) in examples("emoji").items()}
    chosen, held_out = protocol.split_labels(y["pool"], 20, HELD_OUT, seed)
    images, rows = tuning_inputs()
    part, places = ("pool", held_out) if validate else ("test", slice(None))
    if way == "probe":
        return {"test": probe((rows["pool"][chosen], y["pool"][chosen]), setting)(rows[part][places], y[part][places])}
    head = LogisticRegression(C=0.01, max_iter=2000).fit(rows["pool"][chosen], y["pool"][chosen])
    model, start = tuned_network(way == "moving statistics")
    protocol.restart(model, [*start[:-2], head.coef_.T.astype("float32"), head.intercept_.astype("float32")], setting, seed)
    protocol.fit_updates(model, images["pool"][chosen], y["pool"][chosen], TUNING_UPDATES, 16, seed)
    return {"test": float((model.predict(images[part][places], batch_size=50, verbose=0).argmax(axis=1) == y[part][places]).mean())}


def tune_way(way):
    choices = STRENGTHS if way == "probe" else (1e-5, 1e-4, 1e-3)
    seeds = protocol.TUNING_SEEDS[:2]
    return {"setting": protocol.choose_rate(lambda setting, seed: run_tuning(way, setting, seed, validate=True)["test"], choices, seeds)[0]}


def measure_speed(task):
    """Return the milliseconds of one example, the median of five passes over fifty."""
    model, prepare = network_of(task)
    x = prepare(examples(task)["test"][0][:50])
    model.predict(x, batch_size=50, verbose=0)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        model.predict(x, batch_size=50, verbose=0)
        times.append((time.perf_counter() - began) * 1000 / 50)
    return {"milliseconds": float(np.median(times))}


def run_check():
    """Return the short run that the tests repeat: twenty sentences a class, three seeds, trained features and words."""
    accuracy = {arm: [run_arm("sentences", arm, 20, 1.0, seed)["test"] for seed in range(3)] for arm in ("pretrained", "raw")}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    seeds = arguments.read_seeds(sys.modules[__name__], lambda: [network_of(task) for task in COUNTS])
    depends_on = [sys.modules[__name__], networks, pretrained, protocol, samples]

    pairs = [(task, arm) for task in COUNTS for arm in ARMS]
    tuned = evidence.collect("pretrained_models_settings", tune_arm, pairs, depends_on)
    settings = {pair: found["setting"] for pair, found in zip(pairs, tuned, strict=True)}
    jobs = [(task, arm, seed, count) for task, arm in pairs for seed in seeds for count in COUNTS[task]]
    runs = evidence.collect("pretrained_models", lambda job: run_arm(job[0], job[1], job[3], settings[job[:2]], job[2]), jobs, depends_on)
    found = dict(zip(jobs, runs, strict=True))

    strength = settings["emoji", "pretrained"]
    wrong_jobs = [(kind, seed) for kind in WRONG for seed in seeds]
    wrong = evidence.collect("pretrained_models_prepared", lambda job: run_prepared(job[0], strength, job[1]), wrong_jobs, depends_on)
    by_kind = dict(zip(wrong_jobs, wrong, strict=True))

    ways = evidence.collect("pretrained_models_ways", tune_way, list(WAYS), depends_on)
    rates = {way: made["setting"] for way, made in zip(WAYS, ways, strict=True)}
    way_jobs = [(way, seed) for way in WAYS for seed in seeds]
    tuning = evidence.collect("pretrained_models_tuning", lambda job: run_tuning(job[0], rates[job[0]], job[1]), way_jobs, depends_on)
    by_way = dict(zip(way_jobs, tuning, strict=True))
    speed = evidence.collect("pretrained_models_speed", measure_speed, ["emoji", "sentences", "what"], depends_on)

    def scores(task, part):
        return {arm: {str(n): [found[task, arm, seed, n][part] for seed in seeds] for n in COUNTS[task]} for arm in ARMS}

    facts = {
        "settings": {" ".join(pair): setting for pair, setting in settings.items()} | rates,
        "tasks": {task: scores(task, "test") for task in COUNTS},
        "elsewhere": {task: scores(task, "elsewhere") for task in ("emoji", "sentences")},
        "prepared": {kind: [by_kind[kind, seed]["test"] for seed in seeds] for kind in WRONG},
        "tuning": {way: [by_way[way, seed]["test"] for seed in seeds] for way in WAYS},
        "milliseconds": {name: made["milliseconds"] for name, made in zip(("pictures", "sentences", "voices"), speed, strict=True)},
        "check": run_check(),
    }
    print(evidence.store("pretrained_models", "book/evidence/pretrained_models.py", seeds, [*tuned, *runs, *wrong, *ways, *tuning, *speed], **facts))


if __name__ == "__main__":
    main()
