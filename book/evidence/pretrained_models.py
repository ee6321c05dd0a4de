"""Networks that others trained, on pictures, sentences and spoken words: chapter 12's evidence.

    COURSE_DATA_DIR=FOLDER python book/evidence/pretrained_models.py

Needs the extra ``pretrained``. Each case has arms and numbers of labels a class; ``accuracy``: by case, arm and labels, test
accuracies, lists over seeds. Arms: ``pretrained``, a linear probe on the features of a network that others trained (pictures:
EfficientNet-Lite0 at 128 pixels, of ``clothes`` at 96; sentences: MiniLM; words: a network that tells speakers apart);
``random``, the same probe on the same network with fresh weights, three draws of them that the seeds share in turn; ``raw``, the same probe on the
pixels, tf-idf weights or spectra; ``scratch``, a small network trained on the labels alone. Cases: ``emoji``, four kinds of
pictures; ``clothes``, Fashion-MNIST, where no network is trained from scratch; ``sentences``, praise or blame of products;
``what``, ten spoken words in voices that were never heard; ``who``, ten speakers by words that were never heard (there each
seed draws voices or words anew, for the choice of settings too). ``other``: the
accuracy of the same classifiers (with the most labels) on pictures in another style and on sentences about films.
``settings``: penalty strengths and learning rates, chosen on validation examples. ``prepared``: accuracy of the probe on emoji
whose pictures were prepared in other ways than the network expects (``PREPARED``), 20 labels a class. ``tuning``: 20 emoji a
class at 96 pixels, test accuracy of the probe (``probe``) and after ``TUNED_UPDATES`` updates of all weights with
batch-normalisation statistics kept (``kept``) or computed from each batch (``moving``), from the probe's answers as the start.
``milliseconds``: of each network for one example, the best of ten. ``check``: a short run that the tests repeat.
"""

import argparse
import functools
import sys
import time

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from helpers import data, evidence, networks, pretrained, protocol, samples

COUNTS = {"emoji": (2, 20, 80), "clothes": (1, 20, 100), "sentences": (10, 50, 300), "what": (1, 5, 20), "who": (1, 5, 10)}
ARMS = ("pretrained", "random", "raw", "scratch")
TUNED_AT = {"emoji": 20, "clothes": 20, "sentences": 50, "what": 5, "who": 5}
STRENGTHS, RATES, FINE_RATES = (0.001, 0.01, 0.1, 1.0), (3e-4, 1e-3, 3e-3), (3e-5, 1e-4)
UPDATES, TUNED_UPDATES, HEARD, RANDOM_DRAWS = 200, 20, 26, 3
PREPARED = ("as it should be", "values from 0 to 1", "values from 0 to 255", "red and blue swapped", "64 pixels")
OTHERS = ("emoji", "sentences")
CHECK_TOLERANCE = 0.1


@functools.cache
def case_data(case):
    """Return raw training and test examples with labels, and examples and labels of another domain or None."""
    if case == "clothes":
        found = data.load("fashion_mnist", "full")
        return found.x_train[:2600], found.y_train[:2600], found.x_test[:1000], found.y_test[:1000], None, None
    if case in OTHERS:
        found = samples.load(case)
        return tuple(found[f"{part}_{which}"] for which in ("train", "test", "other") for part in "xy")
    return samples.load("speech")


def split_speech(case, seed):
    """Return examples of training and test: other voices (``what``) or other words (``who``), drawn by the seed."""
    found, rng = samples.load("speech"), np.random.default_rng([seed, 7])
    by, label = ("voice", "word") if case == "what" else ("word", "voice")
    groups = rng.permutation(np.unique(found[f"{by}_{case}"]))[: HEARD if case == "what" else 10]
    near = np.isin(found[f"{by}_{case}"], groups)
    return np.flatnonzero(near), np.flatnonzero(~near), found[f"{label}_{case}"]


@functools.lru_cache(maxsize=6)
def network(case, seed):
    """Return a network and what prepares its inputs; trained by others if the seed is None."""
    if case in ("emoji", "clothes"):
        size = 128 if case == "emoji" else 96
        model = pretrained.load_lite0(size) if seed is None else pretrained.build_lite0(size, seed=seed)
        return model, functools.partial(pretrained.prepare_lite0, size=size)
    if case == "sentences":
        return pretrained.load_minilm() if seed is None else pretrained.build_minilm(seed=seed), pretrained.load_pieces().encode
    return pretrained.load_voice() if seed is None else pretrained.build_voice(seed=seed), None


