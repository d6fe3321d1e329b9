"""Writes golden.json: what SimCLR, MoCo and MAE, written in plain PyTorch after their papers, compute.

Run as `python testdata/make_golden.py` in the package's folder; golden.py says which values are stored, and why
in float64.
"""
import pathlib
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision.models.resnet import BasicBlock

sys.path.append(next(str(p / "torch/goldentest") for p in pathlib.Path(__file__).resolve().parents if (p / "go.mod").exists()))
from golden import load, noise, pin, save, some

pin(torch="2.15.0", torchvision="0.29.2")


def images(name, n, size):
    x = ((noise(name, n, 3, size, size) + 1) * 127.5).floor()
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    return (x - mean) / std


golden = {}

# NT-Xent by its definition (SimCLR §2.1), row by row.
golden["ntxent"] = []
for temperature in 0.1, 0.5:
    z = noise("z", 10, 7).requires_grad_()
    unit = [v / v.norm() for v in z]
    n, total = 5, 0
    for i in range(2 * n):
        s = torch.stack([unit[i] @ unit[k] / temperature for k in range(2 * n)])
        others = torch.cat([s[:i], s[i + 1:]])
        total = total - (s[(i + n) % (2 * n)] - others.logsumexp(0))
    loss = total / (2 * n)
    loss.backward()
    golden["ntxent"].append({"temperature": temperature, "loss": loss.item(), "grad": some(z.grad, 1000)})

# SimCLR's head: linear, norm, ReLU, linear, norm without offset.
head = nn.Sequential(nn.Linear(12, 10, bias=False), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 4, bias=False), nn.BatchNorm1d(4))
load(head)
nn.init.zeros_(head[4].bias)
y = head(noise("feature", 6, 12))
(y * noise("weight of y", *y.shape)).sum().backward()
golden["head"] = {
    "out": some(y, 1000),
    "grad": {k: some(p.grad, 1000) for k, p in head.named_parameters() if k != "4.bias"},
    "running": {k: some(b) for k, b in head.named_buffers() if "running" in k},
}


