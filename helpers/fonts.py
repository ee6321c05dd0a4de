"""Digits drawn from the fonts that matplotlib brings: a source task with any number of labelled images, for nothing.

The fonts are DejaVu (Sans, Serif, Mono), STIX and Computer Modern; each picture is turned, sheared, scaled, shifted
and inked at random, so that it looks somewhat like handwriting.
"""

import functools
import pathlib

import numpy as np

# The plain text faces; symbol and "size" faces of the same families have no digits.
FACES = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "DejaVuSansMono",
    "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmr10", "cmb10", "cmss10", "cmtt10",
)
GLYPH = 64  # pixels of the square in which a glyph is drawn before it is distorted


def draw_digits(count, seed, size=28, turn=15, shear=0.25, shift=2):
    """Return pictures of digits in random fonts and distortions, and what they show.

    Parameters
    ----------
    count : int
        Number of pictures, at least 1; the classes are balanced as far as the number allows.
    seed : int
    size : int
        Height and width in pixels.
    turn : float
        Largest turn, in degrees, to either side.
    shear : float
        Largest slant, as a share of the height, to either side.
    shift : float
        Largest shift in pixels of a 28-pixel picture, in each direction.

    Returns
    -------
    images : numpy.ndarray of uint8, shape (count, size, size)
        0 is background, up to 255 ink, as in MNIST.
    labels : numpy.ndarray of uint8, shape (count,)

    Raises
    ------
    ValueError
        When ``count`` or ``size`` is below 1.
    """
    from PIL import Image

    if count < 1 or size < 1:
        raise ValueError(f"count and size must be at least 1, not {count} and {size}.")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 10).astype("uint8")
    images = np.empty((count, size, size), "uint8")
    for number, digit in enumerate(labels):
        glyph = _glyph(FACES[rng.integers(len(FACES))], int(digit))
        angle, slant = np.deg2rad(rng.uniform(-turn, turn)), rng.uniform(-shear, shear)
        # A digit of MNIST fills about 20 of 28 pixels; here 17 to 22, a little narrower or wider than high.
        height = rng.uniform(17, 22) / 28 * size / GLYPH
        width = height * rng.uniform(0.8, 1.1)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        forward = rotation @ np.array([[1, slant], [0, 1]]) @ np.diag([width, height])
        back = np.linalg.inv(forward)
        centre = size / 2 + rng.uniform(-shift, shift, 2) * size / 28
        offset = np.array([GLYPH / 2, GLYPH / 2]) - back @ centre
        coefficients = (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1])
        picture = glyph.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
        images[number] = np.minimum(np.asarray(picture) * rng.uniform(0.7, 1.6), 255)
    return images, labels


@functools.cache
def _glyph(face, digit):
    """Return one digit of one face, its ink scaled to fill the height of a square."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    path = pathlib.Path(matplotlib.get_data_path()) / "fonts/ttf" / f"{face}.ttf"
    font = ImageFont.truetype(str(path), 2 * GLYPH)
    sheet = Image.new("L", (4 * GLYPH, 4 * GLYPH))
    ImageDraw.Draw(sheet).text((GLYPH, GLYPH), str(digit), fill=255, font=font)
    ink = sheet.crop(sheet.getbbox())
    wide = max(1, round(ink.width * GLYPH / ink.height))
    ink = ink.resize((min(wide, GLYPH), GLYPH), Image.Resampling.LANCZOS)
    square = Image.new("L", (GLYPH, GLYPH))
    square.paste(ink, ((GLYPH - ink.width) // 2, 0))
    return square
