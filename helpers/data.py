"""The image data sets of the course: small copies inside the package, the full sets on request."""

import dataclasses
import functools
import gzip
import hashlib
import io
import json
import os
import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "datasets"
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
}
IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
FULL_COUNTS = {"train": 60_000, "test": 10_000}


@dataclasses.dataclass(frozen=True, repr=False)
class Dataset:
    """Images and labels, split into a training and a test part.

    Attributes
    ----------
    x_train, x_test : numpy.ndarray of uint8, shape (n, 28, 28)
        Grey images; 0 is background, 255 full ink.
    y_train, y_test : numpy.ndarray of uint8, shape (n,)
        Class of each image, 0 to 9.
    class_names : tuple of str
        ``class_names[label]`` is the name of a class.
    name, size : str
        What was asked of :func:`load`.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple
    name: str
    size: str

    def __repr__(self):
        return (
            f"{self.name} ({self.size} size): {len(self.x_train):,} training and {len(self.x_test):,} test images"
            f" of {self.x_train.shape[1]} × {self.x_train.shape[2]}, {self.x_train.dtype},"
            f" {len(self.class_names)} classes"
        )


def load(name, size="course", folder=None):
    """Return a data set, the same one on every machine.

    Parameters
    ----------
    name : {"mnist", "fashion_mnist"}
        Handwritten digits (LeCun et al., 1998) or articles of clothing (Xiao et al., 2017).
    size : {"course", "full"}
        ``"course"``: 10,000 training and 2,000 test images, balanced over the classes, shipped with
        this package and checked against their SHA-256. ``"full"``: all 60,000 and 10,000.
    folder : str or pathlib.Path, optional
        For the full size: a folder with the four original idx files, plain or gzipped, or with a
        subfolder ``mnist`` or ``fashion_mnist`` that holds them. Default: the environment variable
        ``COURSE_DATA_DIR``; without it ``keras.datasets`` downloads the files once.

    Returns
    -------
    Dataset
        Images of uint8 and shape (n, 28, 28), labels of uint8 and shape (n,).

    Raises
    ------
    ValueError
        For a name or size that does not exist, a folder given with the course size, or a file whose
        content is not the expected one (truncated, altered, of another data set).
    FileNotFoundError
        When ``folder`` or one of its files is missing.
    ConnectionError
        When the full set is neither in a folder nor in Keras' cache and can't be downloaded.
    """
    if name not in CLASS_NAMES:
        raise ValueError(f"name must be one of {', '.join(map(repr, CLASS_NAMES))}, not {name!r}.")
    if size not in ("course", "full"):
        raise ValueError(f"size must be 'course' or 'full', not {size!r}.")
    if size == "course":
        if folder is not None:
            raise ValueError("folder goes with size='full'; the course size ships with the package.")
        arrays = _read_course(name)
    else:
        folder = folder or os.environ.get("COURSE_DATA_DIR")
        arrays = _read_idx_folder(name, pathlib.Path(folder)) if folder else _download(name)
    for array in arrays.values():
        array.flags.writeable = False  # the course arrays are shared between calls
    return Dataset(**arrays, class_names=CLASS_NAMES[name], name=name, size=size)


def flatten(images):
    """Return images as rows of numbers between 0 and 1, the form that dense layers take.

    Parameters
    ----------
    images : numpy.ndarray of uint8, shape (n, height, width)

    Returns
    -------
    numpy.ndarray of float32, shape (n, height * width)

    Raises
    ------
    ValueError
        When the images are not three-dimensional, or were scaled already (not uint8).
    """
    images = np.asarray(images)
    if images.ndim != 3:
        raise ValueError(f"images must have shape (n, height, width), not {images.shape}.")
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 from 0 to 255, not {images.dtype}: were they scaled before?")
    return images.reshape(len(images), -1).astype("float32") / 255


def few_per_class(labels, count, rng):
    """Return the positions of ``count`` randomly chosen examples of each class, shuffled.

    Parameters
    ----------
    labels : numpy.ndarray of int, shape (n,)
    count : int
        Examples a class; at least 1.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of int, shape (count * number of classes,)

    Raises
    ------
    ValueError
        When ``count`` is below 1 or a class has fewer examples.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if not 1 <= count <= sizes.min():
        raise ValueError(f"count must be from 1 to {sizes.min()}, the size of the smallest class, not {count}.")
    chosen = [rng.choice(np.flatnonzero(labels == c), count, replace=False) for c in classes]
    return rng.permutation(np.concatenate(chosen))


@functools.cache
def manifest():
    """Return what is known of the shipped files: source, licence, shapes and SHA-256 (a dict by name)."""
    return json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))


@functools.cache
def _read_course(name):
    """Read and check the arrays that ship with the package."""
    path, expected = FOLDER / f"{name}.npz", manifest()[name]["sha256"]
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise ValueError(
            f"{path} is damaged: its SHA-256 is not the one in manifest.json. Reinstall the helpers, or run"
            f" 'git checkout {path.name}' in that folder."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return {key: stored[key] for key in IDX_NAMES}


def _read_idx_folder(name, folder):
    """Read the four original files of a data set from a folder or from its subfolder of that name."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: folder or COURSE_DATA_DIR must name an existing one.")
    if (folder / name).is_dir():
        folder = folder / name
    arrays = {}
    for key, stem in IDX_NAMES.items():
        path = next((p for p in (folder / stem, folder / f"{stem}.gz") if p.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"{folder} has no file {stem} or {stem}.gz: it must hold {name}'s four idx files.")
        count = FULL_COUNTS[key[2:]]
        arrays[key] = read_idx(path, shape=(count, 28, 28) if key.startswith("x") else (count,))
    return arrays


def read_idx(path, shape):
    """Return the array of bytes stored in an idx file.

    The format (LeCun et al., 1998, http://yann.lecun.com/exdb/mnist): two zero bytes, 8 for "unsigned byte", the
    number of dimensions, each dimension as a big-endian 32-bit integer, then the values.

    Parameters
    ----------
    path : pathlib.Path
        A plain or gzipped (``.gz``) file.
    shape : tuple of int
        The shape that it must have.

    Returns
    -------
    numpy.ndarray of uint8

    Raises
    ------
    ValueError
        When the file is no idx file of bytes, has another shape, or is truncated.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is truncated or no gzip file: fetch it again. ({error})") from error
    start = 4 + 4 * len(shape)
    if content[:4] != bytes([0, 0, 8, len(shape)]) or len(content) < start:
        raise ValueError(f"{path} is no idx file with {len(shape)} dimensions of bytes: fetch it again.")
    found = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4"))
    if found != shape:
        raise ValueError(f"{path} holds an array of shape {found}, not {shape}: is it the right file?")
    if len(content) != start + int(np.prod(shape)):
        raise ValueError(f"{path} is truncated or has extra bytes: {len(content)} bytes in all. Fetch it again.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _download(name):
    """Read the full set through Keras, which keeps it in its cache folder."""
    import keras

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
        raise ConnectionError(
            f"The full {name} is not in Keras' cache ({os.path.join(home, 'datasets')}) and could not be downloaded."
            " Connect to the internet once, or set COURSE_DATA_DIR to a folder with the original idx files,"
            f" or use size='course'. ({error})"
        ) from error
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
