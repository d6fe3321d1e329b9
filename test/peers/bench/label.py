"""Time pseudo-labelling in PyTorch a folder of JPEGs through four separate teachers to label files.

Prints one JSON line; README.md explains it.
"""

import argparse
import contextlib
import json
import math
import pathlib
import resource
import statistics
import sys
import tempfile
import time

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional as TF

from student_step import IGNORE, TASKS, MultiTask, common_flags, config_from, rss_mb, versions

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
SUFFIX = {"cls": ".npy", "det": ".json", "seg": ".png", "depth": ".npy"}


class Folder(Dataset):
    """JPEG files -> (stem, width, height, uint8 image [3,S,S], seconds it took)."""

    def __init__(self, root, size):
        self.paths = sorted(p for p in root.iterdir() if p.suffix.lower() in (".jpg", ".jpeg"))
        self.size = size

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        start = time.perf_counter()
        image = decode_image(str(self.paths[i]), mode=ImageReadMode.RGB)
        height, width = image.shape[-2:]
        image = TF.resize(image, [self.size, self.size], antialias=True)
        return self.paths[i].stem, width, height, image, time.perf_counter() - start


def draw_scene(seed, width=640, height=480):
    """A smooth gradient with a few plain shapes; no noise, the same for the same seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    phase, angle = rng.uniform(0, 2 * math.pi, 3), rng.uniform(0, 2 * math.pi)
    ramp = (x * math.cos(angle) + y * math.sin(angle)) / width * 3
    pixels = 128 + 90 * np.sin(ramp[..., None] + phase)
    image = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(8):
        w, h = rng.integers(32, 240, 2)
        left, top = rng.integers(0, width - w), rng.integers(0, height - h)
        box = [int(v) for v in (left, top, left + w, top + h)]
        shape = [draw.rectangle, draw.ellipse][rng.integers(2)]
        shape(box, fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return image


def prepare(images, layout, device):
    images = images.to(device)
    return ((images.float() / 255 - MEAN.to(device)) / STD.to(device)).contiguous(memory_format=layout)


@torch.no_grad()
def calibrate(teacher, images):
    """Give random weights the output statistics of a trained network, so that the work after the network is realistic.

    Batch norm takes its running statistics from these images. Then the last layer of each softmax head is scaled
    to logits of mean 0 and deviation 3 per class, and detection's background is biased so that one proposal in
    twenty scores above 0.5.
    """
    norms = [m for m in teacher.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
        m.train()
    teacher.predict(images)
    for m in norms:
        m.eval()

    def spread(layer, inputs, out):
        flat = out.float().movedim(1, -1).flatten(0, -2)
        mean, scale = flat.mean(0), 3 / flat.std(0).clamp(min=1e-6)
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.sub_(mean).mul_(scale)
        if "det" in teacher.tasks:
            z = ((flat - mean) * scale).double()
            best = z[:, 1:].max(1).values
            margin = best + torch.log1p(-(torch.exp(z[:, 1:] - best[:, None]).sum(1) - 1).clamp(max=1 - 1e-6)) - z[:, 0]
            layer.bias[0] += margin.quantile(0.95).item()

    last = {"cls": lambda: teacher.cls, "seg": lambda: teacher.seg[-1], "det": lambda: teacher.roi_heads.box_predictor.cls_score}
    for task in teacher.tasks:
        if task in last:
            hook = last[task]().register_forward_hook(spread)
            teacher.predict(images)
            hook.remove()


def pseudo_label(task, out):
    """What a teacher says about a batch -> one label per image, as it is written."""
    if task == "cls":
        return list(out["cls"].softmax(1).half().cpu().numpy())
    if task == "seg":
        confidence, label = out["seg"].softmax(1).max(1)
        label = label.to(torch.uint8)
        label[confidence < 0.5] = IGNORE
        return list(label.cpu().numpy())
    if task == "depth":
        return list(out["depth"].half().cpu().numpy())
    return [{k: d[k].tolist() for k in ("boxes", "labels", "scores")} for d in out["det"]]


def write(task, path, label):
    if task == "seg":
        Image.fromarray(label).save(path)
    elif task == "det":
        path.write_text(json.dumps(label))
    else:
        np.save(path, label)


def label_folder(teachers, loader, out, layout, device, autocast):
    """One pass over the folder. Returns seconds by part and counts for the report."""
    seconds = dict.fromkeys(("decode", "wait", "prepare", *teachers, "write"), 0.0)
    boxes = ignored = pixels = 0
    begin = clock = time.perf_counter()

    def lap(part):
        nonlocal clock
        now = time.perf_counter()
        seconds[part] += now - clock
        clock = now

    for stems, widths, heights, images, decode in loader:
        lap("wait")
        seconds["decode"] += decode.sum().item()
        images = prepare(images, layout, device)
        lap("prepare")
        for task, teacher in teachers.items():
            with autocast():
                predictions = teacher.predict(images)
            labels = pseudo_label(task, predictions)
            lap(task)
            for i, stem in enumerate(stems):
                if task == "det":
                    labels[i].update(image_size=[widths[i].item(), heights[i].item()], label_size=list(images.shape[:1:-1]))
                    boxes += len(labels[i]["boxes"])
                if task == "seg":
                    ignored += int((labels[i] == IGNORE).sum())
                    pixels += labels[i].size
                write(task, out / task / (stem + SUFFIX[task]), labels[i])
            lap("write")
    total = time.perf_counter() - begin
    return total, seconds, boxes, ignored / max(pixels, 1)


def driven(one_pass, images, args):
    """A pass for every line of standard input, and a JSON line for every pass; at the end what memory it took."""
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        cpu, children = time.process_time(), children_seconds()
        total, seconds, boxes, _ = one_pass()
        turn = {"seconds": total, "cpu": time.process_time() - cpu + children_seconds() - children, "parts": seconds}
        print(json.dumps({**turn, "images": images, "boxes_per_img": boxes / images}), flush=True)
    end = {"peak_rss_mb": rss_mb() + rss_mb(resource.RUSAGE_CHILDREN), **versions()}
    if args.device == "cuda":
        end["peak_device_mb"] = round(torch.cuda.max_memory_reserved() / 2**20)
    print(json.dumps(end), flush=True)


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    common_flags(parser)
    parser.add_argument("--images", type=pathlib.Path, help="folder of JPEG files (with --make: where to write them)")
    parser.add_argument("--make-only", action="store_true", help="only write them")
    parser.add_argument("--driven", action="store_true", help="a pass for each line on standard input")
    parser.add_argument("--make", type=int, default=0, metavar="N", help="first write N synthetic 640x480 JPEGs")
    parser.add_argument("--out", type=pathlib.Path, help="folder for the labels (a temporary one, removed at the end)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1, help="processes that decode and resize")
    parser.add_argument("--score", type=float, default=0.5, help="boxes must score more than this")
    parser.add_argument("--repeat", type=int, default=1, help="passes over the folder")
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma-separated, of cls, det, seg, depth")
    args = parser.parse_args()
    tasks = args.tasks.split(",")
    if unknown := set(tasks) - set(TASKS):
        parser.error(f"unknown tasks: {', '.join(sorted(unknown))}")
    if not args.images and not args.make:
        parser.error("give --images DIR, or --make N")

    start_rss = rss_mb()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    cfg = config_from(args)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format

    def autocast():
        return torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.bf16)

    with contextlib.ExitStack() as stack:
        scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder, out = args.images or scratch / "images", args.out or scratch / "labels"
        if args.make:
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(args.make):
                draw_scene(i).save(folder / f"{i:06d}.jpg", quality=90)
        if args.make_only:
            return
        for task in tasks:
            (out / task).mkdir(parents=True, exist_ok=True)
        data = Folder(folder, cfg.size)
        if not len(data):
            raise SystemExit(f"no .jpg or .jpeg files in {folder}")
        loader = DataLoader(data, batch_size=args.batch, num_workers=args.workers)

        first = prepare(torch.stack([data[i][3] for i in range(min(args.batch, len(data)))]), layout, args.device)
        teachers = {}
        for task in tasks:
            teachers[task] = MultiTask(cfg, [task], masks=False, score=args.score).eval().to(args.device, memory_format=layout)
            with autocast():
                calibrate(teachers[task], first)

        def one_pass():
            return label_folder(teachers, loader, out, layout, args.device, autocast)

        if args.driven:
            return driven(one_pass, len(data), args)
        cpu = time.process_time()
        passes = [one_pass() for _ in range(args.repeat)]
        cpu = time.process_time() - cpu
        written = sum(p.stat().st_size for task in tasks for p in (out / task).iterdir())

    totals = [total for total, *_ in passes]
    total, seconds, boxes, ignored = min(passes, key=lambda p: p[0])
    print(
        json.dumps(
            {
                "bench": "label",
                "images": len(data),
                "img_per_s_median": round(len(data) / statistics.median(totals), 4),
                "img_per_s_best": round(len(data) / min(totals), 4),
                "seconds": round(total, 2),
                "seconds_by_part": {part: round(s, 2) for part, s in seconds.items()},
                "boxes_per_img": round(boxes / len(data), 1),
                "ignored_pixels": round(ignored, 3),
                "written_kb_per_img": round(written / len(data) / 1024),
                "cpu_per_wall": round(cpu / sum(totals), 2),
                "peak_rss_mb": rss_mb(),
                "peak_rss_worker_mb": rss_mb(resource.RUSAGE_CHILDREN),
                "rss_after_import_mb": start_rss,
                "settings": {k: v for k, v in vars(args).items() if k not in ("images", "out")}
                | {"backbone": cfg.backbone, "size": cfg.size},
                **versions(),
            }
        )
    )


if __name__ == "__main__":
    main()
