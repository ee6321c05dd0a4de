"""The arms of the article's experiment begin as the chapter's table says, and the stored evidence still holds."""

import article
import numpy as np
import pytest
import second_look

from helpers import evidence, transfer


@pytest.fixture(scope="module")
def toy():
    """Four hundred rows whose class can be read off the first ten values."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 400)
    x = rng.normal(0, 0.3, (400, 784)).astype("float32")
    x[np.arange(400), y] += 2
    return x, y, x[:100], y[:100]


@pytest.fixture(scope="module")
def source(toy):
    model = transfer.start("scratch", None, seed=5)
    transfer.train(model, *toy, epochs=3, seed=5)
    return model


def weights(model, layer):
    return np.concatenate([w.ravel() for w in model.get_layer(layer).get_weights()])


def test_network_is_the_articles():
    model = transfer.build_network()
    assert [type(layer).__name__ for layer in model.layers] == ["Dense", "Dropout", "Dense"]
    assert model.count_params() == 784 * 128 + 128 + 128 * 10 + 10
    assert model.get_layer("dropout").rate == 0.2
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("arm", "hidden_copied", "head_copied", "moving"),
    [
        ("scratch", False, False, 4), ("article", True, True, 4), ("hidden", True, False, 4),
        ("frozen", True, False, 2), ("random", False, False, 2),
    ],
)
def test_arm_starts_as_the_table_says(source, arm, hidden_copied, head_copied, moving):
    model, fresh = transfer.start(arm, source, seed=1), transfer.start("scratch", source, seed=1)
    expected_hidden = source if hidden_copied else fresh
    expected_head = source if head_copied else fresh
    assert (weights(model, "hidden") == weights(expected_hidden, "hidden")).all()
    assert (weights(model, "head") == weights(expected_head, "head")).all()
    assert len(model.trainable_variables) == moving


def test_arms_are_all_known():
    with pytest.raises(ValueError, match="arm must be one of 'scratch', .*, not 'head'"):
        transfer.start("head", None, seed=0)


@pytest.mark.parametrize("arm", ["frozen", "random"])
def test_a_frozen_layer_does_not_move_and_the_head_does(toy, source, arm):
    model = transfer.start(arm, source, seed=2)
    hidden, head = weights(model, "hidden"), weights(model, "head")
    transfer.train(model, *toy, epochs=1)
    assert (weights(model, "hidden") == hidden).all() and (weights(model, "head") != head).any()


def test_fine_tuning_leaves_the_source_alone(toy, source):
    before = weights(source, "hidden").copy()
    model = transfer.start("article", source, seed=3)
    transfer.train(model, *toy, epochs=1)
    assert (weights(source, "hidden") == before).all() and (weights(model, "hidden") != before).any()


def test_equal_seeds_give_equal_runs_and_others_do_not(toy):
    first, same, other = (transfer.train(transfer.start("scratch", None, s), *toy, epochs=2, seed=s) for s in (7, 7, 8))
    assert first == same and first != other


def test_the_record_starts_before_training_and_the_callback_sees_each_epoch(toy):
    seen = []
    record = transfer.train(transfer.start("scratch", None, 0), *toy, epochs=2, after_epoch=seen.append)
    assert seen == [0, 1, 2] and len(record["loss"]) == len(record["accuracy"]) == 3
    assert record["loss"][2] < record["loss"][0]


def test_stored_evidence_has_paired_seeds_and_says_where_it_comes_from():
    stored = evidence.load("article")
    count = len(stored["seeds"])
    assert count >= 10 and stored["seconds"] > 0 and {"tensorflow", "keras", "numpy"} <= set(stored["versions"])
    assert set(stored["full"]) == set(transfer.ARMS)
    for arm, record in stored["full"].items():
        assert np.shape(record["accuracy"]) == (count, 11 if arm == "scratch" else 6)
    for arms in stored["few"].values():
        assert {len(scores) for scores in arms.values()} == {count}


@pytest.mark.parametrize("script", [article, second_look], ids=lambda module: module.__name__)
def test_a_cheap_part_of_the_evidence_still_comes_out_the_same(script):
    """The gap between two arms over three seeds keeps its sign, and its size within the stated tolerance."""
    stored = evidence.load(script.__name__)["check"]
    first, second = stored["accuracy"].values()
    again, again_second = script.run_check()["accuracy"].values()
    before, now = np.mean(first) - np.mean(second), np.mean(again) - np.mean(again_second)
    assert np.sign(now) == np.sign(before) and now == pytest.approx(before, abs=stored["tolerance"])
    assert np.mean(again) == pytest.approx(np.mean(first), abs=stored["tolerance"])


def test_a_new_head_is_not_the_head_with_which_the_source_began(toy):
    source, _ = transfer.pretrain(*toy, epochs=0, seed=4)
    for arm in ("hidden", "frozen"):
        assert (weights(transfer.start(arm, source, seed=4), "head")[:1280] != weights(source, "head")[:1280]).all()


def test_the_arms_of_the_second_look_start_as_described(toy):
    source, _ = transfer.pretrain(*toy, epochs=2, seed=1)
    untrained, _ = transfer.pretrain(*toy, epochs=0, seed=1)

    def begin(arm):
        return second_look.start(arm, source, toy[0], seed=1)

    assert (weights(begin("first head"), "head") == weights(untrained, "head")).all()
    assert (weights(begin("first head"), "hidden") == weights(source, "hidden")).all()
    quiet, fresh = begin("frozen quiet"), begin("random")
    loud = [second_look.activity(model.get_layer("hidden").get_weights(), toy[0]) for model in (quiet, fresh)]
    assert loud[0] == pytest.approx(loud[1], rel=1e-4)
    ratio = quiet.get_layer("hidden").get_weights()[0] / source.get_layer("hidden").get_weights()[0]
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-4) and len(quiet.trainable_variables) == 2


def test_collecting_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "CACHE", tmp_path)
    asked = []

    def run(seed):
        asked.append(seed)
        if seed == 2 and asked.count(2) == 1:
            raise KeyboardInterrupt
        return {"value": seed / 3}

    with pytest.raises(KeyboardInterrupt):
        evidence.collect("toy", run, range(4), [transfer.train])
    runs = evidence.collect("toy", run, range(4), [transfer.train])
    assert asked == [0, 1, 2, 2, 3] and [r["value"] for r in runs] == [0, 1 / 3, 2 / 3, 1]
    evidence.collect("toy", run, range(4), [transfer.start])  # another dependency: all anew
    assert asked[5:] == [0, 1, 2, 3]


def test_a_stored_result_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path)
    evidence.store("toy", "book/evidence/toy.py", range(2), [{"seconds": 1.2}, {"seconds": 2.5}], score=[1 / 3])
    loaded = evidence.load("toy")
    assert loaded["seconds"] == 4 and loaded["score"] == [0.33333] and loaded["versions"]["python"]


def test_unknown_evidence_names_what_there_is():
    with pytest.raises(ValueError, match="no stored result 'nothing'; there are 'article', "):
        evidence.load("nothing")
