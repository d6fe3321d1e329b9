"""Time one multi-task training step of the MuST student in PyTorch, on synthetic data.

The model is put together from torchvision's own parts, run eagerly. Prints one JSON line; README.md explains it.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

TASKS = ("cls", "det", "seg", "depth")
IGNORE = 255


@dataclass
class Config:
    backbone: str = "resnet50"
    size: int = 512
    fpn: int = 256  # channels of every pyramid level
    head: int = 256  # channels of every convolutional head
    fc: int = 1024  # hidden units of the box head
    anchors: tuple = (32, 64, 128, 256, 512)  # one size per level, P3 to P7
    classes: int = 1000
    things: int = 91  # detection classes, background included
    pixel_classes: int = 133
    head_norm: str = "none"  # batch norm in the box and mask heads, as torchvision's "v2" recipes have it


def small_config():
    return Config("resnet18", 64, 64, 64, 256, (8, 16, 32, 64, 128), 20, 21, 20)


def resize(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def pixel_head(channels_in, channels, channels_out):
    widths = [channels_in, channels, channels, channels]
    hidden = [Conv2dNormActivation(a, b, kernel_size=3) for a, b in zip(widths, widths[1:])]
    return nn.Sequential(*hidden, nn.Conv2d(channels, channels_out, kernel_size=1))


class MultiTask(nn.Module):
    """ResNet, FPN and one head per task. Builds only the levels and heads that its tasks need."""

    def __init__(self, cfg, tasks, masks=True, score=0.05):
        super().__init__()
        self.tasks = tasks
        body = resnet.__dict__[cfg.backbone](weights=None)
        c5 = body.inplanes
        self.dense = "seg" in tasks or "depth" in tasks
        levels = range(2 if self.dense else 3, 6)
        self.body = IntermediateLayerGetter(body, {f"layer{i - 1}": f"p{i}" for i in levels})
        if self.dense or "det" in tasks:
            widths = [c5 // 2 ** (5 - i) for i in levels]
            self.fpn = FeaturePyramidNetwork(widths, cfg.fpn, extra_blocks=LastLevelP6P7(c5, cfg.fpn))
        if "cls" in tasks:
            self.cls = nn.Linear(c5, cfg.classes)
        if "seg" in tasks:
            self.seg = pixel_head(cfg.fpn, cfg.head, cfg.pixel_classes)
        if "depth" in tasks:
            self.depth = pixel_head(cfg.fpn, cfg.head, 1)
        if "det" in tasks:
            self.rpn, self.roi_heads = mask_rcnn(cfg, masks, score)

    def features(self, images):
        """Image [N,3,H,W] -> C5, the levels P2 (or P3) to P7 by name, and the fused P2 if a pixel task wants it."""
        c = self.body(images)
        p = self.fpn(c) if hasattr(self, "fpn") else None
        return c["p5"], p, self.fuse(p) if self.dense else None

    def fuse(self, p):
        fused = p["p2"]
        for name in ("p3", "p4", "p5", "p6", "p7"):
            fused = fused + resize(p[name], fused.shape[-2:])
        return fused

    def logits(self, images):
        """Everything but detection; pixel maps come at image size, in float32. Also the pyramid for detection."""
        c5, p, fused = self.features(images)
        size = images.shape[-2:]
        out = {}
        if "cls" in self.tasks:
            out["cls"] = self.cls(F.adaptive_avg_pool2d(c5, 1).flatten(1)).float()
        if "seg" in self.tasks:
            out["seg"] = resize(self.seg(fused), size).float()
        if "depth" in self.tasks:
            out["depth"] = resize(self.depth(fused), size).float()[:, 0]
        return out, p

    def detect(self, images, pyramid, targets=None):
        """Training: a dict of losses. Evaluation: a list of dicts with boxes, labels, scores."""
        sizes = [tuple(images.shape[-2:])] * len(images)
        levels = OrderedDict((k, v) for k, v in pyramid.items() if k != "p2")
        proposals, rpn_losses = self.rpn(ImageList(images, sizes), levels, targets)
        detections, roi_losses = self.roi_heads(levels, proposals, sizes, targets)
        return {**rpn_losses, **roi_losses} if self.training else detections

    def forward(self, images, targets):
        """The losses of one batch, by name; their sum is the training loss."""
        out, pyramid = self.logits(images)
        losses = {}
        if "cls" in out:
            losses["cls"] = F.cross_entropy(out["cls"], targets["cls"])
        if "seg" in out:
            losses["seg"] = F.cross_entropy(out["seg"], targets["seg"], ignore_index=IGNORE)
        if "depth" in out:
            valid = targets["valid"]
            losses["depth"] = F.l1_loss(out["depth"][valid], targets["depth"][valid])
        if "det" in self.tasks:
            losses.update(self.detect(images, pyramid, targets["det"]))
        return losses

    @torch.no_grad()
    def predict(self, images):
        out, pyramid = self.logits(images)
        if "det" in self.tasks:
            out["det"] = self.detect(images, pyramid)
        return out


def mask_rcnn(cfg, masks, score):
    """RPN and RoI heads on P3 to P7; every number not in Config is torchvision's default."""
    names = ["p3", "p4", "p5", "p6", "p7"]
    norm = nn.BatchNorm2d if cfg.head_norm == "bn" else None
    canonical = 7 * cfg.anchors[0]  # 224 at the usual anchor sizes

    def pool(size):
        return MultiScaleRoIAlign(names, size, sampling_ratio=2, canonical_scale=canonical)

    rpn = RegionProposalNetwork(
        AnchorGenerator(tuple((s,) for s in cfg.anchors), ((0.5, 1.0, 2.0),) * len(cfg.anchors)),
        RPNHead(cfg.fpn, 3, conv_depth=2),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 2000, "testing": 1000},
        post_nms_top_n={"training": 2000, "testing": 1000},
        nms_thresh=0.7,
    )
    roi_heads = RoIHeads(
        pool(7),
        FastRCNNConvFCHead((cfg.fpn, 7, 7), [cfg.head] * 4, [cfg.fc], norm_layer=norm),
        FastRCNNPredictor(cfg.fc, cfg.things),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=512,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=score,
        nms_thresh=0.5,
        detections_per_img=100,
    )
    if masks:
        roi_heads.mask_roi_pool = pool(14)
        roi_heads.mask_head = MaskRCNNHeads(cfg.fpn, [cfg.head] * 4, 1, norm_layer=norm)
        roi_heads.mask_predictor = MaskRCNNPredictor(cfg.head, cfg.head, cfg.things)
    return rpn, roi_heads


