"""Make the small samples of pictures, sentences and spoken words that chapter 12 learns from.

    python book/tools/make_samples.py FOLDER

FOLDER holds what the package registries give:

    npm pack emoji-datasource-twitter@16.0.0 emoji-datasource-google@16.0.0
    pip download --no-deps --no-binary :all: vaderSentiment==0.5

The words are spoken by espeak-ng 1.51 (a package of Debian), which must be installed. Equal inputs give equal files.
"""

import argparse
import hashlib
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import wave
import zipfile

import numpy as np
from make_subsets import to_npz
from PIL import Image

from helpers import samples

SEED = 20_260_101
KINDS = {"Animals & Nature": "animal or plant", "Food & Drink": "food or drink", "Travel & Places": "place or vehicle", "Objects": "object"}
EMOJI_TRAIN, EMOJI_TEST, EMOJI_COLOURS = 90, 30, 32
SENTENCES_TRAIN, SENTENCES_TEST = 350, 150
VOICES = (
    "Alex Alicia Andrea Andy Annie antonio aunty belinda benjamin boris caleb david Denis Diogo ed edward edward2 f1 f2"
    " f3 f4 f5 Gene Gene2 gustave Henrique iven iven2 Jacky linda m1 m3 m7 Marco michel miguel pablo steph Storm zac"
).split()
HEARD = 26  # so many of the shuffled voices may be used for training
SPEAKERS = 10  # so many of those say the words of ``who`` as well
MORE_WORDS = (
    "apple bridge candle dinner engine flower garden hammer island jacket kitchen lemon mirror number orange paper"
    " rabbit silver table window"
).split()
SOURCES = {
    "emoji": {
        "title": "Pictures of emoji in two styles, from the npm packages emoji-datasource-twitter and -google 16.0.0",
        "authors": "Twitter, Inc. and other contributors (Twemoji); Google LLC (Noto Emoji)",
        "address": "https://github.com/iamcal/emoji-data",
        "licence": "CC BY 4.0 (Twemoji graphics), Apache-2.0 (Noto Emoji)",
        "changes": f"64 × 64 pixels on white, each reduced to {EMOJI_COLOURS} colours; 120 of each of four kinds",
    },
    "sentences": {
        "title": "Sentences of product and film reviews with ratings, from the PyPI source package vaderSentiment 0.5",
        "authors": "C. J. Hutto and Eric Gilbert (ratings and collection, 2014); the reviews' authors",
        "address": "https://pypi.org/project/vaderSentiment/0.5/",
        "licence": "MIT, as the package states; the sentences quote public reviews collected for research",
        "changes": "plain ASCII sentences of 3 words to 160 letters, rated at least 1 or at most -1 on a scale from -4 to 4",
    },
    "speech": {
        "title": "Spectra of single words spoken by espeak-ng 1.51 in forty of its voices",
        "authors": "made for this course",
        "address": "https://github.com/espeak-ng/espeak-ng",
        "licence": "CC0-1.0 (the output of the synthesiser; espeak-ng itself is under GPL-3.0-or-later)",
        "changes": "none: made by book/tools/make_samples.py",
    },
}


def make_emoji(folder):
    """Return pictures of Twemoji, and of the same test emoji in Google's style."""
    styles = {}
    for style in ("twitter", "google"):
        with tarfile.open(folder / f"emoji-datasource-{style}-16.0.0.tgz") as archive:
            facts = json.load(archive.extractfile("package/emoji.json"))
            prefix = f"package/img/{style}/64/"
            styles[style] = {
                m.name.removeprefix(prefix): archive.extractfile(m).read() for m in archive if m.name.startswith(prefix) and m.isfile()
            }
    # Thirty-one clock faces and five skin tones of a thing would be the same picture over and over.
    wanted = [f for f in facts if f["category"] in KINDS and f["subcategory"] != "time" and f["has_img_twitter"] and f["has_img_google"]]
    rng = np.random.default_rng([SEED, 0])
    parts = {"train": [], "test": []}
    for label, kind in enumerate(KINDS):
        of_kind = [f["image"] for f in wanted if f["category"] == kind]
        chosen = rng.permutation(len(of_kind))[: EMOJI_TRAIN + EMOJI_TEST]
        for part, positions in (("train", chosen[:EMOJI_TRAIN]), ("test", chosen[EMOJI_TRAIN:])):
            parts[part] += [(of_kind[p], label) for p in positions]
    arrays = {}
    for part, style in (("train", "twitter"), ("test", "twitter"), ("test", "google")):
        name = part if style == "twitter" else "other"
        pictures = [reduce_colours(styles[style][image]) for image, _ in parts[part]]
        arrays[f"x_{name}"] = np.stack([codes for codes, _ in pictures])
        arrays[f"palette_{name}"] = np.stack([palette for _, palette in pictures])
        arrays[f"y_{name}"] = np.array([label for _, label in parts[part]], np.uint8)
    return arrays


