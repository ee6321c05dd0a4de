"""Data sets: the right content, and one clear sentence for each thing that can be wrong."""

import gzip
import hashlib
import json
import os
import pathlib

import make_subsets
import numpy as np
import pytest

from helpers import data

NAMES = sorted(data.CLASS_NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_course_size_is_what_the_docstring_says(name):
    loaded = data.load(name)
    assert loaded.x_train.shape == (10_000, 28, 28) and loaded.x_test.shape == (2_000, 28, 28)
    assert loaded.x_train.dtype == loaded.y_train.dtype == np.uint8
    assert np.bincount(loaded.y_train).tolist() == [1000] * 10
    assert np.bincount(loaded.y_test).tolist() == [200] * 10
    assert loaded.x_train.min() == 0 and loaded.x_train.max() == 255
    assert len(loaded.class_names) == 10
    assert "10,000 training" in repr(loaded)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_are_those_of_the_manifest(name):
    loaded = data.load(name)
    for key, expected in data.manifest()[name]["arrays"].items():
        array = getattr(loaded, key)
        assert hashlib.sha256(array.tobytes()).hexdigest() == expected["sha256"]
        assert [list(array.shape), str(array.dtype)] == [expected["shape"], expected["dtype"]]


@pytest.mark.parametrize("name", NAMES)
def test_no_image_is_in_both_parts(name):
    loaded = data.load(name)
    train = {image.tobytes() for image in loaded.x_train}
    shared = sum(image.tobytes() in train for image in loaded.x_test)
    assert shared == 0, f"{shared} test images are also training images"


def test_shared_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        data.load("mnist").x_train[0] = 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("emnist",), "name must be one of 'mnist', 'fashion_mnist', not 'emnist'"),
        (("mnist", "tiny"), "size must be 'course' or 'full', not 'tiny'"),
        (("mnist", "course", "."), "folder goes with size='full'"),
    ],
)
def test_wrong_arguments_are_named(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        data.load(*arguments)


@pytest.fixture
def copied_package(tmp_path, monkeypatch):
    """The shipped files in a folder of their own, with an empty cache."""
    for path in data.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    data._read_course.cache_clear()
    yield tmp_path
    data._read_course.cache_clear()


def test_a_flipped_byte_is_caught(copied_package):
    path = copied_package / "mnist.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mnist\.npz is damaged.*Reinstall"):
        data.load("mnist")


def test_a_truncated_file_is_caught(copied_package):
    path = copied_package / "fashion_mnist.npz"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"fashion_mnist\.npz is damaged"):
        data.load("fashion_mnist")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def idx_folder(tmp_path, monkeypatch):
    """Four small idx files, two plain and two gzipped, and the counts that go with them."""
    monkeypatch.setattr(data, "FULL_COUNTS", {"train": 6, "test": 4})
    rng = np.random.default_rng(0)
    for key, stem in data.IDX_NAMES.items():
        count = data.FULL_COUNTS[key[2:]]
        shape = (count, 28, 28) if key.startswith("x") else (count,)
        ending = ".gz" if key.endswith("train") else ""
        write_idx(tmp_path / (stem + ending), rng.integers(0, 10, shape).astype(np.uint8))
    return tmp_path


def test_full_size_reads_a_folder_of_idx_files(idx_folder):
    loaded = data.load("mnist", size="full", folder=idx_folder)
    expected = np.random.default_rng(0).integers(0, 10, (6, 28, 28)).astype(np.uint8)
    assert (loaded.x_train == expected).all() and loaded.y_test.shape == (4,) and loaded.size == "full"


def test_full_size_reads_the_subfolder_named_in_the_environment(idx_folder, monkeypatch):
    (idx_folder / "mnist").mkdir()
    for path in list(idx_folder.iterdir()):
        if path.is_file():
            path.rename(idx_folder / "mnist" / path.name)
    monkeypatch.setenv("COURSE_DATA_DIR", str(idx_folder))
    assert data.load("mnist", size="full").x_test.shape == (4, 28, 28)


def test_a_missing_folder_or_file_is_named(idx_folder):
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        data.load("mnist", size="full", folder=idx_folder / "nowhere")
    (idx_folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="has no file t10k-labels-idx1-ubyte or"):
        data.load("mnist", size="full", folder=idx_folder)


