"""Writes golden.json: what torchvision's ResNets, ViT and feature pyramid and timm's BiT compute.

Run as `python testdata/make_golden.py` in the package's folder; golden.py says which values are stored, and why
in float64.
"""
import hashlib
import pathlib
import sys

import timm
import torch
import torch.nn.functional as F
import torchvision
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

sys.path.append(next(str(p / "torch/goldentest") for p in pathlib.Path(__file__).resolve().parents if (p / "go.mod").exists()))
from golden import fill, load, noise, pin, save, some

pin(torch="2.15.0", torchvision="0.29.2", timm="1.0.31")

golden = {"names": {}, "resnet": {}}
for depth in 18, 34, 50, 101, 152:
    net = getattr(torchvision.models, f"resnet{depth}")()
    net.fc = torch.nn.Identity()
    lines = sorted(f"{k} {list(v.shape)}\n" for k, v in net.state_dict().items() if "num_batches" not in k)
    golden["names"][depth] = hashlib.sha256("".join(lines).encode()).hexdigest()
    if depth not in (18, 50):
        continue
    load(net, lambda k: "backbone." + k)
    x = noise("input", 2, 3, 96, 96)

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
    (out[3] * noise("weight of C5", *out[3].shape)).sum().backward()
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
load(neck, lambda k: "neck." + ours[k])
c = {str(i): noise(f"C{i + 2}", 2, channels[i], -(-96 // (4 << i)), -(-80 // (4 << i))) for i in range(4)}
p = list(neck(c).values())
golden["pyramid"] = [some(v) for v in p]
fused = p[0]
for v in p[1:]:
    fused = fused + F.interpolate(v, size=p[0].shape[2:], mode="bilinear", align_corners=False)
golden["fused"] = some(fused, 200)

# BiT: the maps C2 to C4 are what the first convolutions of the stages 1 to 3 read.
net = timm.create_model("resnetv2_50x1_bit", num_classes=0)
for layer in net.modules():
    if isinstance(layer, timm.layers.StdConv2d):
        layer.eps = 1e-10  # as in BiT's own program
load(net, lambda k: "backbone." + k)
lines = sorted(f"{k} {list(v.shape)}\n" for k, v in net.state_dict().items())
golden["names"]["bit"] = hashlib.sha256("".join(lines).encode()).hexdigest()
levels = []
for stage in net.stages[1:]:
    stage.blocks[0].norm1.register_forward_hook(lambda m, i, o: levels.append(o))
c5 = net.forward_features(noise("input", 2, 3, 96, 96))
golden["bit"] = {
    "levels": [some(c) for c in [*levels, c5]],
    "pooled": some(net.forward_head(c5)),
}
(c5 * noise("weight of C5", *c5.shape)).sum().backward()
golden["bit"] |= {
    "grad": {k: some(p.grad) for k, p in net.named_parameters()
             if k in ("stem.conv.weight", "stages.0.blocks.0.downsample.conv.weight", "stages.1.blocks.2.norm1.bias", "stages.2.blocks.0.conv2.weight", "norm.weight")},
}

# ViT: our names are timm's.
dim, heads, layers, patch, grid = 32, 4, 3, 8, 4


def ours_of(k):
    for theirs, our in [
        ("class_token", "cls_token"), ("encoder.pos_embedding", "pos_embed"), ("conv_proj", "patch_embed.proj"), ("encoder.layers.encoder_layer_", "blocks."),
        ("encoder.ln", "norm"), ("self_attention.in_proj_", "attn.qkv."), ("self_attention.out_proj", "attn.proj"), ("ln_", "norm"), ("mlp.0", "mlp.fc1"), ("mlp.3", "mlp.fc2"),
    ]:
        k = k.replace(theirs, our)
    return k


def vit(size):
    net = torchvision.models.VisionTransformer(size, patch, layers, heads, dim, 4 * dim)
    net.heads = torch.nn.Identity()
    state = {k: fill("backbone." + ours_of(k), v.shape) for k, v in net.state_dict().items() if "pos" not in k}
    at = fill("backbone.pos_embed", (1, 1 + grid**2, dim))
    if size != grid * patch:
        maps = at[:, 1:].reshape(1, grid, grid, dim).permute(0, 3, 1, 2)
        maps = F.interpolate(maps, size=(size // patch,) * 2, mode="bicubic")
        at = torch.cat([at[:, :1], maps.flatten(2).transpose(1, 2)], 1)
    net.load_state_dict(state | {"encoder.pos_embedding": at})
    tokens = net._process_input(noise("input", 2, 3, size, size))
    return net, net.encoder(torch.cat([net.class_token.expand(2, -1, -1), tokens], 1))


golden["vit"] = {"tokens": {size: some(vit(size)[1], 80) for size in (32, 64)}}
net, tokens = vit(32)
lines = sorted(f"{ours_of(k)} {list(v.shape)}\n" for k, v in net.state_dict().items())
golden["names"]["vit"] = hashlib.sha256("".join(lines).encode()).hexdigest()
(tokens * noise("weight of tokens", *tokens.shape)).sum().backward()
golden["vit"]["grad"] = {ours_of(k): some(p.grad) for k, p in net.named_parameters()
                         if ours_of(k) in ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.1.norm2.bias", "blocks.2.mlp.fc1.weight")}

# ViTDet's pyramid of a map of 32 channels, patch by patch.
def level(stride, x):
    def param(name, *shape):
        return fill(f"neck.p{stride.bit_length() - 1}.{name}", shape)

    def norm(x, name):
        return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], param(name + ".weight", x.shape[1]), param(name + ".bias", x.shape[1]), 1e-6).permute(0, 3, 1, 2)

    at, up = patch, 0
    while at > stride:
        if up:
            x = F.gelu(norm(x, f"between{up}"))
        c = x.shape[1]
        x = F.conv_transpose2d(x, param(f"up{up}.weight", c, c // 2, 2, 2), param(f"up{up}.bias", c // 2), 2)
        at, up = at // 2, up + 1
    while at < stride:
        x, at = F.max_pool2d(x, 2), at * 2
    x = norm(F.conv2d(x, param("conv0.weight", 12, x.shape[1], 1, 1)), "norm0")
    return norm(F.conv2d(x, param("conv1.weight", 12, 12, 3, 3), padding=1), "norm1")


golden["simple"] = {}
for patch in 4, 8, 16, 32:
    x = noise("map", 2, dim, 96 // patch, 64 // patch)
    golden["simple"][patch] = [some(level(s, x)) for s in (4, 8, 16, 32)]

save(golden)
