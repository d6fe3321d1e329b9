"""What the scripts make_golden.py share: the formula of weights and inputs, which goldentest.go knows too,
so that only results are stored, and of large ones only every n-th value.

Gradients are computed in float64. In float32 rounding decides on which side of a ReLU a value near zero
falls, and every processor, thread count and version rounds in its own way.
"""
import importlib.metadata
import json
import zlib

import numpy as np
import torch

torch.set_default_dtype(torch.float64)


def pin(**versions):
    """Ends the script where other versions are installed than those that made the stored values."""
    for package, want in versions.items():
        have = importlib.metadata.version(package.replace("_", "-")).split("+")[0]
        if have != want:
            raise SystemExit(f"{package} {have} is installed; the golden values are those of {want}: pip install {package}=={want}")


def noise(name, *shape):
    """Values in [-1, 1) that depend on the name and the index only; exact in float32."""
    with np.errstate(over="ignore"):
        h = (np.arange(np.prod(shape), dtype=np.uint32) + np.uint32(zlib.crc32(name.encode()))) * np.uint32(2654435761)
        h = (h ^ (h >> 16)) * np.uint32(0x45D9F3B)
        h ^= h >> 16
    return torch.tensor((h >> 8).astype(np.float64) / 2**23 - 1).reshape(shape)


def fill(name, shape):
    """The values of a parameter or buffer, in the steps of float32 that Go's go through."""
    u = noise(name, *shape).float()
    if len(shape) == 4:
        u = u * np.float32((6 / (shape[0] * shape[2] * shape[3])) ** 0.5)
    elif len(shape) == 2:
        u = u * np.float32((3 / shape[1]) ** 0.5)
    elif name.endswith("weight") or name.endswith("running_var"):
        u = 1 + u * np.float32(0.3)
    else:
        u = u * np.float32(0.1)
    return u.double()


def load(module, name=lambda k: k):
    """Fills a module's floats by the names that they have in Go."""
    module.load_state_dict({k: fill(name(k), v.shape) if v.is_floating_point() else v for k, v in module.state_dict().items()})
    return module


def some(t, n=40):
    t = t.detach().flatten()
    return [float(f"{v:.9g}") for v in t[:: max(1, t.numel() // n)].tolist()]


def save(golden, path="testdata/golden.json"):
    with open(path, "w") as f:
        json.dump(golden, f, separators=(",", ":"))
        f.write("\n")
