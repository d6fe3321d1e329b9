"""Writes coco.json.gz: small random instances and results files with the 12 numbers of pycocotools.

Run as `python make_coco.py [seed [cases [path]]]` (numpy 2.4.6, pycocotools 2.0.11).
"""
import contextlib
import copy
import gzip
import io
import json
import os
import sys

import numpy as np
from pycocotools import mask as api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

here = os.path.dirname(os.path.abspath(__file__))
seed = int(sys.argv[1]) if len(sys.argv) > 1 else 3
count = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
path = sys.argv[3] if len(sys.argv) > 3 else os.path.join(here, "coco.json.gz")
rng = np.random.default_rng(seed)
grid = 4  # coordinates are multiples of 1/grid; binary fractions in most cases, so that sums are exact


def number(v):
    """Whole numbers without a fraction, as some writers have them."""
    return int(v) if v == int(v) else float(v)


def box(size, near=None):
    if near is not None and rng.random() < 0.7:  # near a true one, often just at a threshold
        b = near + rng.integers(-3, 4, 4) * rng.choice([0, 0.5, 1, 5], 4)
    else:
        b = np.concatenate([rng.random(2) * size, (rng.random(2) * rng.random() * size) + 1])
    if rng.random() < 0.5:
        b = b.round()
    b = (b * grid).round() / grid
    b[2:] = np.maximum(b[2:], 1)
    return b


def shape(size, b):
    """A mask in or around a box, as pixels."""
    yy, xx = np.mgrid[:size, :size]
    x, y, w, h = b
    if rng.random() < 0.5:
        return (xx >= x) & (xx < x + w) & (yy >= y) & (yy < y + h)
    return ((xx - x - w / 2) / w) ** 2 + ((yy - y - h / 2) / h) ** 2 < 0.25


def compressed(m):
    rle = api.encode(np.asfortranarray(m.astype(np.uint8)))
    return {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode()}


def uncompressed(m):
    flat = m.ravel(order="F")
    at = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(np.int8)])))
    counts = np.diff(np.concatenate([[0], at, [len(flat)]]))
    return {"size": list(m.shape), "counts": [int(v) for v in counts]}


def polygon(b):
    x, y, w, h = b
    p = [x, y + h / 3, x + w / 2, y, x + w, y + h / 2, x + w / 3, y + h]
    return [[round(float(v), 2) for v in p]]


def case(i):
    global grid
    grid = 10 if i % 8 == 1 else 4
    masks = i % 4 == 0
    size = int(rng.choice([60, 130])) if masks else 300
    images = [int(v) for v in rng.choice(50, rng.integers(1, 5), replace=False)]
    categories = [int(v) for v in rng.choice(np.arange(1, 20), rng.integers(1, 4), replace=False)]
    truth = {
        "images": [{"id": v, "height": size, "width": size} for v in images],
        "categories": [{"id": v, "name": str(v)} for v in categories],
        "annotations": [],
    }
    results = []
    with_box = not masks or rng.random() < 0.5
    levels = int(rng.choice([4, 16, 64]))  # few levels: many ties
    start = 0 if rng.random() < 0.05 else 1
    for image in images:
        if rng.random() < 0.15:  # an empty image, or one with detections only
            boxes = []
        else:
            boxes = [box(size) for _ in range(rng.integers(1, 7))]
        for b in boxes:
            crowd = int(rng.random() < 0.15)
            o = {
                "id": len(truth["annotations"]) + start, "image_id": image,
                "category_id": int(rng.choice(categories)), "bbox": [number(v) for v in b],
                "iscrowd": crowd, "area": number(round(float(b[2] * b[3] * rng.choice([0.3, 0.8, 1])), 1)),
            }
            if rng.random() < 0.05:
                o["area"] = int(rng.choice([1024, 9216]))  # a border
            if masks:
                m = shape(size, b)
                o["segmentation"] = [polygon(b), compressed(m), uncompressed(m)][2 if crowd else rng.integers(2)]
            truth["annotations"].append(o)
        n = int(rng.integers(0, 9)) if i % 201 else 110  # more than count
        for _ in range(n):
            near = boxes[rng.integers(len(boxes))] if boxes else None
            b = box(size, near)
            d = {
                "image_id": image,
                "category_id": int(rng.choice(categories)) if rng.random() < 0.97 else 99,
                "score": int(rng.integers(levels)) / levels,
            }
            if with_box:
                d["bbox"] = [number(v) for v in b]
            if masks and (not with_box or rng.random() < 0.9):
                d["segmentation"] = compressed(shape(size, b))
            results.append(d)
    return truth, results, masks


def evaluate(truth, results, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = copy.deepcopy(truth)
        gt.createIndex()
        e = COCOeval(gt, gt.loadRes(copy.deepcopy(results)), kind)
        e.evaluate()
        e.accumulate()
        e.summarize()
    return [float(v) for v in e.stats]


cases = []
while len(cases) < count:
    truth, results, masks = case(len(cases))
    if not results:
        continue
    c = {"truth": truth, "results": results, "bbox": evaluate(truth, results, "bbox")}
    if masks:
        c["segm"] = evaluate(truth, results, "segm")
    cases.append(c)
with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
    f.write(json.dumps(cases, separators=(",", ":")).encode())
print(os.path.getsize(path), "bytes")
