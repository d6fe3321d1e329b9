"""Writes golden.json: heads and losses of every task, as PyTorch and torchvision compute them.

Run as `python testdata/make_golden.py` in the package's folder; golden.py says which values are stored, and why
in float64. Detection is torchvision's RegionProposalNetwork and RoIHeads with our widths; the other heads and the
scale-and-shift-invariant loss (MiDaS, Ranftl et al. 2020) are restated here.
"""
import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.detection import anchor_utils, faster_rcnn, image_list, mask_rcnn, roi_heads, rpn
from torchvision.ops import MultiScaleRoIAlign

sys.path.append(next(str(p / "torch/goldentest") for p in pathlib.Path(__file__).resolve().parents if (p / "go.mod").exists()))
from golden import fill, load, noise, pin, save, some

pin(torch="2.15.0", torchvision="0.29.2")

SIZE, WIDTH, FC, IMAGES, CLASSES = 128, 8, 16, 4, 3
LABELLED = [0, 2]  # 1 has no label, 3 one without a valid pixel


c5 = noise("C5", IMAGES, 64, 4, 4)
pyramid = [noise(f"P{i + 2}", IMAGES, WIDTH, SIZE >> (i + 2), SIZE >> (i + 2)) for i in range(6)]
golden = {}


def input_gradients():
    """Those of C5 and of every level, as far as a loss reads them, and a clean slate."""
    grads = [[] if t.grad is None else some(t.grad, 20) for t in (c5, *pyramid)]
    for t in (c5, *pyramid):
        t.requires_grad_().grad = None
    return grads


input_gradients()

# Classification.
w, b = (fill(f"heads.classification.{k}", s).requires_grad_() for k, s in (("weight", (CLASSES, 64)), ("bias", (CLASSES,))))
logits = F.linear(c5.mean((2, 3)), w, b)
probs = torch.stack([noise(f"class {i}", CLASSES).abs() for i in range(IMAGES)])
probs = probs / probs.sum(1, keepdim=True)
loss = F.cross_entropy(logits[LABELLED], probs[LABELLED])
loss.backward()
golden["classification"] = {"loss": loss.item(), "grad": some(w.grad), "inputs": input_gradients(), "out": some(logits.softmax(1))}


# Pixel heads.
class PixelHead(nn.Module):
    def __init__(self, out):
        super().__init__()
        self.tower = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), "norm": nn.BatchNorm2d(WIDTH)}) for _ in range(3))
        self.linear = nn.Conv2d(WIDTH, out, 1)

    def forward(self, x):
        for l in self.tower:
            x = l["norm"](l["conv"](x)).relu()
        return F.interpolate(self.linear(x), size=(SIZE, SIZE), mode="bilinear", align_corners=False)


def fuse():
    fused = pyramid[0]
    for p in pyramid[1:]:
        fused = fused + F.interpolate(p, size=fused.shape[2:], mode="bilinear", align_corners=False)
    return fused


def pixel(task, out, loss_of, view, labelled=LABELLED):
    head = load(PixelHead(out), lambda k: f"heads.{task}.{k}")
    with torch.no_grad():
        prediction = head.eval()(fuse())
    loss = loss_of(head.train()(fuse()[labelled]), labelled)
    loss.backward()
    return {"loss": loss.item(), "grad": some(head.tower[0]["conv"].weight.grad), "inputs": input_gradients(), "out": some(view(prediction))}


def semantic(i):
    v = ((noise(f"semantic {i}", SIZE, SIZE) + 1) / 2 * 5).long()
    return torch.where(v == 4, 255, v)


golden["segmentation"] = pixel("segmentation", 4, lambda y, which: F.cross_entropy(y, torch.stack([semantic(i) for i in which]), ignore_index=255),
                                lambda y: torch.stack(tuple(map(torch.Tensor.double, y.softmax(1).max(1)))))


def depth(i):
    """Values and where they are valid."""
    return 2 + noise(f"depth {i}", SIZE, SIZE), noise(f"hole {i}", SIZE, SIZE) < 0.5


