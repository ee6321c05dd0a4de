"""The experiments of parts III and IV: their parts do what their texts say, and the stored results still come out."""

import importlib

import numpy as np
import pytest

from helpers import data, evidence, networks, protocol

SCRIPTS = ("what_transfers", "label_efficiency", "source_choice", "self_supervised", "forgetting", "augmentation", "domain_shift",
           "multitask", "little_data", "little_compute", "brains", "scaling", "merging",
           "pretrained_models")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_cheap_part_of_the_evidence_still_comes_out_the_same(name):
    """The gap between two arms over three seeds keeps its sign, and its size within the stated tolerance."""
    stored = evidence.load(name)["check"]
    (one, first), (other, second) = stored["accuracy"].items()
    again = importlib.import_module(name).run_check()["accuracy"]
    before, now = np.mean(first) - np.mean(second), np.mean(again[one]) - np.mean(again[other])
    assert abs(before) > stored["tolerance"] / 4, "the stored gap is too small to be checked"
    assert np.sign(now) == np.sign(before) and now == pytest.approx(before, abs=stored["tolerance"])
    assert np.mean(again[one]) == pytest.approx(np.mean(first), abs=stored["tolerance"])


def arrays(value):
    """Return all lists of numbers in a stored result."""
    if isinstance(value, dict):
        return [found for item in value.values() for found in arrays(item)]
    return [value] if isinstance(value, list) and value and not isinstance(value[0], str) else []


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_result_has_ten_paired_seeds_and_its_origin(name):
    stored = evidence.load(name)
    assert len(stored["seeds"]) >= 10 and stored["seconds"] > 0 and stored["made_by"] == f"book/evidence/{name}.py"
    assert {"tensorflow", "keras", "numpy"} <= set(stored["versions"])
    settings = {"seeds", "versions", "check", "counts", "at", "speed_at", "strengths", "shares", "factors", "speed", "rates", "settings"}
    results = arrays({key: value for key, value in stored.items() if key not in settings})
    assert results and all(len(scores) == len(stored["seeds"]) for scores in results)
    assert all(np.isfinite(np.array(scores, float)).all() for scores in results)


def module(name):
    return importlib.import_module(name)


def test_every_script_has_its_result_and_every_result_its_script():
    from build_notebooks import ROOT

    scripts = {path.stem for path in (ROOT / "book/evidence").glob("*.py")} - {"two_tasks", "arguments"}
    assert {path.stem for path in evidence.FOLDER.glob("*.json")} >= scripts


def test_shuffled_layers_keep_their_numbers_and_lose_their_places():
    weights = networks.build_cnn(seed=0).get_weights()
    shuffled = module("what_transfers").shuffle_layers(weights, seed=1)
    for before, after in zip(weights[::2], shuffled[::2], strict=True):
        assert (np.sort(before.ravel()) == np.sort(after.ravel())).all() and (before != after).any()


def test_the_spoilt_sources_are_spoilt_in_one_way_only():
    script = module("what_transfers")
    x, y = script.source_data("fonts", "plain", 3)
    x_labels, y_labels = script.source_data("fonts", "shuffled labels", 3)
    x_pixels, y_pixels = script.source_data("fonts", "shuffled pixels", 3)
    assert (x == x_labels).all() and (y != y_labels).any() and (np.bincount(y) == np.bincount(y_labels)).all()
    assert (y == y_pixels).all() and (np.sort(x[0].ravel()) == np.sort(x_pixels[0].ravel())).all() and (x != x_pixels).any()


def test_gradual_unfreezing_moves_early_layers_last():
    script = module("what_transfers")
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 28, 28, 1)).astype("float32"), np.arange(40) % 10
    body = networks.build_cnn(seed=9).get_weights()
    head_only = script.train_way("frozen", body, x, y, 1e-3, seed=1, updates=6).get_weights()
    assert all((a == b).all() for a, b in zip(head_only[:6], body[:6])) and (head_only[6] != body[6]).any()
    gradual = script.train_way("gradual", body, x, y, 1e-3, seed=1, updates=6).get_weights()
    moved = [np.abs(gradual[k] - body[k]).max() for k in (0, 2, 4)]
    assert 0 < moved[0] < moved[2] and 0 < moved[1] < moved[2]


def test_shrinking_keeps_the_mean_of_the_inner_square():
    images = data.load("mnist").x_train[:3]
    small = module("label_efficiency").shrink(images)
    assert small.shape == (3, 8, 8, 1) and small.dtype == np.float32
    assert small.mean(axis=(1, 2, 3)) == pytest.approx(images[:, 4:24, 4:24].mean(axis=(1, 2)) / 255, abs=0.01)


def test_shifts_do_what_they_say():
    shifted = module("domain_shift").shifted
    image = np.zeros((1, 28, 28, 1), "float32")
    image[0, 10, 5] = 1
    assert shifted(image, "moved", 3)[0, 13, 8, 0] == 1 and shifted(image, "moved", 0)[0, 10, 5, 0] == 1
    assert shifted(image, "inverted", 1)[0, 10, 5, 0] == 0 and shifted(image, "inverted", 1).sum() == 783
    assert shifted(image, "turned", 90)[0, 22, 10, 0] == pytest.approx(1, abs=1e-3)  # about the centre, 13.5
    noisy = shifted(np.full((1, 28, 28, 1), 0.5, "float32"), "noisy", 0.1)
    assert noisy.std() == pytest.approx(0.1, rel=0.15)


