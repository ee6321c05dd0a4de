"""The capstone's loaders read what people have, and say what is wrong with the rest."""

import numpy as np
import pytest
from PIL import Image

from helpers import projects


def picture(path, colour=(255, 255, 255), size=(40, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def folder(tmp_path):
    for name, colour in (("dark", (10, 10, 10)), ("light", (250, 250, 250))):
        for number in range(2):
            picture(tmp_path / name / f"{number}.png", colour)
    (tmp_path / "dark" / ".DS_Store").write_text("x")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_a_folder_of_images_is_read_padded_and_named(folder):
    found = projects.load_image_folder(folder, size=16)
    assert found.x.shape == (4, 16, 16) and found.x.dtype == np.uint8
    assert found.class_names == ("dark", "light") and found.y.tolist() == [0, 0, 1, 1]
    assert found.names[0] == "dark/0.png"
    assert found.x[2, 8, 8] == 250 and found.x[2, 0, 0] == 0  # twice as wide as high: padded above and below
    assert projects.load_image_folder(folder, size=8, colour=True).x.shape == (4, 8, 8, 3)


def test_a_camera_s_turn_is_followed(folder):
    tall = Image.new("L", (20, 40))
    tall.paste(255, (0, 0, 20, 20))  # upper half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    tall.save(folder / "dark" / "0.jpg", exif=exif)
    found = projects.load_image_folder(folder, size=40)
    image = found.x[found.names.index("dark/0.jpg")]
    assert image[20, 35] > 200 and image[20, 5] < 50


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda f: (f / "light" / "notes.txt").write_text("x"), r"light/notes\.txt \(not an image by its ending\)"),
        (lambda f: (f / "light" / "2.png").write_bytes(b"no picture"), r"light/2\.png \(cannot identify"),
        (lambda f: (f / "light" / "0.png").unlink(), r"at least two images; too few has 'light' \(1\)"),
        (lambda f: (f / "empty").mkdir(), r"too few has 'empty' \(0\)"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(folder, spoil, complaint):
    spoil(folder)
    with pytest.raises(ValueError, match=complaint):
        projects.load_image_folder(folder)


def test_a_folder_without_classes_and_none_at_all(folder):
    with pytest.raises(ValueError, match="holds 0 folders"):
        projects.load_image_folder(folder / "dark")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        projects.load_image_folder(folder / "nowhere")


def test_a_table_is_read_with_words_as_columns(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\ufeffage,town,ill\n3, Ulm,no\n40,Bonn,yes\n\n5,Ulm,no\n61.5,Bonn,yes\n", encoding="utf-8")
    found = projects.load_table(path, "ill")
    assert found.names == ("age", "town=Bonn", "town=Ulm") and found.class_names == ("no", "yes")
    assert found.x.tolist() == [[3, 0, 1], [40, 1, 0], [5, 0, 1], [61.5, 1, 0]] and found.y.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"columns \(none\), not 'ill'"),
        ("age,sick\n1,2\n", "columns 'age', 'sick', not 'ill'"),
        ("age,ill\n1,no\n,yes\n", "line 3 of table.csv has no value for 'age'"),
        ("age,ill\n1,no\n2,yes,5\n", "line 3 of table.csv has 3 values, the first line 2"),
        ("age,ill\n1,no\n2,no\n3,yes\n", r"at least two rows; too few has 'yes' \(1\)"),
        ("age,ill\n1,no\n2,no\n", "holds 1 different classes"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, text, complaint):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        projects.load_table(path, "ill")


def test_the_test_set_opens_once():
    locked = projects.LockedTestSet(np.arange(3), np.zeros(3))
    assert repr(locked) == "test set of 3 examples, locked" and len(locked) == 3
    assert locked.open_once()[0].tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="was used before"):
        locked.open_once()
    with pytest.raises(ValueError, match="not 3 and 2"):
        projects.LockedTestSet(np.arange(3), np.zeros(2))
