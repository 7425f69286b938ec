"""`explore` is a picture where nothing is live, and redraws where something is."""

import io

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers import plots, widgets


def draw(height):
    if height > 9:
        raise ValueError("<b>too high")
    figure, axes = plt.subplots(figsize=(2, height))
    axes.plot([0, height])
    return figure


@pytest.fixture
def shown(monkeypatch):
    things = []
    monkeypatch.setattr("IPython.display.display", things.append)
    yield things
    assert plt.get_fignums() == []


def height_of(png):
    return len(plt.imread(io.BytesIO(png), format="png"))


def test_static_and_live(shown, monkeypatch):
    monkeypatch.setenv("COURSE_STATIC", "1")
    widgets.explore(draw, alt="A line that rises.", height=ipywidgets.FloatSlider(value=2, min=1, max=9))
    (image,) = shown
    assert height_of(image.data) == 180 and image.alt == "A line that rises."
    monkeypatch.delenv("COURSE_STATIC")
    shown.clear()
    slider = ipywidgets.FloatSlider(value=2, min=1, max=20)
    widgets.explore(draw, alt="A line that rises.", height=slider)
    (box,) = shown
    control, image, message = box.children
    assert control is slider and slider.description == "height" and height_of(image.value) == 180
    slider.value = 4
    assert height_of(image.value) == 360
    slider.value = 12  # an error must not vanish, nor take the picture away
    assert message.value == "This combination cannot be drawn: &lt;b&gt;too high"
    assert height_of(image.value) == 360
    slider.value = 3
    assert message.value == "" and height_of(image.value) == 270


def test_a_control_without_a_value_and_an_interval_of_the_unknown_are_refused():
    with pytest.raises(TypeError, match="The control 'height' is a int: expected an ipywidgets widget"):
        widgets.explore(draw, alt="", height=3)
    with pytest.raises(ValueError, match=r"No value for B: leave the row out"):
        plots.intervals([("A", 0.5, 0.4, 0.6), ("B", None, None, None)], "title", "unit")


def test_intervals_and_confusion_close_their_figures(shown):
    plt.rc("savefig", dpi=40)  # somebody's matplotlibrc
    plots.style()
    assert plt.rcParams["savefig.dpi"] == "figure"
    plots.intervals([("A", 0.5, 0.4, 0.6)], "title", "unit")
    figure = plots.confusion(np.array([[3, 1], [0, 2]]), ("no", "yes"), "title")
    assert [text.get_text() for text in figure.axes[0].texts] == ["3", "1", "0", "2"]
