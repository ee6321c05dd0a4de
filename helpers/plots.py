"""Drawings that more than one chapter needs; each takes an axes and returns it."""

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito (2008): told apart by colour-blind readers; markers and dashes carry the difference in grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def plot_images(images, titles, columns=10, axes=None):
    """Draw grey images in a grid, dark ink on white.

    Parameters
    ----------
    images : numpy.ndarray, shape (n, height, width)
    titles : sequence of str, length n
        Written over each image.
    columns : int
    axes : array of matplotlib.axes.Axes, optional
        At least n of them; a new grid by default.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
    """
    if axes is None:
        rows = -(-len(images) // columns)
        _, axes = plt.subplots(rows, columns, figsize=(0.9 * columns, 1.15 * rows), squeeze=False, layout="constrained")
    axes = np.asarray(axes)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles):
        ax.imshow(image, cmap="gray_r")
        ax.set_title(title, fontsize=8)
    return axes


def plot_confusion(y_true, y_pred, class_names, ax=None):
    """Draw how often, in per cent, each class (row) was taken for each class (column).

    Parameters
    ----------
    y_true, y_pred : numpy.ndarray of int, shape (n,)
    class_names : sequence of str
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new axes by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4, 4))
    count = len(class_names)
    matrix = np.zeros((count, count), int)
    np.add.at(matrix, (y_true, y_pred), 1)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(share >= 0.095):  # smaller shares stay a tint, so that the figures can be large
        colour = "white" if share[row, column] > 0.5 else "black"
        ax.text(column, row, f"{100 * share[row, column]:.0f}", ha="center", va="center", fontsize=7.5, color=colour)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_xticks(range(count), class_names, rotation=90 if max(map(len, class_names)) > 2 else 0)
    ax.set_yticks(range(count), class_names)
    return ax


def plot_differences(differences, styles=None, ax=None):
    """Draw the interval of each difference as a dot with a bar; zero is a line.

    Parameters
    ----------
    differences : dict of str to helpers.compare.Difference
        By name, drawn from top to bottom.
    styles : sequence of int, optional
        Place of each one's colour in :data:`COLOURS`, so that an arm looks alike in all figures; counted by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new axes by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 0.5 * len(differences) + 1))
    ax.axvline(0, color="0.4", linewidth=1)
    for row, (difference, style) in enumerate(zip(differences.values(), styles or range(len(differences)), strict=True)):
        reach = [[difference.mean - difference.low], [difference.high - difference.mean]]
        ax.errorbar(difference.mean, row, xerr=reach, fmt=MARKERS[style], color=COLOURS[style], capsize=4)
    ax.set_yticks(range(len(differences)), differences)
    ax.set_ylim(len(differences) - 0.5, -0.5)
    return ax
