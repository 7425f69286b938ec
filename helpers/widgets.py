"""One figure with controls, which stays a figure where nothing is live."""

import html
import io
import os
from collections.abc import Callable

import ipywidgets
import matplotlib.pyplot as plt
from IPython import display


def explore(draw: Callable, alt: str, **controls) -> None:
    """Show `draw(**values)` as an image, and redraw it when a control moves.

    `draw` takes the controls' values by name and returns a matplotlib Figure; `alt` is one sentence that says
    what it shows to someone who cannot see it; `controls` are widgets that have a value, or it raises
    `TypeError`, such as ``temperature=ipywidgets.FloatSlider(value=1, min=0.1, max=5)``.

    With COURSE_STATIC=1, as for stored notebooks and tests, one image is shown, of the values at the start.
    An `Image` is updated, and not an `Output` widget: executing those without a browser can wait forever.
    """
    for name, control in controls.items():
        if not isinstance(control, ipywidgets.ValueWidget):
            example = f"{name}=ipywidgets.FloatSlider(value=1, min=0, max=2)"
            expected = f"expected an ipywidgets widget with a value, such as {example}."
            raise TypeError(f"The control {name!r} is a {type(control).__name__}: {expected}")

    def png() -> bytes:
        figure = draw(**{name: control.value for name, control in controls.items()})
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90)
        plt.close(figure)  # so that it shows once
        return buffer.getvalue()

    if os.environ.get("COURSE_STATIC") == "1":
        display.display(display.Image(png(), alt=alt))
        return
    image = ipywidgets.Image(value=png(), format="png")
    message = ipywidgets.HTML()

    def redraw(_change: dict) -> None:
        try:
            image.value = png()
            message.value = ""
        except Exception as error:  # in a callback it would vanish into the log
            message.value = f"This combination cannot be drawn: {html.escape(str(error))}"

    for name, control in controls.items():
        control.description = control.description or name.replace("_", " ")
        control.style.description_width = "initial"
        if hasattr(control, "continuous_update"):
            control.continuous_update = False
        control.observe(redraw, names="value")
    display.display(ipywidgets.VBox([*controls.values(), image, message]))
