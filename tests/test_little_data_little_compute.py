"""Chapter 11: what its text writes out and what its evidence scripts do, against hand-made and independent results."""

import importlib

import keras
import numpy as np
import pytest
from chapter_code import chapter_functions
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import evidence, networks, protocol, similarity

CHAPTER = chapter_functions("11_little_data_little_compute", np=np, ndimage=ndimage, similarity=similarity)
data_script, compute_script = (importlib.import_module(name) for name in ("little_data", "little_compute"))


def probabilities(rng, rows):
    p = rng.random((rows, 10)) ** 3 + 1e-3
    return (p / p.sum(axis=1, keepdims=True)).astype("float32")


class TestAlteredCopies:
    def test_strength_zero_changes_nothing(self):
        image = np.random.default_rng(0).random((28, 28)).astype("float32")
        assert np.allclose(CHAPTER["alter"](image, 0, np.random.default_rng(1)), image, atol=1e-6)

    def test_a_dot_in_the_middle_moves_by_at_most_the_shift(self):
        image = np.zeros((28, 28), "float32")
        image[13:15, 13:15] = 1
        centres = [ndimage.center_of_mass(CHAPTER["alter"](image, 1, np.random.default_rng(seed))) for seed in range(40)]
        away = np.abs(np.array(centres) - 13.5)
        assert away.max() < 2.5 and away.max() > 1.2, "two pixels, and a little for turn and zoom"


class TestProbe:
    def test_cross_validation_agrees_with_scikit_learn(self):
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(4), 10)
        rows = rng.normal(size=(40, 6)) + labels[:, None] * 0.8
        order = rng.permutation(40)
        ours = CHAPTER["cross_probe"](rows[order], labels[order])
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        theirs = cross_val_score(probe, rows[order], labels[order], cv=StratifiedKFold(5)).mean()
        assert ours == pytest.approx(theirs, abs=0.08) and ours > 0.4, "other folds, the same measure"

    def test_each_fold_holds_equally_many_of_each_class(self, monkeypatch):
        seen = []
        monkeypatch.setattr(similarity, "linear_probe", lambda x, y, far, judged: seen.append((len(y), sorted(judged))) or 1.0)
        labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), 5))
        assert CHAPTER["cross_probe"](np.zeros((15, 2)), labels) == 1.0
        assert seen == [(12, [0, 1, 2])] * 5


class TestSmallerNumbers:
    def test_eight_bits_by_hand(self):
        whole, scale = CHAPTER["to_int8"](np.array([[-2.54, 0.0, 0.03, 1.27]]))
        assert whole.dtype == np.int8 and whole.tolist() == [[-127, 0, 2, 64]] and scale == pytest.approx(0.02)

    def test_the_chapter_and_the_script_round_and_prune_alike(self):
        weights = networks.build_cnn(seed=0).get_weights()
        for bits in (8, 3):
            for a, b in zip(CHAPTER["quantise"](weights, bits), compute_script.round_weights(weights, bits), strict=True):
                assert np.array_equal(a, b) and (a.ndim == 1 or len(np.unique(a)) <= 2**bits)
        thin = CHAPTER["prune"](weights, 0.9)
        for a, w, mask in zip(thin, weights, compute_script.prune(weights, 0.9), strict=True):
            assert np.array_equal(a, w * mask)
        zeros = sum((w == 0).sum() for w in thin if w.ndim > 1) / sum(w.size for w in thin if w.ndim > 1)
        assert zeros == pytest.approx(0.9, abs=0.001)
        assert all(mask.all() for mask in compute_script.prune(weights, 0.0))

    def test_softened_answers_are_a_softmax_of_divided_logarithms(self):
        p = probabilities(np.random.default_rng(0), 20)
        expected = np.exp(np.log(p) / 3)
        expected /= expected.sum(axis=1, keepdims=True)
        assert np.allclose(CHAPTER["soften"](p, 3), expected, atol=1e-6)
        assert np.allclose(compute_script.soften(p, 3), expected, atol=1e-6)


