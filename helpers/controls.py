"""Figures whose sliders move without a kernel: on a static page, in Colab, in an emailed notebook."""

import base64
import html
import io
import itertools
import json
import string

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
MAX_FRAMES = 200

# One handler on the figure: an input event of any slider bubbles up to it. The frames are ordered as
# itertools.product orders them, so the position is read off the sliders like the digits of a number.
SHOW_FRAME = """
let k = 0;
for (const slider of this.querySelectorAll('input')) {
  k = k * (Number(slider.max) + 1) + Number(slider.value);
  const name = JSON.parse(slider.dataset.names)[slider.value];
  slider.nextElementSibling.value = name;
  slider.setAttribute('aria-valuetext', name);
}
const [source, text] = JSON.parse(this.dataset.frames)[k];
const image = this.querySelector('img');
image.src = source;
image.alt = text;
this.querySelector('[role=status]').textContent = text;
"""
HIDDEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap"


class FlipBook:
    """A figure with sliders, every frame drawn beforehand; :func:`flip_book` makes it.

    Attributes
    ----------
    frames : list of (str, str)
        Image as a ``data:`` address and its alt text, in the order of ``itertools.product(*controls.values())``.
    controls : dict of str to list
        Name and values of each slider.
    """

    def __init__(self, draw, alt, controls, live, dpi):
        self._draw, self._alt, self._live, self._dpi = draw, alt, live, dpi
        self.controls = controls
        self.frames = []
        for chosen in itertools.product(*controls.values()):
            values = dict(zip(controls, chosen, strict=True))
            image, self._width, self._height = self._render(values)
            source = "data:image/webp;base64," + base64.b64encode(image).decode()
            self.frames.append((source, self._describe(values)))

    def _describe(self, values):
        return self._alt(**values) if callable(self._alt) else self._alt.format(**values)

    def _render(self, values, kind="webp"):
        """Return one frame's bytes, and its width and height in CSS pixels."""
        drawn = self._draw(**values)
        figure = getattr(drawn, "figure", None)
        if not hasattr(figure, "savefig"):
            raise TypeError(f"draw must return a matplotlib figure or axes, not {type(drawn).__name__}.")
        buffer = io.BytesIO()
        options = {"pil_kwargs": {"quality": 80, "method": 6}} if kind == "webp" else {}
        figure.savefig(buffer, format=kind, dpi=self._dpi, **options)
        width, height = figure.get_size_inches()
        import matplotlib.pyplot as plt

        plt.close(figure)
        return buffer.getvalue(), round(width * 96), round(height * 96)

    def _repr_html_(self):
        source, text = self.frames[0]
        sliders = "".join(self._slider(name, values) for name, values in self.controls.items())
        frames = html.escape(json.dumps(self.frames, ensure_ascii=False))
        return (
            f'<figure class="flip-book" style="margin:0" data-frames="{frames}" oninput="{html.escape(SHOW_FRAME)}"'
            ' onkeydown="event.stopPropagation()">'
            f'<img src="{source}" alt="{html.escape(text)}" width="{self._width}" height="{self._height}"'
            ' style="max-width:100%;height:auto">'
            f'<div class="flip-book-controls">{sliders}</div>'
            f'<span role="status" style="{HIDDEN}"></span></figure>'
        )

    def _slider(self, name, values):
        """Return a labelled native slider; the browser gives it the keyboard and the screen reader."""
        names = [show_value(v) for v in values]
        return (
            f'<label><span>{html.escape(name.replace("_", " "))}</span> <input type="range" min="0"'
            f' max="{len(names) - 1}" step="1" value="0" autocomplete="off" aria-valuetext="{html.escape(names[0])}"'
            f' data-names="{html.escape(json.dumps(names, ensure_ascii=False))}">'
            f"<output>{html.escape(names[0])}</output></label>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if self._live:
            bundle[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.live_widget().model_id}
        return bundle

    def __repr__(self):
        return f"flip book of {len(self.frames)} frames, controls: {', '.join(self.controls)}"

    def live_widget(self):
        """Return ipywidgets sliders over a picture that the kernel draws anew at every move.

        Returns
        -------
        ipywidgets.VBox
            Only what ipywidgets 7.7.1 (Colab) and 8 share; the picture is an ``Image``, never an ``Output``.
        """
        import ipywidgets as widgets

        sliders = {name: self._live_slider(widgets, name, values) for name, values in self.controls.items()}
        image, message = widgets.Image(format="png"), widgets.HTML()

        def redraw(change=None):
            values = {name: slider.value for name, slider in sliders.items()}
            try:
                image.value = self._render(values, "png")[0]
                message.value = html.escape(self._describe(values))
            except Exception as error:  # an exception in a callback would vanish: show it to the reader
                message.value = f"<b>{html.escape(type(error).__name__)}:</b> {html.escape(str(error))}"

        for slider in sliders.values():
            slider.observe(redraw, "value")
        redraw()
        return widgets.VBox([*sliders.values(), image, message])

    def _live_slider(self, widgets, name, values):
        label = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
        if name not in (self._live or {}):
            return widgets.SelectionSlider(options=[(show_value(v), v) for v in values], **label)
        low, high, step = self._live[name]
        kind = widgets.IntSlider if all(isinstance(v, int) for v in (low, high, step)) else widgets.FloatSlider
        return kind(value=values[0], min=low, max=high, step=step, continuous_update=False, **label)


def show_value(value):
    """Return how a slider's value is written: integers with thousands' commas, floats with 3 digits, else as text."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def flip_book(draw, controls, alt, live=None, dpi=110):
    """Return a figure with sliders that needs no kernel: each frame is drawn now, the page only swaps them.

    Parameters
    ----------
    draw : callable
        ``draw(**values)`` draws one frame and returns its matplotlib figure or axes. It is closed afterwards.
    controls : dict of str to sequence
        By parameter of ``draw`` the values of its slider, in order; the first is shown first.
    alt : str or callable
        What a sighted reader concludes from a frame: a text with fields such as ``{epoch}``, or a function
        ``alt(**values)`` that returns it.
    live : dict of str to (low, high, step), optional
        Parameters that, where a kernel runs, get an ipywidgets slider beyond the drawn values.
    dpi : int
        Resolution of the frames; 96 is one image pixel for one of the page.

    Returns
    -------
    FlipBook
        Shown by being a cell's last value.

    Raises
    ------
    TypeError
        When ``draw`` returns no matplotlib figure or axes.
    ValueError
        When there is no control, a control has fewer than two values, the frames would be more than 200, an alt text
        is empty or the same for all frames, or ``live`` names a parameter that is not a control.
    """
    controls = {name: list(values) for name, values in controls.items()}
    short = [name for name, values in controls.items() if len(values) < 2]
    if not controls or short:
        raise ValueError(f"controls must have at least two values each: {', '.join(short) or 'none was given'}.")
    count = 1
    for values in controls.values():
        count *= len(values)
    if count > MAX_FRAMES:
        raise ValueError(f"controls ask for {count} frames, more than {MAX_FRAMES}: give fewer values.")
    if strange := set(live or ()) - set(controls):
        raise ValueError(f"live names {', '.join(sorted(strange))}, which is no control.")
    if isinstance(alt, str) and not any(field for _, field, _, _ in string.Formatter().parse(alt)):
        raise ValueError("alt must follow the sliders: name a control in it, such as {" + next(iter(controls)) + "}.")
    book = FlipBook(draw, alt, controls, live, dpi)
    texts = [text.strip() for _, text in book.frames]
    if not all(texts) or len(set(texts)) == 1:
        raise ValueError("alt must describe each frame: a text is empty, or all are the same.")
    return book
