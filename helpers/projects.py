"""The reader's own data for the capstone: a folder of images, a table, and a test set that opens once."""

import csv
import dataclasses
import pathlib

import numpy as np

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled examples of one's own.

    Attributes
    ----------
    x : numpy.ndarray
        Images as uint8 of shape (n, size, size), with a last axis of 3 if in colour; or rows of a table as float32 of
        shape (n, features).
    y : numpy.ndarray of int, shape (n,)
        Class of each example.
    class_names, names : tuple of str
        Name of each class; of each image's file, or of each feature of a table.
    """

    x: np.ndarray
    y: np.ndarray
    class_names: tuple
    names: tuple


def load_image_folder(folder, size=28, colour=False):
    """Read a folder that holds one folder of images a class.

    Each image is turned as its camera noted, padded to a square and scaled.

    Parameters
    ----------
    folder : str or pathlib.Path
        ``folder/cat/1.jpg``, ``folder/dog/2.png`` and so on. Hidden files are passed over.
    size : int
        Height and width of the result in pixels.
    colour : bool
        Three channels instead of one.

    Returns
    -------
    Examples
        Classes and files in alphabetical order.

    Raises
    ------
    ValueError
        When there are fewer than two classes, a class has fewer than two images, or a file is no readable image; the
        message names them.
    FileNotFoundError
        When the folder does not exist.
    """
    from PIL import Image, ImageOps

    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}: folder must hold one folder of images a class.")
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(classes) < 2:
        raise ValueError(f"{str(folder)!r} holds {len(classes)} folders: put the images of each class into one of its own.")
    images, labels, names, unreadable = [], [], [], []
    for label, place in enumerate(classes):
        for path in sorted(p for p in place.rglob("*") if p.is_file() and not p.name.startswith(".")):
            name = path.relative_to(folder).as_posix()
            try:
                if path.suffix.lower() not in IMAGE_ENDINGS:
                    raise OSError("not an image by its ending")
                with Image.open(path) as file:
                    picture = ImageOps.exif_transpose(file).convert("RGB" if colour else "L")
            except (OSError, Image.DecompressionBombError) as error:
                unreadable.append(f"{name} ({error})")
                continue
            images.append(np.asarray(ImageOps.pad(picture, (size, size))))
            labels.append(label)
            names.append(name)
    if unreadable:
        more = f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""
        raise ValueError("Remove or mend what is no readable image: " + "; ".join(unreadable[:5]) + more + ".")
    _need_two_a_class(labels, [p.name for p in classes], "images")
    return Examples(np.stack(images), np.array(labels), tuple(p.name for p in classes), tuple(names))


def load_table(path, target):
    """Read a table in a CSV file whose first line names the columns.

    Columns of numbers stay numbers; a column with any other text becomes one column of 0 and 1 for each of its values.

    Parameters
    ----------
    path : str or pathlib.Path
        UTF-8, comma-separated.
    target : str
        The column that holds the class.

    Returns
    -------
    Examples
        ``x`` is not scaled: fit the scaling on training rows only.

    Raises
    ------
    ValueError
        When the column does not exist, a value is missing, a line has another number of values than the first, or a
        class has fewer than two rows; the message names the place.
    FileNotFoundError
        When the file does not exist.
    """
    from sklearn.feature_extraction import DictVectorizer

    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    header = [name.strip() for name in rows[0]] if rows else []
    if target not in header:
        raise ValueError(f"target must be one of the columns {', '.join(map(repr, header)) or '(none)'}, not {target!r}.")
    table = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise ValueError(f"line {number} of {path.name} has {len(row)} values, the first line {len(header)}.")
        for name, value in zip(header, row, strict=True):
            if value.strip().lower() in ("", "na", "nan", "null", "none"):
                raise ValueError(f"line {number} of {path.name} has no value for {name!r}: fill it in or remove the line.")
        table.append(dict(zip(header, (value.strip() for value in row), strict=True)))
    for name in header:
        if name != target and all(_is_number(row[name]) for row in table):
            for row in table:
                row[name] = float(row[name])
    class_names = sorted({row[target] for row in table})
    y = np.array([class_names.index(row.pop(target)) for row in table])
    if len(class_names) < 2:
        raise ValueError(f"the column {target!r} holds {len(class_names)} different classes; a classifier needs two.")
    _need_two_a_class(y, class_names, "rows")
    vectorizer = DictVectorizer(sparse=False, dtype=np.float32)
    x = vectorizer.fit_transform(table)
    return Examples(x, y, tuple(class_names), tuple(vectorizer.get_feature_names_out()))


def _is_number(text):
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def _need_two_a_class(labels, class_names, things):
    counts = np.bincount(labels, minlength=len(class_names)) if len(labels) else np.zeros(len(class_names), int)
    few = [f"{name!r} ({count})" for name, count in zip(class_names, counts, strict=True) if count < 2]
    if few:
        raise ValueError(f"each class needs at least two {things}; too few has {', '.join(few)}.")


class LockedTestSet:
    """A test set that can be used once: whoever looks twice has begun to choose with it.

    Parameters
    ----------
    x, y : numpy.ndarray
        Examples and their classes, first axis of equal length.
    """

    def __init__(self, x, y):
        if len(x) != len(y) or not len(y):
            raise ValueError(f"x and y must be equally long and not empty, not {len(x)} and {len(y)}.")
        self._x, self._y, self._opened = x, y, False

    def __len__(self):
        return len(self._y)

    def __repr__(self):
        return f"test set of {len(self)} examples, {'used' if self._opened else 'locked'}"

    def open_once(self):
        """Return ``x`` and ``y``, the first time only.

        Raises
        ------
        RuntimeError
            At the second call.
        """
        if self._opened:
            raise RuntimeError(
                "The test set was used before. Choosing again after having seen its result would make that result"
                " worthless; if a mistake forces you to, say so in the report."
            )
        self._opened = True
        return self._x, self._y
