"""Writes golden.json: what torchvision's ResNets and feature pyramid compute.

Run as `python testdata/make_golden.py` in the package's folder (torch 2.15, torchvision 0.29).
Weights and inputs come from a formula that both sides know, so only results are stored, and of
large ones only every n-th value.
"""
import hashlib
import json
import zlib

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7


def noise(name, shape):
    """Values in [-1, 1) that depend on the name and the index only; exact in float32."""
    with np.errstate(over="ignore"):
        h = (np.arange(np.prod(shape), dtype=np.uint32) + np.uint32(zlib.crc32(name.encode()))) * np.uint32(2654435761)
        h = (h ^ (h >> 16)) * np.uint32(0x45D9F3B)
        h ^= h >> 16
    return torch.tensor((h >> 8).astype(np.float32) / 2**23 - 1).reshape(shape)


def fill(name, shape):
    u = noise(name, shape)
    if len(shape) == 4:
        return u * (6 / (shape[0] * shape[2] * shape[3])) ** 0.5
    if name.endswith("running_var") or name.endswith("weight"):
        return 1 + 0.3 * u
    return 0.1 * u


def some(t, n=40):
    t = t.detach().flatten()
    return [float(f"{v:.7g}") for v in t[:: max(1, t.numel() // n)].tolist()]


golden = {"names": {}, "resnet": {}}
for depth in 18, 34, 50, 101, 152:
    net = getattr(torchvision.models, f"resnet{depth}")()
    net.fc = torch.nn.Identity()
    lines = sorted(f"{k} {list(v.shape)}\n" for k, v in net.state_dict().items() if "num_batches" not in k)
    golden["names"][depth] = hashlib.sha256("".join(lines).encode()).hexdigest()
    if depth not in (18, 50):
        continue
    state = {k: v if "num_batches" in k else fill("backbone." + k, v.shape) for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    x = noise("input", (2, 3, 96, 96))

    def levels():
        y = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        out = []
        for stage in net.layer1, net.layer2, net.layer3, net.layer4:
            y = stage(y)
            out.append(y)
        return out

    g = golden["resnet"][depth] = {}
    net.eval()
    with torch.no_grad():
        g["eval"] = [some(c) for c in levels()]
    net.train()
    out = levels()
    g["train"] = [some(c) for c in out]
    (out[3] * noise("weight of C5", out[3].shape)).sum().backward()
    g["grad"] = {k: some(p.grad) for k, p in net.named_parameters()
                 if k in ("conv1.weight", "bn1.bias", "layer2.0.downsample.0.weight", "layer3.1.conv2.weight", "layer4.1.bn2.weight")}
    g["running"] = {k: some(v) for k, v in net.named_buffers()
                    if k.startswith(("bn1.running", "layer2.0.downsample.1.running", "layer4.1.bn2.running"))}

# The pyramid: names are ours.
channels, width = [8, 16, 24, 32], 12
neck = FeaturePyramidNetwork(channels, width, extra_blocks=LastLevelP6P7(width, width))
ours = {}
for k in neck.state_dict():
    part, *rest = k.split(".")
    if part == "extra_blocks":
        ours[k] = ".".join(rest)
    else:
        ours[k] = f"{'lateral' if part == 'inner_blocks' else 'output'}{int(rest[0]) + 2}.{rest[-1]}"
neck.load_state_dict({k: fill("neck." + ours[k], v.shape) for k, v in neck.state_dict().items()})
c = {str(i): noise(f"C{i + 2}", (2, channels[i], -(-96 // (4 << i)), -(-80 // (4 << i)))) for i in range(4)}
p = list(neck(c).values())
golden["pyramid"] = [some(v) for v in p]
fused = p[0]
for v in p[1:]:
    fused = fused + F.interpolate(v, size=p[0].shape[2:], mode="bilinear", align_corners=False)
golden["fused"] = some(fused, 200)

with open("testdata/golden.json", "w") as f:
    json.dump(golden, f, separators=(",", ":"))
    f.write("\n")