class TestTheTensorFlowLiteModel:
    @pytest.mark.filterwarnings("ignore")
    def test_it_answers_as_the_network_and_has_a_quarter_of_the_size_in_eight_bits(self, capfd):
        model = networks.build_cnn(seed=0)
        x = np.random.default_rng(0).random((5, 28, 28, 1)).astype("float32")
        plain, small = compute_script.convert(model), compute_script.convert(model, quantise=True)
        exact = model(x).numpy()
        for batch in (x, x[:1], x[:3]):
            assert np.allclose(compute_script.run_lite(plain, batch), exact[: len(batch)], atol=1e-4)
        rounded = compute_script.run_lite(small, x)
        assert np.abs(rounded - exact).max() < 0.02 and (rounded != exact).any()
        assert 3 < plain.kilobytes / small.kilobytes < 4.5


def test_the_distillation_loss_by_hand():
    rng = np.random.default_rng(0)
    teacher, pupil, labels = probabilities(rng, 6), probabilities(rng, 6), rng.integers(0, 10, 6)
    t = compute_script.TEMPERATURE

    def softened(p):
        powers = p ** (1 / t)
        return powers / powers.sum(axis=1, keepdims=True)

    hard = -np.log(pupil[np.arange(6), labels])
    soft = -(softened(teacher) * np.log(softened(pupil))).sum(axis=1)
    answers = np.concatenate([np.eye(10, dtype="float32")[labels], teacher], axis=1)
    found = np.array(compute_script.distillation_loss(answers, pupil))
    assert np.allclose(found, 0.5 * hard + 0.5 * t**2 * soft, atol=1e-3)


def test_the_head_in_numpy_is_the_head_in_keras():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 64)).astype("float32"), rng.integers(0, 10, 60)
    start = compute_script.head("small").fresh(3)
    model, _ = compute_script.head("small").train(start, x, y, 40, 1e-2, 5)
    w, b = compute_script.fit_head(*start, x, y, 40, 1e-2, 5)
    assert np.allclose(w, model.get_weights()[0], atol=1e-3) and np.allclose(b, model.get_weights()[1], atol=1e-3)
    assert np.abs(w - start[0]).max() > 0.05, "something was learned"


class TestSelfTraining:
    def test_without_a_sure_name_nothing_is_learned(self, monkeypatch):
        monkeypatch.setattr(data_script, "SURE", 1.5)
        monkeypatch.setattr(data_script, "UNLABELLED", 200)
        plain = data_script.run_arm("plain", 3, 1e-3, 0, "course", 20)
        assert data_script.run_arm("self-trained", 3, 1e-3, 0, "course", 20) == {"kept": 0.0, "wrong": 0.0} | plain

    def test_half_of_each_batch_has_true_labels_and_the_other_the_given_names(self, monkeypatch):
        seen = {}
        monkeypatch.setattr(keras.Model, "fit", lambda self, x, y, **settings: seen.update(x=x, y=y, **settings))
        monkeypatch.setattr(protocol, "restart", lambda model, *rest: None)
        x, y = data_script.examples("course")[:2]
        model = networks.compile_classifier(networks.build_cnn(seed=0))
        chosen, others, wrong = np.arange(10), np.arange(50, 90), np.full(40, 3)
        data_script.train_itself(model, chosen, others, wrong, 0, "course", updates=4)
        batches = seen["y"].reshape(4, 32)
        assert (batches[:, 16:] == 3).all() and seen["batch_size"] == 32 and seen["shuffle"] is False
        own = seen["x"].reshape(4, 32, 28, 28)[:, :16].reshape(-1, 28, 28)
        place = [int(np.flatnonzero((x[chosen, :, :, 0] == image).all(axis=(1, 2)))[0]) for image in own]
        assert (batches[:, :16].ravel() == y[chosen][place]).all()

    def test_the_truth_has_no_wrong_names(self):
        assert "told the truth" in data_script.ARMS
        found = data_script.run_arm("told the truth", 5, 3e-3, 0, "course", 30)
        assert found["wrong"] == 0 and 0 < found["kept"] < 1


def test_the_stored_shares_fit_the_accuracies():
    """Names above the threshold are right more often than all names, as far as the stored means can tell."""
    little = evidence.load("little_data")
    for count, wrong in little["wrong"].items():
        assert np.mean(wrong) < 1 - np.mean(little["self-training"]["plain"][count]) + 0.02
    assert np.mean(little["kept"]["50"]) > np.mean(little["kept"]["1"])
