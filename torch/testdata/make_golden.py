"""Writes golden.json: what PyTorch computes for every operator that the package wraps.

Run as `python testdata/make_golden.py` in the package's folder.
Inputs come from a formula that both sides know, so only results are stored: the outputs, and the
gradients of sum(weight * first output) with respect to the inputs, weight being that formula too.
"""
import json
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.append("goldentest")
from golden import pin

pin(torch="2.15.0")


def values(n, seed):
    return np.sin(1.7 * np.arange(n) + 0.3 + seed)


def tensor(shape, seed=0, positive=False):
    v = values(math.prod(shape), seed)
    return torch.tensor(np.abs(v) + 0.5 if positive else v).reshape(shape)


class In:
    def __init__(self, *shape, positive=False, ints=None):
        self.shape, self.positive, self.ints = shape, positive, ints


cases = []


def case(name, fn, *ins):
    xs = []
    for i, spec in enumerate(ins):
        if spec.ints is not None:
            xs.append(torch.tensor(spec.ints).reshape(spec.shape))
        else:
            xs.append(tensor(spec.shape, i, spec.positive).requires_grad_())
    outs = fn(*xs)
    outs = outs if isinstance(outs, (list, tuple)) else [outs]
    record = {"op": name, "in": [], "out": [], "shape": [], "grad": []}
    for spec in ins:
        d = {"shape": list(spec.shape)}
        if spec.positive:
            d["positive"] = True
        if spec.ints is not None:
            d["ints"] = spec.ints
        record["in"].append(d)
    for o in outs:
        record["out"].append([float("%.9g" % v) for v in o.detach().double().flatten().tolist()])
        record["shape"].append(list(o.shape))
    first = outs[0]
    if first.requires_grad:
        (first * tensor(first.shape, 7)).sum().backward()
        for x in xs:
            g = x.grad if x.requires_grad else None
            record["grad"].append(None if g is None else [float("%.9g" % v) for v in g.flatten().tolist()])
    cases.append(record)


A, B = In(2, 3), In(2, 3)
P = In(2, 3, positive=True)
I = In(2, 3, ints=[1, 0, 2, 2, 5, -3])
J = In(3, ints=[1, 2, 2])

case("Add", lambda a, b: a + b, A, B)
case("Add/broadcast", lambda a, b: a + b, In(2, 1, 3), In(4, 1))
case("Add/ints", lambda a, b: a + b, I, J)
case("Sub", lambda a, b: a - b, A, B)
case("Sub/ints", lambda a, b: a - b, I, J)
case("AddScalar", lambda a: a - 0.75, A)
case("Mul", lambda a, b: a * b, A, B)
case("Scale", lambda a: a * -2.5, A)
case("MulInPlace", lambda a, b: a.clone().mul_(b), A, In(3))
case("AddInPlace", lambda a, b: a.clone().add_(b), A, In(3))
case("Lerp", lambda a, b: a.detach().clone().lerp_(b.detach(), 0.25), A, B)
case("Div", lambda a, b: a / b, A, P)
case("Exp", torch.exp, A)
case("Log", torch.log, P)
case("Sqrt", torch.sqrt, P)
case("Abs", torch.abs, A)
case("Neg", torch.neg, A)
case("Sigmoid", torch.sigmoid, A)
case("Softplus", lambda a: F.softplus(a * 40 - 0.0, threshold=1e9), A)
case("Softplus/zero", lambda a: F.softplus(a - a.detach(), threshold=1e9), A)
case("Relu", torch.relu, A)
case("ReluInPlace", lambda a: torch.relu(a), A)
case("Gelu", F.gelu, A)
case("Clamp", lambda a: a.clamp(-0.5, 0.25), A)
case("Max", torch.maximum, A, B)
case("Min", torch.minimum, A, B)
case("Gt", torch.gt, A, B)
case("Lt", torch.lt, A, B)
case("Eq", torch.eq, I, In(2, 3, ints=[1, 1, 2, 0, 5, 3]))
case("And", torch.logical_and, I, In(2, 3, ints=[1, 1, 0, 0, 5, 3]))
case("Not", torch.logical_not, I)
case("IsFinite", lambda a: torch.isfinite(1 / (a - a.flatten()[2])), A)
case("Where", lambda c, a, b: torch.where(c > 0, a, b), A, B, In(3))
case("Detach", lambda a: a.detach(), A)
case("As", lambda a: (a * 3).float().double(), A)
case("Wide", lambda a: a * 1, A)
case("Clone", lambda a: a.clone(), A)