def make_batch(cfg, n, boxes):
    """Random images with targets of the usual form: elliptic objects on a background of large class patches."""
    s = cfg.size
    y, x = torch.meshgrid(torch.arange(s) + 0.5, torch.arange(s) + 0.5, indexing="ij")
    targets = {"det": [], "seg": [], "depth": [], "valid": []}
    for _ in range(n):
        wh = (16 + torch.rand(boxes, 2) * (s / 2 - 16)).floor()
        low = (torch.rand(boxes, 2) * (s - wh)).floor()
        centre = low + wh / 2
        labels = torch.randint(1, cfg.things, (boxes,))
        dx = (x - centre[:, 0, None, None]) / wh[:, 0, None, None]
        dy = (y - centre[:, 1, None, None]) / wh[:, 1, None, None]
        radius = 2 * (dx**2 + dy**2).sqrt()
        masks = radius <= 1
        patches = torch.randint(0, cfg.pixel_classes, (1, 1, 4, 4)).float()
        seg = F.interpolate(patches, size=(s, s))[0, 0].long()
        depth = 2 + 8 * y / s
        for i in range(boxes):
            seg[(radius[i] > 1) & (radius[i] < 1.1)] = IGNORE
            seg[masks[i]] = labels[i] % cfg.pixel_classes
            depth = torch.where(masks[i], 1 + i * 0.5, depth)
        targets["det"].append({"boxes": torch.cat([low, low + wh], 1), "labels": labels, "masks": masks.to(torch.uint8)})
        targets["seg"].append(seg)
        targets["depth"].append(depth)
        targets["valid"].append(seg != IGNORE)
    for key in ("seg", "depth", "valid"):
        targets[key] = torch.stack(targets[key])
    targets["cls"] = (3 * torch.randn(n, cfg.classes)).softmax(1)
    return torch.randn(n, 3, s, s), targets


