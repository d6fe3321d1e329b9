"""Make a teacher of inverse depth, as ONNX, of one of our depth networks.

    pip install torch safetensors onnx
    python test/peers/inverse_depth.py out/evidence/depth/model.safetensors out/inverse
    must run recipes/inverse-depth.yaml

Released teachers such as MiDaS give inverse depth whose scale and shift are another for each image. So does this one: the
network, written out in plain PyTorch, then 1/depth, then each image by itself to 0..255. OUT/metric.onnx is the same network
in metres, which `must eval` has to score exactly as the file of weights that it was made of. Only a ResNet-18 or 34 in our
layout. Not part of make test.
"""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors import safe_open

source, out = sys.argv[1], pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
with safe_open(source, "pt") as f:
    spec = json.loads(f.metadata()["must.spec"])
    W = {k: f.get_tensor(k) for k in f.keys()}


def conv(x, name, stride=1):
    w = W[name + ".weight"]
    return F.conv2d(x, w, W.get(name + ".bias"), stride, w.shape[2] // 2)


def norm(x, name):
    return F.batch_norm(x, *(W[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))


def block(x, name, stride):
    short = x
    if f"{name}.downsample.0.weight" in W:
        short = norm(conv(x, name + ".downsample.0", stride), name + ".downsample.1")
    x = norm(conv(x, name + ".conv1", stride), name + ".bn1").relu()
    return (norm(conv(x, name + ".conv2"), name + ".bn2") + short).relu()


def depth(x):
    """Metres [N, 1, S, S] of normalised images [N, 3, S, S]."""
    size = x.shape[2]
    x = F.max_pool2d(norm(conv(x, "backbone.conv1", 2), "backbone.bn1").relu(), 3, 2, 1)
    maps = []
    for i in range(1, 5):
        k = 0
        while f"backbone.layer{i}.{k}.conv1.weight" in W:
            x = block(x, f"backbone.layer{i}.{k}", 2 if i > 1 and k == 0 else 1)
            k += 1
        maps.append(x)
    levels, top = [], None
    for i in (5, 4, 3, 2):
        x = conv(maps[i - 2], f"neck.lateral{i}")
        top = x if top is None else x + F.interpolate(top, size=x.shape[2:], mode="nearest")
        levels.insert(0, conv(top, f"neck.output{i}"))
    levels.append(conv(levels[3], "neck.p6", 2))
    levels.append(conv(levels[4].relu(), "neck.p7", 2))
    x = sum(F.interpolate(p, size=levels[0].shape[2:], mode="bilinear", align_corners=False) for p in levels)
    for i in range(3):
        x = norm(conv(x, f"heads.depth.tower.{i}.conv"), f"heads.depth.tower.{i}.norm").relu()
    return F.interpolate(conv(x, "heads.depth.linear"), size=(size, size), mode="bilinear", align_corners=False).exp()


class Metric(torch.nn.Module):
    def forward(self, image):
        return depth(image)


class Inverse(torch.nn.Module):
    def forward(self, image):
        y = 1 / depth(image)
        least, most = y.amin((1, 2, 3), True), y.amax((1, 2, 3), True)
        return 255 * (y - least) / (most - least)


size = spec["size"]
for name, model in ("metric", Metric()), ("inverse", Inverse()):
    torch.onnx.export(model, torch.zeros(2, 3, size, size), str(out / f"{name}.onnx"), input_names=["image"], output_names=["depth"],
                      dynamic_axes={"image": {0: "N"}, "depth": {0: "N"}}, opset_version=17, dynamo=False)
    (out / f"{name}.teacher.yaml").write_text(f"""onnx: {name}.onnx
task: depth
units: {name}
mean: {[v / 255 for v in spec["mean"]]}
std: {[v / 255 for v in spec["std"]]}
""")