class ResNet(nn.Module):
    """ResNet-18 of an eighth of its width, torchvision's names."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        into = 8
        for i, width in enumerate((8, 16, 32, 64)):
            stride = 1 if i == 0 else 2
            down = None
            if stride > 1:
                down = nn.Sequential(nn.Conv2d(into, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            setattr(self, f"layer{i + 1}", nn.Sequential(BasicBlock(into, width, stride, down), BasicBlock(width, width)))
            into = width

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return x.mean((2, 3))


# MoCo: five steps of which the queue holds two, two groups of batch norm, SGD.
N, SIZE, OUT, QUEUE, GROUPS, MOMENTUM, STEPS = 8, 64, 6, 16, 2, 0.9, 5
LR, DECAY = 0.0005, 1.0
ORDERS = [[int(v) for v in (np.arange(N) * m + s) % N] for s, m in enumerate((3, 5, 1, 7, 3))]


def encode(net, head, x):
    f = torch.cat([net(part) for part in x.chunk(GROUPS)])
    return F.normalize(head(f), dim=1)


golden["moco"] = {}
for method, temperature in ("moco-v1", 0.07), ("moco-v2", 0.2):
    def encoder():
        net = ResNet()
        layers = [nn.Linear(64, OUT)] if method == "moco-v1" else [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, OUT)]
        m = nn.ModuleDict({"backbone": net, "head": nn.Sequential(*layers)})
        name = lambda k: k.replace("head.", f"heads.{method}.")
        return load(m, name), name

    (q, name), (k, _) = encoder(), encoder()
    queue = F.normalize(noise("queue", QUEUE, OUT), dim=1)
    at = 0
    weights = [p for p in q.parameters() if p.dim() > 1]
    plain = [p for p in q.parameters() if p.dim() == 1]
    sgd = torch.optim.SGD([{"params": weights, "weight_decay": DECAY}, {"params": plain}], lr=LR, momentum=0.9)
    g = golden["moco"][method] = {"losses": [], "position": []}
    for step in range(STEPS):
        query = encode(q["backbone"], q["head"], images(f"query {step}", N, SIZE))
        with torch.no_grad():
            for a, b in zip(k.parameters(), q.parameters()):
                a.mul_(MOMENTUM).add_(b, alpha=1 - MOMENTUM)
            order = torch.tensor(ORDERS[step])
            key = encode(k["backbone"], k["head"], images(f"key {step}", N, SIZE)[order])[order.argsort()]
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue.T.clone()], 1) / temperature
        loss = F.cross_entropy(logits, torch.zeros(N, dtype=torch.long))
        sgd.zero_grad()
        loss.backward()
        if step == 0:
            g["grad"] = {name(n): some(p.grad) for n, p in q.named_parameters() if n.startswith(("head", "backbone.conv1", "backbone.layer4.1.bn2"))}
        sgd.step()
        queue[at:at + N] = key
        at = (at + N) % QUEUE
        g["losses"].append(loss.item())
        g["position"].append(at)
    g["queue"] = some(queue, 1000)
    kept = ("head", "backbone.conv1", "backbone.layer2.0", "backbone.layer4.1", "backbone.bn1")
    g["key"] = {name(n): some(v) for n, v in k.state_dict().items() if n.startswith(kept) and "num_batches" not in n}
    g["query"] = {name(n): some(v) for n, v in q.state_dict().items() if n.startswith(kept) and "num_batches" not in n}


class Block(nn.Module):
    """A transformer block, timm's names."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, x):
        n, l, d = x.shape
        q, k, v = self.attn["qkv"](self.norm1(x)).reshape(n, l, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = ((q @ k.transpose(-1, -2)) / (d // self.heads) ** 0.5).softmax(-1) @ v
        x = x + self.attn["proj"](a.transpose(1, 2).reshape(n, l, d))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


def waves(dim, side):
    """The sine-cosine embeddings of MAE's program: columns first."""
    def one(at):
        angle = at.reshape(-1, 1) / 10000 ** (torch.arange(dim // 4) / (dim / 4))
        return torch.cat([angle.sin(), angle.cos()], 1)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.cat([one(columns.double()), one(rows.double())], 1)


# MAE: a ViT of two blocks, a decoder of one, on images of 4×4 patches of which 4 are shown.
N, SIZE, PATCH, DIM, HEADS, DEC, SHOWN = 3, 32, 8, 16, 2, 8, 4
SIDE = SIZE // PATCH
L = SIDE * SIDE
enc = nn.Module()
enc.cls_token, enc.pos_embed = nn.Parameter(torch.zeros(1, 1, DIM)), nn.Parameter(torch.zeros(1, 1 + L, DIM))
enc.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, DIM, PATCH, PATCH)})
enc.blocks = nn.ModuleList([Block(DIM, HEADS) for _ in range(2)])
enc.norm = nn.LayerNorm(DIM, eps=1e-6)
dec = nn.Module()
dec.decoder_embed = nn.Linear(DIM, DEC)
dec.mask_token = nn.Parameter(torch.zeros(1, DEC))
dec.decoder_blocks = nn.ModuleList([Block(DEC, HEADS)])
dec.decoder_norm = nn.LayerNorm(DEC, eps=1e-6)
dec.decoder_pred = nn.Linear(DEC, 3 * PATCH * PATCH)
for prefix, m in ("backbone.", enc), ("heads.mae.", dec):
    load(m, lambda k: prefix + k)
x = images("mae", N, SIZE)
order = torch.stack([(torch.arange(L) * m + s) % L for s, m in enumerate((3, 5, 7))])
tokens = enc.patch_embed["proj"](x).flatten(2).transpose(1, 2) + enc.pos_embed[:, 1:]
shown = torch.stack([tokens[i, order[i, :SHOWN]] for i in range(N)])
h = torch.cat([(enc.cls_token + enc.pos_embed[:, :1]).expand(N, 1, DIM), shown], 1)
for b in enc.blocks:
    h = b(h)
h = dec.decoder_embed(enc.norm(h))
full = dec.mask_token.expand(N, L, DEC).clone()
for i in range(N):
    full[i, order[i, :SHOWN]] = h[i, 1:]
h = torch.cat([h[:, :1], full + waves(DEC, SIDE)], 1)
for b in dec.decoder_blocks:
    h = b(h)
pred = dec.decoder_pred(dec.decoder_norm(h))[:, 1:]
target = torch.einsum("nchpwq->nhwpqc", x.reshape(N, 3, SIDE, PATCH, SIDE, PATCH)).reshape(N, L, -1)
target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
mask = torch.ones(N, L)
for i in range(N):
    mask[i, order[i, :SHOWN]] = 0
loss = (((pred - target) ** 2).mean(-1) * mask).sum() / mask.sum()
loss.backward()
golden["mae"] = {
    "loss": loss.item(),
    "grad": {p + k: some(v.grad) for p, m in (("backbone.", enc), ("heads.mae.", dec)) for k, v in m.named_parameters()},
    "waves": some(waves(DIM, SIDE), 1000),
}

save(golden)