class Watch:
    """Running totals of RoIs that reach the heads, which decide how much work detection is, and seconds by part."""

    def __init__(self, model, device):
        self.device, self.stack, self.seconds = device, [], None
        self.rois = {"box": 0, "mask": 0}
        self.part(model.body, "forward", "backbone")
        if model.dense:
            self.part(model, "fuse", "pixel heads")
        if hasattr(model, "fpn"):
            self.part(model.fpn, "forward", "FPN")
        for name in ("seg", "depth"):
            if hasattr(model, name):
                self.part(getattr(model, name), "forward", "pixel heads")
        if hasattr(model, "rpn"):
            self.part(model.rpn.head, "forward", "RPN")
            self.part(model.rpn.anchor_generator, "forward", "proposals")
            self.part(model.rpn.box_coder, "decode", "proposals")
            self.part(model.rpn, "filter_proposals", "proposals")
            self.part(model.rpn, "assign_targets_to_anchors", "RPN targets")
            roi = model.roi_heads
            self.part(roi, "select_training_samples", "proposals")
            for kind in ("box", "mask"):
                if getattr(roi, f"{kind}_head", None) is not None:
                    self.part(getattr(roi, f"{kind}_roi_pool"), "forward", "RoIAlign")
                    self.part(getattr(roi, f"{kind}_head"), "forward", f"{kind} head", kind)
                    self.part(getattr(roi, f"{kind}_predictor"), "forward", f"{kind} head")

    def part(self, owner, attribute, name, rois=None):
        inner = getattr(owner, attribute)

        def timed(*args, **kwargs):
            if rois:
                self.rois[rois] += len(args[0])
            self.enter(name)
            try:
                return inner(*args, **kwargs)
            finally:
                self.leave()

        setattr(owner, attribute, timed)

    def lap(self):
        if self.seconds is None:
            return
        if self.device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self.stack:
            self.seconds[self.stack[-1]] = self.seconds.get(self.stack[-1], 0) + now - self.clock
        self.clock = now

    def enter(self, name):
        self.lap()
        self.stack.append(name)

    def leave(self):
        self.lap()
        self.stack.pop()


def rss_mb(who=resource.RUSAGE_SELF):
    return round(resource.getrusage(who).ru_maxrss / 1024)


def common_flags(parser):
    parser.add_argument("--backbone", help="a torchvision ResNet (resnet50; with --small resnet18)")
    parser.add_argument("--size", type=int, help="image side in pixels (512; with --small 64)")
    parser.add_argument("--small", action="store_true", help="narrow model: ResNet-18, 64 px, 64 channels, 20 classes")
    parser.add_argument("--head-norm", choices=("none", "bn"), default="none", help="norm in the box and mask heads")
    parser.add_argument("--channels-last", action="store_true", help="NHWC memory format for model and images")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)


def config_from(args):
    cfg = small_config() if args.small else Config()
    cfg.backbone = args.backbone or cfg.backbone
    cfg.size = args.size or cfg.size
    cfg.head_norm = args.head_norm
    return cfg


def versions():
    return {"torch": torch.__version__, "torchvision": torchvision.__version__}