T = In(2, 3, 4)
case("View", lambda a: a.reshape(4, -1), T)
case("Permute", lambda a: a.permute(2, 0, 1), T)
case("Transpose", lambda a: a.transpose(0, -1), T)
case("Narrow", lambda a: a.narrow(-1, 1, 2), T)
case("Slice", lambda a: a[:, ::2], T)
case("Select", lambda a: a.select(1, -1), T)
case("Unsqueeze", lambda a: a.unsqueeze(-2), T)
case("Squeeze", lambda a: a.squeeze(1), In(3, 1, 2))
case("Expand", lambda a: a.expand(2, 3, -1), In(3, 1))
case("Flatten", lambda a: a.flatten(1, -1), T)
case("Contiguous", lambda a: a.transpose(0, 1).contiguous(), A)
case("ChannelsLast", lambda a: a.contiguous(memory_format=torch.channels_last), In(2, 3, 2, 2))
case("Cat", lambda a, b: torch.cat([a, b], -1), A, In(2, 1))
case("Stack", lambda a, b: torch.stack([a, b], 1), A, B)
case("IndexSelect", lambda a, i: a.index_select(1, i), T, In(4, ints=[2, 0, 2, 1]))
case("Gather", lambda a, i: a.gather(1, i), A, In(2, 2, ints=[2, 0, 1, 1]))
case("TopK", lambda a: a.topk(2, 1), In(2, 5))
case("Sort", lambda a: a.sort(dim=1, descending=True, stable=True), In(2, 5))
case("Sort/ascending", lambda a: a.sort(dim=0, descending=False, stable=True), In(4, 2))

case("Sum", lambda a: a.sum(), T)
case("Sum/dims", lambda a: a.sum((0, -1)), T)
case("Mean", lambda a: a.mean(), T)
case("Mean/dims", lambda a: a.mean((1, 2)), T)
case("MeanKeep", lambda a: a.mean((-1,), keepdim=True), T)
case("MaxDim", lambda a: a.max(1), T)
case("Norm", lambda a: a.norm(), T)
case("Norm/zero", lambda a: (a - a.detach()).norm(), A)
case("All", lambda a, b: torch.stack([(a == a).all(), (a > b).all()]), A, B)
case("Softmax", lambda a: a.softmax(-2), T)
case("LogSoftmax", lambda a: a.log_softmax(1), T)
case("LogSumExp", lambda a: torch.logsumexp(a, -2), In(2, 3, 4))

X = In(2, 4, 5, 6)
case("MatMul", lambda a, b: a @ b, A, In(3, 2))
case("MatMul/batch", lambda a, b: a @ b, In(2, 2, 3), In(3, 2))
case("Linear", lambda a, w, b: F.linear(a, w, b), In(2, 3), In(4, 3), In(4))
case("Linear/nobias", lambda a, w: F.linear(a, w), In(2, 2, 3), In(2, 3))
case("Conv2D", lambda a, w, b: F.conv2d(a, w, b, 2, 1), In(2, 4, 5, 6), In(3, 4, 3, 3), In(3))
case("Conv2D/groups", lambda a, w: F.conv2d(a, w, None, 1, 2, 2, 2), In(1, 4, 5, 4), In(2, 2, 3, 3))
case("Conv2D/pointwise", lambda a, w, b: F.conv2d(a, w, b), In(2, 3, 2, 3), In(2, 3, 1, 1), In(2))
case("ConvTranspose2D", lambda a, w, b: F.conv_transpose2d(a, w, b, 2), In(1, 3, 2, 3), In(3, 2, 2, 2), In(2))
case("BatchNorm", lambda a, w, b, m, v: F.batch_norm(a, m.detach().clone(), v.detach().clone(), w, b, True, 0.1, 1e-5), In(2, 3, 2, 2), In(3), In(3), In(3), In(3, positive=True))
case("BatchNorm/eval", lambda a, w, b, m, v: F.batch_norm(a, m.detach(), v.detach(), w, b, False, 0.1, 1e-5), In(2, 3, 2, 2), In(3), In(3), In(3), In(3, positive=True))