def reduce_colours(png):
    """Return a picture on white as codes of shape (64, 64) and its palette of shape (EMOJI_COLOURS, 3)."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    reduced = white.convert("RGB").quantize(EMOJI_COLOURS)
    palette = np.zeros(3 * EMOJI_COLOURS, np.uint8)
    colours = reduced.getpalette()[: len(palette)]
    palette[: len(colours)] = colours
    return np.asarray(reduced), palette.reshape(EMOJI_COLOURS, 3)


def make_sentences(folder):
    """Return positive and negative sentences about products, and a second test set about films."""
    with zipfile.ZipFile(folder / "vaderSentiment-0.5.zip") as package:
        inner = package.read("vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz")
    rng, arrays = np.random.default_rng([SEED, 1]), {}
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        for name, subject in (("products", "amazon"), ("films", "movie")):
            text = archive.extractfile(f"hutto_ICWSM_2014/{subject}ReviewSnippets_GroundTruth.txt").read().decode("latin-1")
            rows = {line.split("\t")[2].strip(): float(line.split("\t")[1]) for line in text.splitlines()}
            fit = {s: r for s, r in rows.items() if s.isascii() and len(s) <= 160 and len(s.split()) >= 3 and abs(r) >= 1}
            parts = {"train": [], "test": []}
            for label in (0, 1):
                of_class = [s for s, r in fit.items() if (r > 0) == label]
                order = rng.permutation(len(of_class))
                for part, positions in (("train", order[:SENTENCES_TRAIN]), ("test", order[-SENTENCES_TEST:])):
                    parts[part] += [(of_class[p], label) for p in positions]
            for part in ("train", "test") if name == "products" else ("test",):
                key = part if name == "products" else "other"
                arrays[f"x_{key}"] = np.array([s for s, _ in parts[part]], "S")
                arrays[f"y_{key}"] = np.array([label for _, label in parts[part]], np.uint8)
    return arrays


def speak(word, voice, speed, pitch):
    """Return what espeak-ng says, as samples between -1 and 1, 16,000 a second."""
    from scipy.signal import resample_poly

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "word.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", path, word], check=True)
        with wave.open(str(path)) as sound:
            found = np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768
            return resample_poly(found, 16_000, sound.getframerate())


def speak_all(words, voices, rng):
    """Return spectra, their lengths and the positions of word and voice, for each voice saying each word."""
    clips = []
    for v, voice in voices:
        for w, word in enumerate(words):
            accent = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp")[v % 4]
            sound = speak(word, f"{accent}+{voice}", int(rng.integers(140, 200)), int(rng.integers(40, 60)))
            codes, length = samples.spectrum(sound)
            clips.append((codes, length, w, v))
    spectra, lengths, w, v = (np.array(column) for column in zip(*clips, strict=True))
    return {"x": spectra, "frames": lengths.astype(np.uint8), "word": w.astype(np.uint8), "voice": v.astype(np.uint8)}


def make_speech():
    """Return ten words in all voices (``what``) and twenty words in ten voices (``who``)."""
    rng = np.random.default_rng([SEED, 2])
    voices = list(enumerate(rng.permutation(VOICES)))
    what = speak_all(samples.WORDS, voices, rng)
    who = speak_all(MORE_WORDS, voices[:SPEAKERS], rng)
    return {f"{key}_{name}": array for name, part in (("what", what), ("who", who)) for key, array in part.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=samples.FOLDER)
    options = parser.parse_args()
    try:
        made = {"emoji": make_emoji(options.folder), "sentences": make_sentences(options.folder), "speech": make_speech()}
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"make_samples.py: {error}")
    manifest = {}
    for name, arrays in made.items():
        content = to_npz(arrays)
        (options.out / f"{name}.npz").write_bytes(content)
        facts = {key: {"shape": array.shape, "dtype": str(array.dtype)} for key, array in arrays.items()}
        manifest[name] = SOURCES[name] | {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "arrays": facts}
        print(f"{name}: {len(content) / 1000:.0f} kB")
    (options.out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
