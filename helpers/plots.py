"""The course's look: colors that color-blind readers can tell apart, and little ink."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

# Okabe and Ito's palette (2008), told apart with every common form of color blindness.
COLORS = {"blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "red": "#D55E00"}
COLORS |= {"purple": "#CC79A7", "sky": "#56B4E9", "yellow": "#F0E442", "black": "#000000"}


def style() -> None:
    """Apply the course's look to every figure drawn from here on."""
    mpl.rcdefaults()  # a matplotlibrc of the folder or the home, but for its backend
    mpl.rc("axes", prop_cycle=mpl.rcsetup.cycler(color=list(COLORS.values())))
    plt.style.use(Path(__file__).with_name("course.mplstyle"))


def intervals(rows: Sequence[tuple[str, float, float, float]], title: str, unit: str):
    """Draw one dot with its interval for each row of (name, value, low, high), the first on top.

    The title says the finding, the unit what the axis counts. None for a value raises `ValueError`, since a
    gap would read as 0. The figure is closed: it shows as the last value of a cell.
    """
    if unknown := [name for name, *values in rows if None in values]:
        raise ValueError(f"No value for {', '.join(unknown)}: leave the row out, and say why in the text.")
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.45 * len(rows)))
    for place, (_, value, low, high) in enumerate(reversed(rows)):
        error = [[value - low], [high - value]]
        axes.errorbar(value, place, xerr=error, fmt="o", capsize=3, color=COLORS["blue"])
        axes.annotate(f"{value:.3g}", (value, place), textcoords="offset points", xytext=(0, 7), ha="center")
    axes.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)])
    axes.set(ylim=(-0.5, len(rows) - 0.3), xlabel=unit, title=title)
    plt.close(figure)
    return figure


def confusion(matrix, names: Sequence[str], title: str):
    """Draw a confusion matrix of counts (classes x classes): rows are the truth, columns the prediction."""
    from sklearn.metrics import ConfusionMatrixDisplay

    size = 2.2 + 0.45 * len(names)
    figure, axes = plt.subplots(figsize=(size + 0.6, size))
    ConfusionMatrixDisplay(matrix, display_labels=names).plot(ax=axes, cmap="Blues", colorbar=False)
    axes.grid(False)
    axes.set_title(title)
    plt.close(figure)
    return figure
