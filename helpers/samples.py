"""Small samples of pictures, sentences and spoken words, for networks that were trained elsewhere (chapter 12)."""

import functools
import hashlib
import io
import json
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "samples"
NAMES = ("emoji", "sentences", "speech")
KINDS = ("animal or plant", "food or drink", "place or vehicle", "object")
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")  # the core of Speech Commands (Warden, 2018)
FRAMES, CHANNELS = 64, 40  # of a spectrum: hundredths of a second, bands of pitch
RATE, WINDOW, STEP = 16_000, 400, 160  # samples a second; in a window; between two windows
QUIETEST, DECIBELS = -80.0, 0.8  # loudness of code 0, and of a step from one code to the next


@functools.cache
def manifest():
    """Return what is known of the files: source, licence, changes, shapes and SHA-256 (a dict by name)."""
    return json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))


@functools.cache
def load(name):
    """Return a sample as a dict of arrays, the same on every machine.

    Parameters
    ----------
    name : {"emoji", "sentences", "speech"}

    Returns
    -------
    dict of str to numpy.ndarray
        For ``"emoji"``: ``x_train``, ``x_test`` (Twitter's style) and ``x_other`` (the test emoji in Google's style),
        uint8 of shape (n, 64, 64, 3), with ``y_train``, ``y_test``, ``y_other``, positions in :data:`KINDS`.
        For ``"sentences"``: ``x_train``, ``x_test`` (about products) and ``x_other`` (about films), strings, with
        ``y_train``, ``y_test``, ``y_other``: 1 for praise, 0 for blame.
        For ``"speech"``: ``x_what``, uint8 of shape (n, FRAMES, CHANNELS), every word of :data:`WORDS` in forty voices,
        and ``x_who``, twenty more words in the first ten voices; with ``frames``, ``word`` and ``voice`` of each (keys
        such as ``word_what``).

    Raises
    ------
    ValueError
        For a name that does not exist, or a file whose content is not the expected one.
    """
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(map(repr, NAMES))}, not {name!r}.")
    path = FOLDER / f"{name}.npz"
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest()[name]["sha256"]:
        raise ValueError(f"{path} is damaged: its SHA-256 is not the one in manifest.json. Reinstall the helpers.")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored}
    if name == "emoji":
        for part in ("train", "test", "other"):
            palette = arrays.pop(f"palette_{part}")
            codes = arrays[f"x_{part}"]
            arrays[f"x_{part}"] = palette[np.arange(len(codes))[:, None, None], codes]
    elif name == "sentences":
        arrays = {key: array.astype("U") if array.dtype.kind == "S" else array for key, array in arrays.items()}
    for array in arrays.values():
        array.flags.writeable = False  # shared between calls
    return arrays


@functools.cache
def mel_bands():
    """Return how much of each frequency each of the 40 bands takes in, shape (CHANNELS, WINDOW // 2 + 1).

    Triangles that are evenly spaced on the mel scale in Slaney's form (linear to 1,000 Hz, then logarithmic), each of
    area one; they imitate that the ear tells low pitches apart better than high ones.
    """

    def to_mel(hertz):
        return np.where(hertz < 1000, 3 * hertz / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))

    def to_hertz(mel):
        return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))

    edges = to_hertz(np.linspace(0, to_mel(RATE / 2), CHANNELS + 2))
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((frequencies - left) / (middle - left), (right - frequencies) / (right - middle))
    return np.maximum(triangles, 0) * 2 / (right - left)


def mel_power(sound):
    """Return the power in each band, every hundredth of a second.

    Parameters
    ----------
    sound : numpy.ndarray of float, shape (n,)
        Between -1 and 1, 16,000 values a second.

    Returns
    -------
    numpy.ndarray of float, shape (1 + n // STEP, CHANNELS)
    """
    from scipy.signal import get_window

    padded = np.pad(np.asarray(sound, float), WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP]
    power = np.abs(np.fft.rfft(windows * get_window("hann", WINDOW), axis=1)) ** 2
    return power @ mel_bands().T


def spectrum(sound):
    """Return a spoken word as a picture: loudness by time and pitch, in steps of 0.8 decibels.

    Silence before and after is cut away and the volume is set to -30 decibels, as the voice network of chapter 12 expects.

    Parameters
    ----------
    sound : numpy.ndarray of float, shape (n,)
        As for :func:`mel_power`.

    Returns
    -------
    codes : numpy.ndarray of uint8, shape (FRAMES, CHANNELS)
        Zero after the end of the word.
    frames : int
        How many frames the word lasts, at most FRAMES.

    Raises
    ------
    ValueError
        When the sound is silent.
    """
    sound = np.asarray(sound, float)
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max(initial=0))
    if not len(loud):
        raise ValueError("sound must hold something that is not silence.")
    sound = sound[loud[0] : loud[-1] + 1]
    sound = sound * 10 ** (-30 / 20) / np.sqrt((sound**2).mean())
    decibels = 10 * np.log10(np.maximum(mel_power(sound)[:FRAMES], 1e-10))
    steps = np.round((decibels - QUIETEST) / DECIBELS)
    codes = np.zeros((FRAMES, CHANNELS), np.uint8)
    codes[: len(steps)] = np.clip(steps, 0, 255)
    return codes, len(steps)


def power(codes):
    """Return the power that the codes of :func:`spectrum` stand for; code 0 means none.

    Parameters
    ----------
    codes : numpy.ndarray of uint8

    Returns
    -------
    numpy.ndarray of float32
    """
    decibels = QUIETEST + DECIBELS * np.asarray(codes, "float32")
    return np.where(codes == 0, 0, 10 ** (decibels / 10)).astype("float32")