def running(a, m, v):
    m, v = m.detach().clone(), v.detach().clone()
    F.batch_norm(a, m, v, None, None, True, 0.1, 1e-5)
    return torch.stack([m, v])


case("BatchNorm/running", running, In(2, 3, 2, 2), In(3), In(3, positive=True))
case("GroupNorm", lambda a, w, b: F.group_norm(a, 2, w, b), In(2, 4, 2, 1), In(4), In(4))
case("LayerNorm", lambda a, w, b: F.layer_norm(a, (4,), w, b), In(2, 4), In(4), In(4))
case("MaxPool2D", lambda a: F.max_pool2d(a, 3, 2, 1), In(1, 2, 5, 6))
case("AvgPool2D", lambda a: F.avg_pool2d(a, 2), In(1, 2, 4, 6))
case("Bilinear", lambda a: F.interpolate(a, (5, 3), mode="bilinear"), In(1, 2, 3, 4))
case("Bicubic", lambda a: F.interpolate(a, (5, 3), mode="bicubic"), In(1, 2, 3, 4))
case("Nearest", lambda a: F.interpolate(a, (6, 4), mode="nearest"), In(1, 2, 3, 4))
case("Pad", lambda a: F.pad(a, (2, 2, 2, 2)), In(1, 2, 3, 4))
case("GridSample", lambda a, g: F.grid_sample(a, 1.5 * g, "bilinear", "border", True), In(2, 2, 3, 4), In(2, 2, 3, 2))
case("Attention", F.scaled_dot_product_attention, In(1, 2, 3, 4), In(1, 2, 3, 4), In(1, 2, 3, 4))
case("EmbeddingBag", lambda t, i, o, w: F.embedding_bag(i, t, o, mode="sum", per_sample_weights=w, include_last_offset=True), In(4, 3), In(5, ints=[0, 3, 3, 1, 2]), In(4, ints=[0, 2, 2, 5]), In(5))

case("CrossEntropy", lambda a, t: F.cross_entropy(a, t, ignore_index=255), In(2, 3, 2), In(2, 2, ints=[0, 2, 255, 1]))
case("CrossEntropy/sum", lambda a, t: F.cross_entropy(a, t, reduction="sum"), In(2, 3), In(2, ints=[0, 2]))
case("CrossEntropy/none", lambda a, t: F.cross_entropy(a, t, reduction="none"), In(2, 3), In(2, ints=[1, -100]))
case("CrossEntropy/soft", lambda a, t: F.cross_entropy(a, t.softmax(1)), In(2, 3), In(2, 3))
case("SmoothL1", lambda a, b: F.smooth_l1_loss(a, b, beta=0.25, reduction="sum"), A, B)
case("L1", lambda a, b: F.l1_loss(a, b), A, B)
case("BCEWithLogits", lambda a, b: F.binary_cross_entropy_with_logits(a, b.sigmoid(), reduction="none"), A, B)
case("CosineSimilarity", lambda a, b: F.cosine_similarity(a, b, -1), T, T)

# Optimizers: parameters after each of four steps on the gradient sin(p) + a constant.
optimizers = []


def optimizer(name, make, **settings):
    p = tensor((5,)).float().requires_grad_()
    opt = make([p], **settings)
    steps = []
    for i in range(4):
        p.grad = torch.sin(p.detach()) + tensor((5,), i + 1).float()
        opt.step()
        steps.append([float("%.8g" % v) for v in p.tolist()])
    optimizers.append({"name": name, "steps": steps})


optimizer("sgd", torch.optim.SGD, lr=0.1)
optimizer("momentum", torch.optim.SGD, lr=0.1, momentum=0.9)
optimizer("nesterov", torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
optimizer("adamw", torch.optim.AdamW, lr=0.1, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.05)

with open("testdata/golden.json", "w") as f:
    f.write('{"torch": "%s",\n"cases": [\n' % torch.__version__)
    f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
    f.write('\n],\n"optimizers": [\n')
    f.write(",\n".join(json.dumps(o, separators=(",", ":")) for o in optimizers))
    f.write("\n]}\n")