@pytest.mark.parametrize(
    ("name", "damage", "complaint"),
    [
        ("t10k-images-idx3-ubyte", lambda b: b[:-7], "is truncated or has extra bytes"),
        ("t10k-images-idx3-ubyte", lambda b: b"\x89PNG" + b[4:], "is no idx file with 3 dimensions"),
        ("t10k-labels-idx1-ubyte", lambda b: b[:4] + bytes([0, 0, 0, 5]) + b[8:], r"of shape \(5,\), not \(4,\)"),
        ("train-labels-idx1-ubyte.gz", lambda b: b[:-9], "is truncated or no gzip file"),
        ("train-labels-idx1-ubyte.gz", lambda b: b"PK" + b[2:], "is truncated or no gzip file"),
    ],
)
def test_a_damaged_idx_file_is_named(idx_folder, name, damage, complaint):
    path = idx_folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=complaint) as error:
        data.load("mnist", size="full", folder=idx_folder)
    assert name in str(error.value)


def test_without_network_the_cache_folder_is_named(monkeypatch, tmp_path):
    import keras

    def fail(*args, **kwargs):
        raise Exception("URL fetch failure")  # what keras.utils.get_file raises

    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with pytest.raises(ConnectionError, match="COURSE_DATA_DIR") as error:
        data.load("mnist", size="full")
    assert str(tmp_path / "datasets") in str(error.value)


def test_full_size_comes_from_keras_where_there_is_a_network(monkeypatch):
    import keras

    images, labels = np.zeros((3, 28, 28), np.uint8), np.arange(3, dtype=np.uint8)
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", lambda: ((images, labels), (images[:1], labels[:1])))
    loaded = data.load("fashion_mnist", size="full")
    assert len(loaded.x_train) == 3 and len(loaded.y_test) == 1


def test_flatten_scales_to_one():
    images = np.array([[[0, 51], [102, 255]]], np.uint8)
    np.testing.assert_allclose(data.flatten(images), [[0, 0.2, 0.4, 1]], rtol=1e-6)
    assert data.flatten(images).dtype == np.float32


@pytest.mark.parametrize(
    ("images", "complaint"),
    [(np.zeros((2, 784), np.uint8), r"not \(2, 784\)"), (np.zeros((2, 28, 28), np.float32), "scaled before")],
)
def test_flatten_refuses_what_was_flat_or_scaled(images, complaint):
    with pytest.raises(ValueError, match=complaint):
        data.flatten(images)


def test_few_per_class_is_balanced_and_repeatable():
    labels = np.repeat(np.arange(3), [5, 9, 7])
    chosen = data.few_per_class(labels, 4, np.random.default_rng(1))
    assert np.bincount(labels[chosen]).tolist() == [4, 4, 4] and len(set(chosen)) == 12
    assert (chosen == data.few_per_class(labels, 4, np.random.default_rng(1))).all()
    for count in (0, 6):
        with pytest.raises(ValueError, match="from 1 to 5"):
            data.few_per_class(labels, count, np.random.default_rng(1))


def test_the_script_reproduces_the_shipped_files_bit_for_bit(tmp_path, monkeypatch):
    folder = os.environ.get("COURSE_DATA_DIR")
    if not folder:
        if os.environ.get("CI"):
            pytest.fail("in CI COURSE_DATA_DIR must name the full data: .ci/run fetches them")
        pytest.skip("needs the full data: set COURSE_DATA_DIR to a folder with mnist/ and fashion_mnist/ idx files")
    monkeypatch.setattr("sys.argv", ["make_subsets.py", folder, "--out", str(tmp_path)])
    make_subsets.main()
    for path in sorted(data.FOLDER.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_every_data_file_states_its_source_and_licence():
    for name in NAMES:
        entry = data.manifest()[name]
        assert entry["licence"] and entry["authors"] and entry["address"].startswith("http")
    stated = {f"{name}.npz" for name in json.loads((data.FOLDER / "manifest.json").read_text(encoding="utf-8"))}
    assert {p.name for p in pathlib.Path(data.FOLDER).glob("*.npz")} == stated
