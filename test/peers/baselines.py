"""Pretrain by lightly's SimCLR and MoCo v2 under the budget of recipes/cifar10-baselines.yaml.

    pip install torch torchvision lightly scikit-learn
    python test/peers/baselines.py DIR                      DIR/train/<class>/*, DIR/test/<class>/*

What can so small a budget reach? This says it by a program of other people: their losses, heads, views and momentum
update, PyTorch's optimizer at the rate of lightly's CIFAR-10 benchmarks (SGD, 0.06 for a batch of 128); the same network,
images seen, batch and schedule as the recipe, and the same k-NN and linear probe, by scikit-learn. `must run
recipes/cifar10-baselines.yaml` should reach as much. Not part of make test.
"""

import argparse
import copy
import math
import warnings

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead, SimCLRProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import SimCLRTransform
from sklearn.linear_model import LogisticRegressionCV
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

NORMALIZE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.bn2.weight)
        self.skip = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.skip(x))


def backbone(width):
    """ResNet-18 with the stem for small images."""
    c = round(64 * width)
    layers = [nn.Conv2d(3, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
    inputs = c
    for stage in range(4):
        for i in range(2):
            layers.append(Block(inputs, c << stage, 2 if stage and not i else 1))
            inputs = c << stage
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    return net, inputs


def pretrain(method, args, net, width):
    views = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0, normalize=NORMALIZE)
    data = DataLoader(ImageFolder(f"{args.data}/train", views), args.batch, shuffle=True, drop_last=True, num_workers=args.workers, persistent_workers=args.workers > 0)
    if method == "simclr":
        head, loss = SimCLRProjectionHead(width, width, 128), NTXentLoss(temperature=0.5)
    else:
        head, loss = MoCoProjectionHead(width, width, 128), NTXentLoss(temperature=0.2, memory_bank_size=(args.queue, 128))
        key, key_head = copy.deepcopy(net), copy.deepcopy(head)
        deactivate_requires_grad(key)
        deactivate_requires_grad(key_head)
    model = nn.ModuleList([net, head])
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9, weight_decay=args.decay)
    step = 0
    model.train()
    while step < args.steps:
        for (a, b), *_ in data:
            if step == args.steps:
                break
            warm = 0.05 * args.steps
            rate = (step + 1) / warm if step + 1 < warm else (1 + math.cos(math.pi * (step - warm) / (args.steps - warm))) / 2
            for group in optimizer.param_groups:
                group["lr"] = args.lr * rate
            if method == "simclr":
                value = loss(*head(net(torch.cat([a, b]))).chunk(2))
            else:
                update_momentum(net, key, args.momentum)
                update_momentum(head, key_head, args.momentum)
                with torch.no_grad():
                    k = key_head(key(b))
                value = loss(head(net(a)), k)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            step += 1
            if step % 50 == 0:
                print(f"{method}: step {step}, loss {value.item():.3f}", flush=True)


@torch.no_grad()
def features(net, data, part, count):
    plain = transforms.Compose([transforms.ToTensor(), transforms.Normalize(**NORMALIZE)])
    images = ImageFolder(f"{data}/{part}", plain)
    if count:
        images = Subset(images, [i * len(images) // count for i in range(count)])
    net.eval()
    x, y = zip(*((net(x), y) for x, y in DataLoader(images, 256)))
    return torch.cat(x), torch.cat(y)


def knn(x, y, queries, truth, k):
    similarity, index = (F.normalize(queries) @ F.normalize(x).T).topk(min(k, len(x)))
    votes = torch.zeros(len(queries), 10).scatter_add_(1, y[index], (similarity / 0.07).exp())
    return (votes.argmax(1) == truth).double().mean().item()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data")
    p.add_argument("--method", choices=["scratch", "simclr", "moco"], nargs="*", default=["scratch", "simclr", "moco"])
    for name, value in dict(width=0.25, steps=391, batch=128, lr=0.06, decay=5e-4, queue=4096, momentum=0.99, workers=1, seed=1, probe=0).items():
        p.add_argument(f"--{name}", type=type(value), default=value)
    args = p.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    for method in args.method:
        torch.manual_seed(args.seed)
        net, width = backbone(args.width)
        if method != "scratch":
            pretrain(method, args, net, width)
        x, y = features(net, args.data, "train", args.probe)
        queries, truth = features(net, args.data, "test", 0)
        scaler = StandardScaler().fit(x)
        linear = LogisticRegressionCV(Cs=[1 / (l2 * len(x)) for l2 in (1, 1e-1, 1e-2, 1e-3, 1e-4)], cv=3, max_iter=200, scoring="accuracy").fit(scaler.transform(x), y)
        top1 = linear.score(scaler.transform(queries), truth)
        print(f"{method:8} linear.top1 {top1:.4f}  knn20.top1 {knn(x, y, queries, truth, 20):.4f}  knn200.top1 {knn(x, y, queries, truth, 200):.4f}", flush=True)


if __name__ == "__main__":
    main()
