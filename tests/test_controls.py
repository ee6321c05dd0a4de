"""Controls: what the static page gets, and what a kernel adds."""

import base64
import html
import html.parser
import io
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from helpers import controls


def draw_bar(height, colour="red"):
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.bar(["a"], [height], color=colour)
    axes.set_ylim(0, 4)
    return axes


class Tags(html.parser.HTMLParser):
    """Collects the start tags of a piece of HTML."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def named(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture
def book():
    return controls.flip_book(draw_bar, {"height": [1, 2, 3], "colour": ["red", "blue"]}, "A {colour} bar of {height}")


def test_every_combination_has_its_own_picture_and_text(book):
    assert [text for _, text in book.frames] == [f"A {c} bar of {h}" for h in (1, 2, 3) for c in ("red", "blue")]
    assert len({source for source, _ in book.frames}) == 6


def test_frames_are_in_the_order_in_which_the_script_reads_the_sliders(book):
    figure = Tags(book._repr_html_()).named("figure")[0]
    frames = json.loads(figure["data-frames"])
    sliders = Tags(book._repr_html_()).named("input")
    position = 0
    for slider, value in zip(sliders, (2, 1), strict=True):  # height 3, blue
        position = position * (int(slider["max"]) + 1) + value
    source, text = frames[position]
    assert text == "A blue bar of 3"
    picture = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB")
    red, _, blue = np.asarray(picture, float).mean(axis=(0, 1))
    assert blue > red


def test_each_slider_is_native_labelled_and_named(book):
    text = book._repr_html_()
    sliders = Tags(text).named("input")
    assert [s["type"] for s in sliders] == ["range", "range"]
    assert [json.loads(s["data-names"]) for s in sliders] == [["1", "2", "3"], ["red", "blue"]]
    assert text.count("<label>") == 2 and "<span>height</span>" in text
    assert Tags(text).named("img")[0]["alt"] == "A red bar of 1"


def test_the_page_needs_nothing_from_elsewhere(book):
    assert "http" not in book._repr_html_() and "<script" not in book._repr_html_()


def test_text_is_escaped():
    book = controls.flip_book(draw_bar, {"height": [1, 2]}, lambda height: f'"<b>{height}</b>" & more')
    text = book._repr_html_()
    assert "<b>" not in text
    assert Tags(text).named("img")[0]["alt"] == '"<b>1</b>" & more'


def test_same_frames_twice(book):
    again = controls.flip_book(draw_bar, book.controls, "A {colour} bar of {height}")
    assert again._repr_html_() == book._repr_html_()


def test_drawing_leaves_no_figure_open(book):
    assert not plt.get_fignums()


def test_without_live_there_is_no_widget(book):
    assert set(book._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_a_kernel_adds_sliders_beyond_the_frames():
    book = controls.flip_book(draw_bar, {"height": [1, 3]}, "A bar of {height}", live={"height": (0, 4, 1)})
    assert controls.WIDGET_VIEW in book._repr_mimebundle_()
    slider, image, message = book.live_widget().children
    before = image.value
    slider.value = 4
    assert image.value != before and bytes(image.value).startswith(b"\x89PNG")
    assert message.value == "A bar of 4"


def test_an_error_while_drawing_live_is_shown():
    def draw(height):
        if height == 2:
            raise RuntimeError("no bar <of> two")
        return draw_bar(height)

    book = controls.flip_book(draw, {"height": [1, 3]}, "A bar of {height}", live={"height": (1, 3, 1)})
    slider, _, message = book.live_widget().children
    slider.value = 2
    assert "RuntimeError" in message.value and "no bar &lt;of&gt; two" in message.value


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (({}, "x"), "none was given"),
        (({"height": [1]}, "{height}"), "at least two values each: height"),
        (({"height": range(201)}, "{height}"), "201 frames"),
        (({"height": [1, 2]}, "a bar"), "must follow the sliders"),
        (({"height": [1, 2]}, lambda height: "same"), "all are the same"),
        (({"height": [1, 2]}, lambda height: ""), "is empty"),
        (({"height": [1, 2]}, "{height}", {"width": (0, 1, 1)}), "width, which is no control"),
    ],
)
def test_bad_input_is_named(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        controls.flip_book(draw_bar, *arguments)


def test_draw_must_return_a_figure():
    with pytest.raises(TypeError, match="not NoneType"):
        controls.flip_book(lambda height: None, {"height": [1, 2]}, "{height}")


@pytest.mark.parametrize(("value", "shown"), [(1000, "1,000"), (0.12345, "0.123"), ("red", "red"), (True, "True")])
def test_values_are_written_for_people(value, shown):
    assert controls.show_value(value) == shown