def test_alterations_keep_or_change_what_they_should():
    alter = module("augmentation").alter
    images = networks.as_images(data.load("mnist").x_train[:50])
    rng = np.random.default_rng(0)
    assert alter(images, "none", rng) is images
    mirrored = alter(images, "mirror", np.random.default_rng(0))
    flipped = (mirrored == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 10 < flipped.sum() < 40 and (mirrored[~flipped] == images[~flipped]).all()
    moved = alter(images, "shift", np.random.default_rng(0))
    assert (moved != images).any() and moved.sum() == pytest.approx(images.sum(), rel=0.03)


@pytest.fixture(scope="module")
def both():
    """Two tasks on one body, and toy data for them."""
    import keras

    two = module("two_tasks").TwoTasks(keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="relu")]), (2, 3))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype("float32")
    return two, (x, (x[:, 0] > 0).astype(int)), (x, (x[:, 1] > 0).astype(int) + (x[:, 2] > 0))


def test_the_old_head_is_left_alone_unless_it_is_rehearsed(both):
    two, old, new = both
    start = two.get_weights()
    two.restart(start, 1e-2, 0)
    two.train(new, updates=30, batch_size=20)
    after = two.get_weights()
    assert (after[2] == start[2]).all() and (after[0] != start[0]).any() and (after[4] != start[4]).any()
    two.restart(start, 1e-2, 0)
    two.train(new, old, updates=30, batch_size=20, old_batch=20, old_weight=1.0)
    assert (two.get_weights()[2] != start[2]).any() and two.accuracy(0, *old) > 0.8
    two.restart(start, 1e-2, 0)
    two.train(old, updates=30, batch_size=20, head=0)
    assert (two.get_weights()[4] == start[4]).all()
    two.restart(start, 1e-2, 0)


def test_the_pull_holds_the_weights_at_their_start(both):
    two, _, new = both
    start, distance = two.get_weights(), {}
    for pull in (0.0, 10.0):
        two.restart(start, 1e-2, 0)
        two.train(new, updates=60, batch_size=20, pull=pull)
        distance[pull] = sum(((a - b) ** 2).sum() for a, b in zip(two.get_weights(), start))
    two.restart(start, 1e-2, 0)
    assert distance[10.0] < distance[0.0] / 4


def test_the_low_rank_layer_is_a_dense_layer_with_another_matrix():
    script = module("little_compute")
    layer = script.LowRankDense(5, 2, "relu")
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    layer(x)
    layer.w.assign(np.random.default_rng(1).normal(size=(4, 5)))
    assert np.allclose(layer(x), np.maximum(x @ layer.w.numpy(), 0), atol=1e-5), "at the start nothing is added"
    layer.up.assign(np.ones((2, 5)))
    assert np.allclose(layer(x), np.maximum(x @ (layer.w + layer.down @ layer.up).numpy(), 0), atol=1e-4)
    assert [v.shape for v in layer.trainable_variables] == [(4, 2), (2, 5)]


def test_adapters_start_as_the_pretrained_network():
    """The order in which weights are handed over: with rate 0 the adapted network answers as its source does."""
    script = module("little_compute")
    plain, _ = script.adapt("full", 0.0, 0, "test", "course", 1, 60)
    adapted, trained = script.adapt("rank 4", 0.0, 0, "test", "course", 1, 60)
    assert adapted == pytest.approx(plain, abs=1e-6) and trained == 4 * (784 + 256) + 4 * 512 + 256 * 10 + 10


def test_rounding_and_pruning_by_hand():
    script = module("little_compute")
    w = [np.array([[-1.0, -0.2, 0.1, 1.0]]), np.array([0.7])]
    assert np.allclose(script.round_weights(w, 1)[0], [[-1, -1, 1, 1]]) and script.round_weights(w, 1)[1] == 0.7
    assert [m.tolist() for m in script.prune(w, 0.5)] == [[[True, False, False, True]], [True]]


def test_weights_are_mixed_entry_by_entry():
    mix = module("merging").mix
    first, second = [np.array([1.0, 2.0])], [np.array([3.0, 6.0])]
    assert mix((0.5, first), (0.5, second))[0].tolist() == [2, 4] and mix((2, first), (-1, second))[0].tolist() == [-1, -2]


def test_a_bad_folder_of_full_data_ends_a_script_with_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.setattr("sys.argv", ["shift.py"])
    script = module("domain_shift")
    script.digits.cache_clear()
    with pytest.raises(SystemExit, match="domain_shift.py: There is no folder"):
        script.main()
    assert protocol.TUNING_SEEDS[0] not in range(20), "tuning seeds are never seeds of a comparison"


def test_the_page_on_comparisons_lists_every_result_with_its_seeds_and_minutes():
    from build_notebooks import ROOT

    page = (ROOT / "book/guide/comparing.md").read_text(encoding="utf-8")
    for path in evidence.FOLDER.glob("*.json"):
        stored = evidence.load(path.stem)
        if "seeds" in stored:
            row = f"| `{path.stem}` | {len(stored['seeds'])} | {round(stored['seconds'] / 60)} |"
            assert row in page, f"the table of evidence needs the row: {row} chapter | what it compares |"
