"""SimCLR in plain PyTorch and torchvision, to compare with the pretext task of the same name: speed and what it learns.

    pip install torch torchvision pillow
    python test/peers/simclr.py cifar10-imagefolder.tar.gz --images 2000 --epochs 20
    python test/peers/simclr.py DIR                          DIR/train/<class>/*, DIR/test/<class>/*

The same network (ResNet-18 of a width, torchvision's layers, last norms of blocks at 0), head (linear, norm, ReLU, linear,
norm without offset), views, NT-Xent over all 2(N-1) negatives, LARS with its exclusions, warm-up and cosine; then a vote of
the 20 and 200 nearest neighbours on features of the backbone (cosine, temperature 0.07). Prints a line of JSON. Not part of
make test.
"""

import argparse
import io
import json
import math
import os
import pathlib
import tarfile
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from torchvision.models.resnet import BasicBlock
from torchvision.transforms import v2

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def read(path, part, count):
    """The first count images of a part, taken in turn from each class, and their classes."""
    files = {}
    path = pathlib.Path(path)
    if path.is_dir():
        for f in sorted((path / part).glob("*/*")):
            files.setdefault(f.parent.name, []).append(f.read_bytes())
    else:
        with tarfile.open(path) as tar:
            members = sorted((m for m in tar if m.isfile() and m.name.startswith(part + "/")), key=lambda m: m.name)
            for m in members:
                of = files.setdefault(m.name.split("/")[1], [])
                if not count or len(of) < -(-count // 10):
                    of.append(tar.extractfile(m).read())
    images = [(f[i], c) for i in range(max(map(len, files.values()))) for c, f in enumerate(files.values()) if i < len(f)]
    images = images[: count or None]
    return [Image.open(io.BytesIO(b)).convert("RGB") for b, _ in images], torch.tensor([c for _, c in images])


class Views(torch.utils.data.Dataset):
    def __init__(self, images, size, cifar):
        strength = 0.5 if cifar else 1
        jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
        steps = [
            v2.RandomResizedCrop(size, scale=(0.08, 1), antialias=True), v2.RandomHorizontalFlip(),
            v2.RandomApply([jitter], 0.8), v2.RandomGrayscale(0.2),
        ]
        if not cifar:
            steps.append(v2.RandomApply([v2.GaussianBlur(2 * (size // 20) + 1, (0.1, 2))], 0.5))
        self.images, self.view = images, v2.Compose([*steps, v2.PILToTensor()])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.view(self.images[i]), self.view(self.images[i])


class ResNet(nn.Module):
    """ResNet-18, every layer's channels scaled."""

    def __init__(self, width):
        super().__init__()
        planes = [max(8, int(c * width + 0.5) // 8 * 8) for c in (64, 128, 256, 512)]
        layers = [nn.Conv2d(3, planes[0], 7, 2, 3, bias=False), nn.BatchNorm2d(planes[0]), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        into = planes[0]
        for stage, out in enumerate(planes):
            for i in range(2):
                stride = 2 if stage and i == 0 else 1
                down = None
                if stride > 1 or into != out:
                    down = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))
                layers.append(BasicBlock(into, out, stride, down))
                into = out
        self.layers, self.width = nn.Sequential(*layers), into
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, BasicBlock):
                nn.init.zeros_(m.bn2.weight)

    def forward(self, x):
        return self.layers(x).mean((2, 3))


def head(width, out):
    h = nn.Sequential(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, out, bias=False), nn.BatchNorm1d(out))
    nn.init.normal_(h[0].weight, std=0.01)
    nn.init.normal_(h[3].weight, std=0.01)
    h[4].bias.requires_grad_(False)
    return h


def nt_xent(z, temperature):
    n = len(z) // 2
    z = F.normalize(z, dim=1)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-1e9)
    return F.cross_entropy(logits, (torch.arange(2 * n) + n) % (2 * n))


@torch.no_grad()
def lars(params, velocity, lr, decay):
    for p, v in zip(params, velocity):
        g, rate = p.grad, lr
        if p.dim() > 1:
            g = g + decay * p
            pn, gn = p.norm(), g.norm()
            if pn > 0 and gn > 0:
                rate = lr * 0.001 * pn / gn
        v.mul_(0.9).add_(rate * g)
        p.sub_(v)


@torch.no_grad()
def features(net, images, size):
    net.eval()
    out = []
    for i in range(0, len(images), 200):
        x = torch.stack([v2.functional.pil_to_tensor(im.resize((size, size), Image.BILINEAR)) for im in images[i : i + 200]])
        out.append(net(prepare(x)))
    return F.normalize(torch.cat(out), dim=1)


def prepare(x):
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return ((x.float() - mean) / std).contiguous(memory_format=torch.channels_last)


def knn(train, classes, test, truth, k):
    similarity, index = (test @ train.T).topk(min(k, len(train)), 1)
    votes = torch.zeros(len(test), int(classes.max()) + 1)
    votes.scatter_add_(1, classes[index], (similarity / 0.07).exp())
    return (votes.argmax(1) == truth).double().mean().item()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("data")
    a.add_argument("--images", type=int, default=2000, help="to train on; 0: all")
    a.add_argument("--test", type=int, default=1000, help="to score on; 0: all")
    a.add_argument("--size", type=int, default=64)
    a.add_argument("--width", type=float, default=0.5)
    a.add_argument("--batch", type=int, default=64)
    a.add_argument("--epochs", type=float, default=20)
    a.add_argument("--views", choices=["cifar", "imagenet"], default="cifar")
    a.add_argument("--lr", type=float, help="default: the published rule, views cifar B/256, imagenet 0.3 B/256")
    a.add_argument("--decay", type=float, help="default: views cifar 1e-4, imagenet 1e-6")
    a.add_argument("--temperature", type=float, help="default: views cifar 0.5, imagenet 0.1")
    a.add_argument("--warmup", type=float, default=0.1)
    a.add_argument("--out", type=int, default=128)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    a = a.parse_args()
    cifar = a.views == "cifar"
    lr = a.lr or (1 if cifar else 0.3) * a.batch / 256
    decay = a.decay if a.decay is not None else (1e-4 if cifar else 1e-6)
    temperature = a.temperature or (0.5 if cifar else 0.1)
    torch.manual_seed(a.seed)

    images, classes = read(a.data, "train", a.images)
    net = ResNet(a.width).to(memory_format=torch.channels_last)
    project = head(net.width, a.out)
    params = [p for p in [*net.parameters(), *project.parameters()] if p.requires_grad]
    velocity = [torch.zeros_like(p) for p in params]
    loader = torch.utils.data.DataLoader(
        Views(images, a.size, cifar), a.batch, shuffle=True, drop_last=True, num_workers=a.workers, persistent_workers=True)
    total = math.ceil(a.epochs * len(images) / a.batch)
    step, began, loss = 0, None, None
    net.train()
    while step < total:
        for one, two in loader:
            if step == min(5, total - 1):  # kernels are compiled and workers awake by then
                began, first = time.time(), step
            warm = a.warmup * total
            rate = lr * (step + 1) / warm if step + 1 < warm else lr * (1 + math.cos(math.pi * max(0, (step - warm) / max(1, total - warm)))) / 2
            loss = nt_xent(project(net(prepare(torch.cat([one, two])))), temperature)
            for p in params:
                p.grad = None
            loss.backward()
            lars(params, velocity, rate, decay)
            step += 1
            if step == total:
                break
    speed = (step - first) * a.batch / (time.time() - began)
    test, truth = read(a.data, "test", a.test)
    train, score = features(net, images, a.size), features(net, test, a.size)
    print(json.dumps({
        "program": f"PyTorch {torch.__version__}", "images": len(images), "steps": step, "images/s": round(speed, 1), "loss": round(loss.item(), 4),
        **{f"knn{k}": round(knn(train, classes, score, truth, k), 4) for k in (20, 200)},
    }))


if __name__ == "__main__":
    main()