@functools.lru_cache(maxsize=24)
def features(case, arm, seed, part):
    """Return what the probe sees of ``part``: 0 training, 1 test, 2 other domain (speech: 0, all)."""
    if case in ("what", "who"):
        found = samples.load("speech")
        codes, frames = found[f"x_{case}"], found[f"frames_{case}"]
        if arm == "raw":
            return codes.reshape(len(codes), -1) / 100
        return pretrained.features(network(case, None if arm == "pretrained" else seed)[0], pretrained.prepare_voice(codes, frames))
    x = case_data(case)[2 * part]
    if case == "clothes":
        x = x[..., None].repeat(3, axis=-1)
    if arm == "raw":
        return x.reshape(len(x), -1) / 255
    model, prepare = network(case, None if arm == "pretrained" else seed)
    return np.concatenate([pretrained.features(model, prepare(x[first : first + 500])) for first in range(0, len(x), 500)])


def fit_probe(near, labels, strength):
    """Return matrix and bias of logistic regression on features moved to mean 0 and divided by one common scale.

    One scale each, as in :func:`helpers.similarity.linear_probe`, would blow up features that hardly move among few examples.
    """
    mean, scale = near.mean(axis=0), near.std()
    model = LogisticRegression(C=strength, max_iter=500, tol=1e-3).fit((near - mean) / scale, labels)
    w, b = model.coef_.T / scale, model.intercept_
    if w.shape[1] == 1:  # two classes have one score
        w, b = np.concatenate([-w / 2, w / 2], axis=1), np.array([-b[0] / 2, b[0] / 2])
    return w, b - mean @ w


def probe(near, labels, strength, *far):
    """Return predictions for each of ``far``."""
    w, b = fit_probe(near, labels, strength)
    return [(rows @ w + b).argmax(axis=1) for rows in far]


@functools.cache
def small_network(case, classes):
    """Return a bench for the network from scratch, and how it is given its inputs."""
    if case == "sentences":
        import keras

        def build(seed):
            keras.utils.set_random_seed(seed)
            layers = [keras.layers.Embedding(2000, 32, name="words"), keras.layers.GlobalAveragePooling1D(),
                      keras.layers.Dense(32, activation="relu", name="dense"), keras.layers.Dense(classes, activation="softmax", name="head")]
            return keras.Sequential([keras.Input((40,)), *layers])

        return networks.Bench(build)
    shape = (64, 64, 3) if case == "emoji" else (samples.FRAMES, samples.CHANNELS, 1)
    return networks.Bench(lambda seed: networks.build_cnn(shape, classes, seed=seed))


def small_inputs(case, near, *far):
    """Return the inputs of the network from scratch; its words are those of the training sentences, 1 for others, 0 for none."""
    if case != "sentences":
        return [x.reshape(*x.shape[:3], -1).astype("float32") / (255 if case == "emoji" else 100) for x in (near, *far)]
    tokens = TfidfVectorizer().build_analyzer()
    found = [[tokens(text)[:40] for text in x] for x in (near, *far)]
    known = {word: number for number, word in enumerate(sorted({w for text in found[0] for w in text})[:1998], 2)}
    return [np.array([[known.get(w, 1) for w in text] + [0] * (40 - len(text)) for text in x], "float32") for x in found]


