"""Times EvalCOCO and pycocotools side by side on 5,000 images of 100 detections, and compares their tables.

Run with numpy, pycocotools and Go, in any folder: python compare_coco.py [--masks] [--images N]
"""
import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
from pycocotools import mask as api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

args = argparse.ArgumentParser()
args.add_argument("--masks", action="store_true")
args.add_argument("--images", type=int, default=5000)
args = args.parse_args()
rng = np.random.default_rng(5)
H, W = 480, 640
categories = [v for v in range(1, 91) if v not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def outline(b, sides):
    x, y, w, h = b
    t = np.arange(sides) * 2 * np.pi / sides
    p = np.stack([x + w / 2 + w / 2 * np.cos(t), y + h / 2 + h / 2 * np.sin(t)], 1)
    return [float(v) for v in p.ravel().round(2)]


truth = {"images": [], "annotations": [], "categories": [{"id": v, "name": f"class {v}"} for v in categories]}
results = []
for image in range(1, args.images + 1):
    truth["images"].append({"id": image * 7, "height": H, "width": W, "file_name": f"{image:012d}.jpg"})
    n = int(rng.poisson(7.3))  # as in COCO
    sides = np.exp(rng.normal(4, 0.9, (n + 1, 2))).clip(4, 400)
    boxes = np.concatenate([rng.random((n + 1, 2)) * [W, H] * 0.8, sides], 1)
    classes = rng.choice(categories, n + 1)
    for b, c in zip(boxes[:n], classes[:n]):
        truth["annotations"].append({
            "id": len(truth["annotations"]) + 1, "image_id": image * 7, "category_id": int(c),
            "bbox": [float(v) for v in b.round(2)], "area": float(b[2] * b[3] * 0.7),
            "iscrowd": int(rng.random() < 0.01), "segmentation": [outline(b, 20)],
        })
    near = rng.integers(0, n + 1, 100)
    d = boxes[near] + rng.normal(0, 0.1, (100, 4)) * np.tile(boxes[near, 2:], 2)
    c = np.where(rng.random(100) < 0.6, classes[near], rng.choice(categories, 100))
    scores = rng.beta(0.6, 2, 100)
    for k in range(100):
        o = {
            "image_id": image * 7, "category_id": int(c[k]), "bbox": [float(v) for v in d[k]],
            "score": float(scores[k]),
        }
        if args.masks:
            rle = api.frPyObjects([outline(d[k], 12)], H, W)[0]
            o["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        results.append(o)

with tempfile.TemporaryDirectory() as folder:
    names = [os.path.join(folder, "truth.json"), os.path.join(folder, "results.json")]
    for name, content in zip(names, (truth, results)):
        with open(name, "w") as f:
            json.dump(content, f)
    objects, detections = len(truth["annotations"]), len(results)
    print(f"{args.images} images, {objects} objects, {detections} detections,",
          f"{sum(os.path.getsize(n) for n in names) / 1e6:.0f} MB")
    del truth, results

    kind = "segm" if args.masks else "bbox"
    start = time.perf_counter()
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        gt = COCO(names[0])
        e = COCOeval(gt, gt.loadRes(names[1]), kind)
        e.evaluate()
        e.accumulate()
        e.summarize()
    theirs = time.perf_counter() - start
    table = "\n".join(line for line in text.getvalue().splitlines() if line.startswith(" Average"))

    out = subprocess.run(
        ["go", "test", "-run", "^$", "-bench", "EvalCOCO", "-benchtime", "3x", "-v", ".."],
        cwd=os.path.dirname(os.path.abspath(__file__)), capture_output=True, text=True,
        env={**os.environ, "COCO_FOLDER": folder, "COCO_KIND": kind},
    )
    found = re.search(r"([\d.]+) ns/op", out.stdout)
    if not found:
        sys.exit(out.stdout + out.stderr)
    ours = float(found[1]) / 1e9
    print(table)
    print("the tables are", "equal" if table in re.sub(r"\n +", "\n ", out.stdout) else "NOT equal:\n" + out.stdout)
    print(f"{kind}: pycocotools {theirs:.2f} s, EvalCOCO {ours:.2f} s: {theirs / ours:.1f} times as fast")