def metric_loss(y, which):
    v, m = (torch.stack(t) for t in zip(*map(depth, which)))
    return (y[:, 0] - v.log()).abs()[m].mean()


golden["metric"] = pixel("depth", 1, metric_loss, torch.exp)


def midas_loss(y, which):
    """As the published code, but for the data term, which is the mean absolute error (of the paper's
    other variant), and labels that are brought to median 0 and mean absolute deviation 1."""
    v, m = (torch.stack(t).double() for t in zip(*map(depth, which)))
    for i in range(len(v)):
        valid = v[i][m[i] > 0].sort()[0]
        median = valid[len(valid) // 2]
        v[i] = (v[i] - median) / (valid - median).abs().mean()
    return aligned(y[:, 0], v, m)


def aligned(y, v, m):
    """The scale of an image whose least squares would turn it upside down is the ratio of the spreads."""
    a00, a01, a11 = (m * y * y).sum((1, 2)), (m * y).sum((1, 2)), m.sum((1, 2))
    b0, b1 = (m * y * v).sum((1, 2)), (m * v).sum((1, 2))
    det = a00 * a11 - a01 * a01
    scale, shift = (a11 * b0 - a01 * b1) / det, (-a01 * b0 + a00 * b1) / det
    spread = lambda x: ((x - ((m * x).sum((1, 2)) / a11)[:, None, None]) ** 2 * m).sum((1, 2))
    down = scale < 0
    scale = torch.where(down, (spread(v) / spread(y)).sqrt(), scale)
    shift = torch.where(down, (b1 - scale * a01) / a11, shift)
    diff = m * (scale[:, None, None] * y + shift[:, None, None] - v)
    total = diff.abs().sum() / m.sum()
    for step in 1, 2, 4, 8:
        d, k = diff[:, ::step, ::step], m[:, ::step, ::step]
        x = ((d[:, :, 1:] - d[:, :, :-1]).abs() * k[:, :, 1:] * k[:, :, :-1]).sum()
        z = ((d[:, 1:] - d[:, :-1]).abs() * k[:, 1:] * k[:, :-1]).sum()
        total = total + 0.5 * (x + z) / k.sum()
    return total


golden["inverse"] = pixel("depth", 1, midas_loss, lambda y: y)  # both of its images are upside down
got, want = noise("got", 2, 20, 20), noise("want", 2, 20, 20)  # and these are not
golden["aligned"] = aligned(want + 0.5 * got, want, (noise("valid", 2, 20, 20) > -0.5).double()).item()


def normals_loss(y, which):
    v = torch.stack([noise(f"normals {i}", 3, SIZE, SIZE) for i in which])
    v = v / v.norm(dim=1, keepdim=True)
    m = torch.stack([noise(f"hole {i}", SIZE, SIZE) < 0.5 for i in which])
    return (1 - F.cosine_similarity(y, v, 1))[m].mean()


golden["normals"] = pixel("normals", 3, normals_loss, lambda y: F.normalize(y, dim=1).permute(0, 2, 3, 1))


# Detection: image 0 has two objects, 1 no label, 2 no object, 3 three objects.
def objects(i):
    n = (2, 0, 0, 3)[i]
    u = noise(f"boxes {i}", max(n, 1), 4)[:n]
    corner, side = ((u[:, :2] + 1) * 35).floor(), ((u[:, 2:] + 1) * 25).floor() + 8
    boxes = torch.cat([corner, corner + side], 1)
    masks = torch.zeros(n, SIZE, SIZE, dtype=torch.uint8)
    for k, (x0, y0, x1, y1) in enumerate(boxes.int().tolist()):
        masks[k, y0:y1, x0:x1] = (noise(f"mask {i} {k}", y1 - y0, x1 - x0) < 0.5).byte()
    return {"boxes": boxes, "labels": torch.tensor([(i + k) % 2 + 1 for k in range(n)], dtype=torch.int64), "masks": masks}


def rpn_name(k):
    k = k.replace("conv.0.0", "conv0").replace("conv.1.0", "conv1")
    return "heads.detection.rpn." + k.replace("cls_logits", "objectness").replace("bbox_pred", "delta")


def tower_name(prefix):
    def name(k):
        if k.startswith("6."):  # after 4 convolutions and a flattening
            raise AssertionError(k)
        i, part, rest = k.split(".")
        return f"{prefix}{i}.{'conv' if part == '0' else 'norm'}.{rest}"
    return name


def box_head_name(k):
    return "heads.detection.box.fc." + k.split(".")[-1] if k.startswith("5.") else tower_name("heads.detection.box.tower.")(k)


names = [str(i) for i in range(5)]
features = dict(zip(names, pyramid[1:]))
anchors = anchor_utils.AnchorGenerator(tuple((4 * s,) for s in (8, 16, 32, 64, 128)), ((0.5, 1.0, 2.0),) * 5)
proposer = rpn.RegionProposalNetwork(
    anchors, load(rpn.RPNHead(WIDTH, 3, conv_depth=2), rpn_name), 0.7, 0.3, 10000, 0.5,
    {"training": 200, "testing": 200}, {"training": 150, "testing": 150}, 0.7)
predictor = load(faster_rcnn.FastRCNNPredictor(FC, 3), lambda k: "heads.detection.box." + k.replace("cls_score", "class").replace("bbox_pred", "delta"))
mask_predictor = mask_rcnn.MaskRCNNPredictor(WIDTH, WIDTH, 3)
with torch.no_grad():
    for k, p in mask_predictor.named_parameters():
        if k.startswith("conv5_mask"):
            p.copy_(fill("heads.detection.mask.deconv." + k.split(".")[-1], p.shape))
        else:  # torchvision predicts a mask of the background too
            p.zero_()
            p[1:] = fill("heads.detection.mask.linear." + k.split(".")[-1], (2, *p.shape[1:]))
heads = roi_heads.RoIHeads(
    MultiScaleRoIAlign(names, 7, 2),
    load(faster_rcnn.FastRCNNConvFCHead((WIDTH, 7, 7), [WIDTH] * 4, [FC], norm_layer=nn.BatchNorm2d), box_head_name),
    predictor, 0.5, 0.5, 10000, 0.25, None, 0.05, 0.5, 50,
    MultiScaleRoIAlign(names, 14, 2),
    load(mask_rcnn.MaskRCNNHeads(WIDTH, [WIDTH] * 4, 1, norm_layer=nn.BatchNorm2d), tower_name("heads.detection.mask.tower.")),
    mask_predictor)


def detector(which, targets):
    images = image_list.ImageList(torch.zeros(len(which), 3, SIZE, SIZE), [(SIZE, SIZE)] * len(which))
    chosen = {k: v[which] for k, v in features.items()}
    proposals, first = proposer(images, chosen, targets)
    found, second = heads(chosen, proposals, images.image_sizes, targets)
    return found, {**first, **second}


proposer.eval(), heads.eval()
with torch.no_grad():
    found, _ = detector([0, 1], None)
proposer.train(), heads.train()
which = [0, 2, 3]
_, losses = detector(which, [objects(i) for i in which])
sum(losses.values()).backward()
golden["detection"] = {
    "losses": {ours: losses[theirs].item() for ours, theirs in (
        ("rpn_objectness", "loss_objectness"), ("rpn_box", "loss_rpn_box_reg"), ("box_class", "loss_classifier"),
        ("box", "loss_box_reg"), ("mask", "loss_mask"))},
    "grad": {"heads.detection.rpn.conv0.weight": some(proposer.head.conv[0][0].weight.grad),
             "heads.detection.box.tower.0.conv.weight": some(heads.box_head[0][0].weight.grad),
             "heads.detection.mask.tower.0.conv.weight": some(heads.mask_head[0][0].weight.grad)},
    "inputs": input_gradients(),
    "found": [{"boxes": [round(v, 3) for v in f["boxes"].flatten().tolist()], "labels": f["labels"].tolist(),
               "scores": [round(v, 6) for v in f["scores"].tolist()],
               "areas": roi_heads.paste_masks_in_image(f["masks"], f["boxes"], (SIZE, SIZE)).gt(0.5).sum((1, 2, 3)).tolist()} for f in found]}

save(golden)
