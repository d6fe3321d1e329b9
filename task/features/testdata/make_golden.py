"""Writes golden.json: the loss of the features' adapter and its gradients, as PyTorch computes them in float64.

Run as `python testdata/make_golden.py` in the package's folder. The adapter is restated here; the loss is
torch.nn.functional's cosine_similarity and smooth_l1_loss over the valid cells alone.
"""
import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(next(str(p / "torch/goldentest") for p in pathlib.Path(__file__).resolve().parents if (p / "go.mod").exists()))
from golden import fill, noise, pin, save, some

pin(torch="2.15.0")

IMAGES, WIDTH, CHANNELS, GRID = 3, 16, 5, 2
LABELLED = [0, 2]  # of sample 0 the last cell is invalid

c5 = noise("C5", IMAGES, WIDTH, 4, 4).requires_grad_()
params = {
    name: fill(name, shape).requires_grad_()
    for name, shape in {"hidden.weight": (2 * WIDTH, WIDTH, 1, 1), "hidden.bias": (2 * WIDTH,), "linear.weight": (CHANNELS, 2 * WIDTH, 1, 1), "linear.bias": (CHANNELS,)}.items()
}
mean, variance = noise("mean", CHANNELS), 1 + noise("variance", CHANNELS) / 2
x = F.relu(F.conv2d(F.avg_pool2d(c5[LABELLED], 2), params["hidden.weight"], params["hidden.bias"]))
got = F.conv2d(x, params["linear.weight"], params["linear.bias"]).permute(0, 2, 3, 1).reshape(-1, CHANNELS)  # a row per cell
want = torch.cat([noise(f"label {i}", GRID * GRID, CHANNELS) for i in LABELLED])
want = (2 * want - mean) / variance.sqrt()
valid = torch.arange(len(want)) != GRID * GRID - 1
cosine = (1 - F.cosine_similarity(got[valid], want[valid], dim=1)).mean()
smooth = F.smooth_l1_loss(got[valid], want[valid])
(cosine + smooth).backward()
save({
    "Cosine": cosine.item(), "Smooth": smooth.item(), "Input": some(c5.grad),
    "Grad": {name: some(p.grad) for name, p in params.items()},
})
