"""Makes golden.json.gz: what torchvision's Mask R-CNN computes for small inputs.

python make_golden.py     (torch 2.15.0, torchvision 0.29.2)
"""
import gzip, json, os
import torch
from torchvision.models.detection import _utils as du, anchor_utils, roi_heads, rpn
from torchvision.ops import boxes as ops, poolers, roi_align

torch.manual_seed(1)
golden = {}


def flat(t):
    return [float(f"{v:.9g}") for v in t.flatten().tolist()] if t.is_floating_point() else t.flatten().tolist()


def random_boxes(n, w, h, largest):
    """Boxes partly outside a w×h image."""
    centre = torch.rand(n, 2) * torch.tensor([w, h])
    side = torch.rand(n, 2) * largest + 1
    return torch.cat([centre - side / 2, centre + side / 2], 1)


# Anchors of a 96×64 image at P3–P7.
strides = [8, 16, 32, 64, 128]
grids = [[-(-64 // s), -(-96 // s)] for s in strides]
golden["anchors"] = []
for scale in 4, 2.5:
    gen = anchor_utils.AnchorGenerator(tuple((scale * s,) for s in strides), ((0.5, 1.0, 2.0),) * 5)
    anchors = torch.cat(gen.grid_anchors(grids, [[torch.tensor(s)] * 2 for s in strides]))
    golden["anchors"].append({"scale": scale, "boxes": flat(anchors)})

# Box coding; some deltas are large enough to be clamped.
box, ref = random_boxes(20, 96, 64, 50), random_boxes(20, 96, 64, 50)
delta = torch.randn(20, 4) * torch.tensor([2.0, 2.0, 8.0, 8.0])
golden["coder"] = [
    {"weights": w, "box": flat(box), "reference": flat(ref), "encoded": flat(du.BoxCoder(w).encode_single(box, ref)),
     "delta": flat(delta), "decoded": flat(du.BoxCoder(w).decode_single(delta, ref))}
    for w in ((1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0))]

# Matching anchors; integer coordinates and a repeated object make ties.
objects = torch.tensor([[8, 8, 40, 40], [8, 8, 40, 40], [0, 0, 96, 64], [50, 20, 58, 24], [60, 10, 91, 60], [3.5, 30, 9.25, 61]])
anchors = torch.tensor(golden["anchors"][1]["boxes"]).view(-1, 4)
iou = ops.box_iou(objects, anchors)
golden["match"] = {
    "objects": flat(objects), "anchors": flat(anchors), "iou": flat(iou[4]),
    "rpn": flat(du.Matcher(0.7, 0.3, True)(iou)), "roi": flat(du.Matcher(0.5, 0.5)(iou)), "between": flat(du.Matcher(0.5, 0.4)(iou))}

# Sampling: how many of each kind.
golden["sampler"] = []
for size, fraction, positive, negative in (256, 0.5, 10, 1000), (256, 0.5, 300, 1000), (512, 0.25, 300, 20), (7, 0.3, 5, 5), (8, 0.25, 0, 3):
    labels = torch.cat([torch.ones(positive), torch.zeros(negative), -torch.ones(5)])
    pos, neg = du.BalancedPositiveNegativeSampler(size, fraction)([labels])
    golden["sampler"].append([size, fraction, positive, negative, int(pos[0].sum()), int(neg[0].sum())])

# Suppression; scores repeat.
b = random_boxes(400, 96, 64, 40)
s = (torch.rand(400) * 50).floor() / 50
g = torch.randint(0, 4, (400,))
golden["nms"] = {"boxes": flat(b), "scores": flat(s), "groups": flat(g)}
for t in 0.7, 0.5, 0.1, 0.0:
    golden["nms"][f"keep {t}"] = flat(ops.nms(b, s, t))
    by_group = torch.cat([torch.where(g == k)[0][ops.nms(b[g == k], s[g == k], t)] for k in range(4)]).sort()[0]
    golden["nms"][f"batched {t}"] = flat(by_group[s[by_group].sort(descending=True, stable=True)[1]])

# Proposals of one image.
counts = [120, 60, 24, 6, 6]
b = random_boxes(sum(counts), 96, 64, 40)
b[5] = torch.tensor([-20, -20, -5, 30])
logits = torch.randn(sum(counts))
net = rpn.RegionProposalNetwork(None, None, 0.7, 0.3, 256, 0.5, {"training": 100, "testing": 100}, {"training": 70, "testing": 70}, 0.7)
kept, _ = net.filter_proposals(b[None], logits[None, :, None], [(64, 96)], counts)
order = torch.cat([o + c.sort(descending=True)[1][:100] for o, c in zip([0, 120, 180, 204, 210], logits.split(counts))])
golden["proposals"] = {"boxes": flat(b[order]), "scores": flat(logits[order]), "levels": [min(c, 100) for c in counts], "kept": flat(kept[0])}

# The second stage. The sampler takes everything, so that no chance is in it.
heads = roi_heads.RoIHeads(None, None, None, 0.5, 0.5, 10000, 0.5, None, 0.05, 0.5, 20)
proposals = [random_boxes(60, 96, 64, 50).clamp(min=0) for _ in range(2)] + [random_boxes(5, 96, 64, 50)]
truth = [random_boxes(5, 96, 64, 50).clamp(min=0), random_boxes(3, 96, 64, 60).clamp(min=0), torch.zeros(0, 4)]
classes = [torch.tensor([1, 3, 2, 2, 1]), torch.tensor([3, 1, 2]), torch.zeros(0, dtype=torch.int64)]
targets = [{"boxes": t, "labels": c} for t, c in zip(truth, classes)]
chosen, matched, labels, deltas = heads.select_training_samples(list(proposals), targets)
rows = [(i, k) for i in range(3) for k in torch.where(labels[i] > 0)[0]] + [(i, k) for i in range(3) for k in torch.where(labels[i] == 0)[0]]
golden["roi"] = {
    "proposals": [flat(p) for p in proposals], "objects": [flat(t) for t in truth], "classes": [flat(c) for c in classes],
    "box": flat(torch.stack([chosen[i][k] for i, k in rows])), "image": [i for i, _ in rows], "class": [int(labels[i][k]) for i, k in rows],
    "object": [int(matched[i][k]) for i, k in rows if labels[i][k] > 0],
    "delta": flat(torch.stack([deltas[i][k] for i, k in rows if labels[i][k] > 0]))}

rois = random_boxes(80, 96, 64, 50).clamp(min=0)
logits, deltas = torch.randn(80, 4) * 2, torch.randn(80, 16)
boxes, scores, labels = heads.postprocess_detections(logits, deltas, [rois], [(64, 96)])
golden["detections"] = {
    "rois": flat(rois), "probs": flat(logits.softmax(-1)), "deltas": flat(deltas),
    "boxes": flat(boxes[0]), "scores": flat(scores[0]), "labels": flat(labels[0])}

# Levels, with sides on and beside the borders.
sides = torch.tensor([1, 50, 111.99, 112, 112.00001, 223.9, 223.99998, 224, 448, 896, 1791, 1792, 5000])
b = torch.stack([torch.zeros(13), torch.zeros(13), sides, sides], 1)
golden["levels"] = {"boxes": flat(b), "levels": flat(poolers.LevelMapper(3, 7)([b]))}

# Mask targets: boxes inside, over the border, tiny, on the corner.
yy, xx = torch.meshgrid(torch.arange(64), torch.arange(96), indexing="ij")
mask = ((((xx - 60) / 33.0) ** 2 + ((yy - 30) / 21.0) ** 2 < 1) & ((xx + yy) % 17 > 2)).float()
b = torch.tensor([[27.3, 9.1, 93.6, 51.7], [50, 20, 60, 30], [80.2, 40.4, 96, 64], [95.4, 63.7, 96, 64], [40, 25, 40.2, 60], [0, 0, 96, 64]])
golden["mask"] = {"pix": flat(mask.to(torch.uint8)), "boxes": flat(b), "size": 14,
                  "targets": flat(roi_heads.project_masks_on_boxes(mask[None], b, torch.zeros(6, dtype=torch.int64), 14))}

# Pasting.
probs = torch.rand(5, 1, 7, 7)
b = torch.tensor([[10.2, 5.5, 40.9, 33.3], [0, 0, 12, 9], [30, 20, 48, 40], [20, 20, 20.3, 20.2], [-0.0, 0, 48, 40]])
golden["paste"] = {"probs": flat(probs), "boxes": flat(b), "images": flat(roi_heads.paste_masks_in_image(probs, b, (40, 48)))}

# RoIAlign over the levels P3–P7 of two 96×64 images: boxes inside, over each border and corner, outside,
# points, lines, and the whole image. Features and the gradient of the output come from a formula.
features = [torch.sin(torch.arange(2 * 3 * h * w, dtype=torch.float64) * 0.37 + i).float().view(2, 3, h, w).requires_grad_() for i, (h, w) in enumerate(grids)]
b = torch.cat([random_boxes(14, 96, 64, 70), torch.tensor([
    [0, 0, 96, 64], [-30, -20, 130, 90], [90, 60, 96, 64], [95.5, 10, 96, 60], [40, 30, 40, 30], [10, 63.5, 70, 63.6],
    [-9, -9, -3, -3], [-30, 10, -20, 20], [97, 65, 108, 80], [120, 10, 130, 20], [0, 0, 8, 8], [88, 56, 96, 64]])])
image = torch.arange(len(b)) % 2
golden["roialign"] = {"boxes": flat(b), "images": flat(image), "outputs": [], "grads": []}
for size in 7, 2:
    levels = poolers.LevelMapper(3, 7, canonical_scale=24)([b])
    out = torch.zeros(len(b), 3, size, size)
    for i, f in enumerate(features):
        rois = torch.cat([image[:, None].float(), b], 1)[levels == i]
        out[levels == i] = roi_align(f, rois, size, 1 / strides[i], 2)
    grad = torch.cos(torch.arange(out.numel(), dtype=torch.float64) * 0.11).float().view_as(out)
    golden["roialign"]["levels"] = flat(levels)
    golden["roialign"]["outputs"].append(flat(out))
    golden["roialign"]["grads"].append([flat(g) for g in torch.autograd.grad((out * grad).sum(), features)])

with open(os.path.join(os.path.dirname(__file__), "golden.json.gz"), "wb") as f:
    f.write(gzip.compress(json.dumps(golden, separators=(",", ":")).encode(), 9, mtime=0))