def classify(case, arm, count, setting, seed, judge):
    """Return the accuracy on "validation" or "test" examples, and on the other domain (None where there is none)."""
    if case in ("what", "who"):
        pool, test, y = split_speech(case, seed)
        near, held = protocol.split_labels(y[pool], count, 0, seed)[0], test
        if judge == "validation":  # other voices, or words, than in training; none of them is tested with this seed
            near, held = near, test[: len(test) // 2]
        chosen, judged, labels, truth, other = pool[near], [held], y[pool][near], [y[held]], False
        x = samples.load("speech")[f"x_{case}"]
        raw = [x[chosen], x[held]]
        rows = None if arm == "scratch" else features(case, arm, None if arm != "random" else seed % RANDOM_DRAWS, 0)
        seen = None if rows is None else [rows[chosen], rows[held]]
    else:
        x, y, x_test, y_test, x_other, y_other = case_data(case)
        held_out = min(1000, len(y) - count * len(np.unique(y)))
        chosen, held = protocol.split_labels(y, count, held_out, seed)
        other = x_other is not None and judge == "test"
        far = [x[held]] if judge == "validation" else [x_test] + ([x_other] if other else [])
        truth = [y[held]] if judge == "validation" else [y_test] + ([y_other] if other else [])
        labels, raw = y[chosen], [x[chosen], *far]
        if arm == "raw" and case == "sentences":
            words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(x[chosen])
            seen = [words.transform(part).toarray() for part in raw]
        elif arm != "scratch":
            get = functools.partial(features, case, arm, None if arm != "random" else seed % RANDOM_DRAWS)
            seen = [get(0)[chosen]] + ([get(0)[held]] if judge == "validation" else [get(part) for part in ((1, 2) if other else (1,))])
    if arm == "scratch":
        bench = small_network(case, len(np.unique(labels)))
        inputs = small_inputs(case, *raw)
        model, _ = bench.train(bench.fresh(seed), inputs[0], labels, UPDATES, setting, seed)
        answers = [model.predict(part, batch_size=500, verbose=0).argmax(axis=1) for part in inputs[1:]]
    else:
        answers = probe(seen[0], labels, setting, *seen[1:])
    scores = [float((given == true).mean()) for given, true in zip(answers, truth, strict=True)]
    return scores[0], scores[1] if other else None


def score_prepared(way, strength, seed):
    """Return the probe's test accuracy on emoji, 20 labels a class, prepared in another way, in training and test alike."""
    x, y, x_test, y_test, _, _ = case_data("emoji")
    chosen, _ = protocol.split_labels(y, 20, 0, seed)
    near, far = prepared_features(way)
    return float((probe(near[chosen], y[chosen], strength, far)[0] == y_test).mean())


@functools.cache
def prepared_features(way):
    model = pretrained.load_lite0(64) if way == "64 pixels" else network("emoji", None)[0]
    size, found = model.input_shape[1], []
    for x in (case_data("emoji")[0], case_data("emoji")[2]):
        x = x[..., ::-1] if way == "red and blue swapped" else x
        resized = pretrained.resize(x, size)
        inputs = {"values from 0 to 1": resized / 255, "values from 0 to 255": resized}.get(way, (resized - 127) / 128)
        found.append(pretrained.features(model, inputs))
    return found


@functools.cache
def tuned_network(kept):
    """Return Lite0 at 96 pixels under a head of four classes; its batch normalisation keeps its statistics or not."""
    import keras

    body = pretrained.load_lite0(96)
    inputs = keras.Input((96, 96, 3))
    head = keras.layers.Dense(4, activation="softmax", name="head")
    model = keras.Model(inputs, head(body(inputs, training=False) if kept else body(inputs)))
    return networks.compile_classifier(model, steps_per_execution=1), body


def tune(way, strength, seed, rate, judge):
    """Return the accuracy on "validation" or "test" emoji after fine-tuning, or of the probe that it starts from."""
    x, y, x_test, y_test, _, _ = case_data("emoji")
    chosen, held = protocol.split_labels(y, 20, 200, seed)
    model, body = tuned_network(way == "kept")
    far, truth = (x[held], y[held]) if judge == "validation" else (x_test, y_test)
    inputs, far = (pretrained.prepare_lite0(part, 96) for part in (x[chosen], far))
    start = pretrained_start()
    body.set_weights(start)
    w, b = fit_probe(body.predict(inputs, verbose=0), y[chosen], strength)
    protocol.restart(model, [*start, w, b], rate, seed)
    if way != "probe":
        protocol.fit_updates(model, inputs, y[chosen], TUNED_UPDATES, 16, seed)
    return protocol.accuracy(model, far, truth)


@functools.cache
def pretrained_start():
    return pretrained.load_lite0(96).get_weights()


def measure_milliseconds():
    """Return by case the best of ten times that a network takes for one example."""
    inputs = {
        "emoji": pretrained.prepare_lite0(case_data("emoji")[2][:1], 128),
        "sentences": pretrained.load_pieces().encode(case_data("sentences")[2][:1]),
        "what": pretrained.prepare_voice(*(samples.load("speech")[key][:1] for key in ("x_what", "frames_what"))),
    }
    found = {}
    for case, x in inputs.items():
        run, times = network(case, None)[0].predict_on_batch, []
        for _ in range(12):
            began = time.perf_counter()
            run(x)
            times.append(1000 * (time.perf_counter() - began))
        found[case] = min(times[2:])
    return found


def run_check():
    """Return the short run that the tests repeat: five sentences a class, pretrained and raw, three seeds."""
    accuracy = {arm: [classify("sentences", arm, 5, 0.1, seed, "test")[0] for seed in range(3)] for arm in ("pretrained", "raw")}
    return {"tolerance": CHECK_TOLERANCE, "accuracy": accuracy}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of paired seeds (default: 10)")
    seeds = range(parser.parse_args().seeds)
    try:
        case_data("clothes")
        network("sentences", None)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        sys.exit(f"pretrained_models.py: {error}")
    depends_on = [sys.modules[__name__], networks, pretrained, protocol, samples]
    arms = [(case, arm) for case in COUNTS for arm in ARMS if (case, arm) != ("clothes", "scratch")]

    def choose(job):
        case, arm = job
        options = RATES if arm == "scratch" else STRENGTHS
        return {"setting": protocol.choose_rate(lambda s, seed: classify(case, arm, TUNED_AT[case], s, seed, "validation")[0], options)[0]}

    tuned = evidence.collect("pretrained_models_settings", choose, arms, depends_on)
    settings = {arm: found["setting"] for arm, found in zip(arms, tuned, strict=True)}

    def run_job(job):
        case, arm, count, seed = job
        accuracy, other = classify(case, arm, count, settings[case, arm], seed, "test")
        return {"accuracy": accuracy, "other": other}

    jobs = [(case, arm, count, seed) for case, arm in arms for seed in seeds for count in COUNTS[case]]
    runs = evidence.collect("pretrained_models", run_job, jobs, depends_on)
    strength = settings["emoji", "pretrained"]

    def choose_fine(way):
        return {"setting": protocol.choose_rate(lambda r, s: tune(way, strength, s, r, "validation"), FINE_RATES, protocol.TUNING_SEEDS[:1])[0]}

    fine = evidence.collect("pretrained_models_fine", choose_fine, ("kept", "moving"), depends_on)
    rates = {"probe": 0.0} | {way: found["setting"] for way, found in zip(("kept", "moving"), fine, strict=True)}
    more = [(kind, way, seed) for kind, ways in (("prepared", PREPARED), ("tuning", ("probe", "kept", "moving"))) for way in ways for seed in seeds]
    work = {"prepared": lambda w, s: score_prepared(w, strength, s), "tuning": lambda w, s: tune(w, strength, s, rates[w], "test")}
    extra = evidence.collect("pretrained_models_more", lambda job: {"accuracy": work[job[0]](job[1], job[2])}, more, depends_on)
    found = dict(zip(jobs + more, runs + extra, strict=True))

    facts = {"settings": {f"{case} {arm}": setting for (case, arm), setting in settings.items()}, "accuracy": {}, "other": {}}
    for case, arm in arms:
        by_count = {str(n): [found[case, arm, n, seed]["accuracy"] for seed in seeds] for n in COUNTS[case]}
        facts["accuracy"].setdefault(case, {})[arm] = by_count
        if case in OTHERS:
            facts["other"].setdefault(case, {})[arm] = [found[case, arm, COUNTS[case][-1], seed]["other"] for seed in seeds]
    for kind, ways in (("prepared", PREPARED), ("tuning", ("probe", "kept", "moving"))):
        facts[kind] = {way: [found[kind, way, seed]["accuracy"] for seed in seeds] for way in ways}
    facts["settings"] |= {f"tuning {way}": rate for way, rate in rates.items() if rate}
    facts |= {"updates": TUNED_UPDATES, "milliseconds": measure_milliseconds(), "check": run_check()}
    print(evidence.store("pretrained_models", "book/evidence/pretrained_models.py", seeds, [*tuned, *runs, *fine, *extra], **facts))


if __name__ == "__main__":
    main()