class Student:
    """The model, its optimizer and a few batches made beforehand."""

    def __init__(self, args):
        self.args, self.cfg, self.taken = args, config_from(args), 0
        tasks = args.tasks.split(",")
        model = MultiTask(self.cfg, tasks).train()
        layout = torch.channels_last if args.channels_last else torch.contiguous_format
        self.model = model.to(args.device, memory_format=layout)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=4e-5, fused=True)
        batches = [make_batch(self.cfg, args.batch, args.boxes) for _ in range(min(4, args.steps))]
        self.batches = [(x.to(args.device, memory_format=layout), to_device(t, args.device)) for x, t in batches]
        self.watch = Watch(model, args.device)

    def step(self, profile=False):
        """Takes a step and returns what it took: seconds, of which forward and so on, by part if asked to, and the losses."""
        images, targets = self.batches[self.taken % len(self.batches)]
        watch, cuda = self.watch, self.args.device == "cuda"
        watch.seconds, watch.rois = ({} if profile else None), {"box": 0, "mask": 0}
        cpu, marks = time.process_time(), []

        def mark(wait=False):  # on a GPU forward and backward are the host's time, only the whole step is the device's
            if cuda and wait:
                torch.cuda.synchronize()
            marks.append(time.perf_counter())

        mark(wait=True)
        watch.enter("losses")
        with torch.autocast(self.args.device, dtype=torch.bfloat16, enabled=self.args.bf16):
            losses = self.model(images, targets)
            loss = sum(losses.values())
        watch.leave()
        mark()
        watch.enter("backward")
        self.optimizer.zero_grad()
        loss.backward()
        watch.leave()
        mark()
        watch.enter("optimizer")
        self.optimizer.step()
        watch.leave()
        mark(wait=True)
        if not math.isfinite(loss.item()):
            raise SystemExit(f"step {self.taken}: loss is {loss.item()}, timing would be meaningless")
        self.taken += 1
        return {
            "seconds": marks[3] - marks[0],
            "forward": marks[1] - marks[0],
            "backward": marks[2] - marks[1],
            "optimizer": marks[3] - marks[2],
            "cpu": time.process_time() - cpu,
            "parts": watch.seconds,
            "losses": {k: round(v.item(), 4) for k, v in losses.items()},
            "box_rois_per_img": watch.rois["box"] / self.args.batch,
            "mask_rois_per_img": watch.rois["mask"] / self.args.batch,
        }

    def summary(self):
        out = {
            "bench": "student_step",
            "peak_rss_mb": rss_mb(),
            "params_m": round(sum(p.numel() for p in self.model.parameters()) / 1e6, 2),
            "settings": {**vars(self.args), "backbone": self.cfg.backbone, "size": self.cfg.size},
            **versions(),
        }
        if self.args.device == "cuda":
            out["peak_device_mb"] = round(torch.cuda.max_memory_reserved() / 2**20)
        return out


def to_device(x, device):
    if isinstance(x, dict):
        return {k: to_device(v, device) for k, v in x.items()}
    if isinstance(x, list):
        return [to_device(v, device) for v in x]
    return x.to(device)


def driven(student):
    """A step for every line of standard input, "step" or "profile", and a JSON line for every step; at the end the summary."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(student.step(line.strip() == "profile")), flush=True)
    print(json.dumps(student.summary()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    common_flags(parser)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2, help="steps that are run first and not counted")
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma-separated, of cls, det, seg, depth")
    parser.add_argument("--boxes", type=int, default=8, help="objects per image")
    parser.add_argument("--driven", action="store_true", help="take a step for each line on standard input")
    args = parser.parse_args()
    if unknown := set(args.tasks.split(",")) - set(TASKS):
        parser.error(f"unknown tasks: {', '.join(sorted(unknown))}")

    start_rss = rss_mb()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    student = Student(args)
    if args.driven:
        return driven(student)
    steps = [student.step() for _ in range(args.warmup + args.steps)][args.warmup :]
    seconds = [s["seconds"] for s in steps]
    median, best = statistics.median(seconds), min(seconds)
    print(
        json.dumps(
            {
                "img_per_s_median": round(args.batch / median, 4),
                "img_per_s_best": round(args.batch / best, 4),
                **{f"ms_{k}": round(1000 * statistics.median(s[k] for s in steps), 1) for k in ("forward", "backward", "optimizer")},
                "cpu_per_wall": round(sum(s["cpu"] for s in steps) / sum(seconds), 2),
                "rss_after_import_mb": start_rss,
                "parts": student.step(profile=True)["parts"],
                "last": steps[-1],
                **student.summary(),
            }
        )
    )


if __name__ == "__main__":
    main()
