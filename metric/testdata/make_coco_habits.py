"""Writes coco_habits.json.gz: small instances and results files whose ids are texts and whose scores may be NaN or
infinite, as Python's json writes them, with the 12 numbers of pycocotools.

Run as `python make_coco_habits.py` (numpy 2.4.6, pycocotools 2.0.11).
"""
import contextlib
import gzip
import io
import json
import os
import tempfile

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

rng = np.random.default_rng(7)


def box(near=None):
    b = rng.integers(0, 100, 4) if near is None else np.array(near) + rng.integers(-4, 5, 4)
    b[2:] = np.maximum(b[2:], 4)
    return [int(v) for v in b]


def case(i):
    # "10" comes before "9": the order of images and categories decides between equal scores.
    image = [str, lambda v: f"{v:06}", lambda v: f"a/{v}.jpg", int][i % 4]
    category = [str, int, lambda v: f"class {v}"][i % 3]
    images = [int(v) for v in rng.choice(30, rng.integers(1, 5), replace=False)]
    categories = [int(v) for v in rng.choice(np.arange(1, 20), rng.integers(1, 4), replace=False)]
    odd = [[np.nan], [np.inf], [-np.inf], [np.nan, np.inf, -np.inf]][i // 4 % 4]
    truth = {
        "images": [{"id": image(v), "height": 300, "width": 300} for v in images],
        "categories": [{"id": category(v), "name": str(v)} for v in categories],
        "annotations": [],
    }
    results = []
    for v in images:
        boxes = [box() for _ in range(rng.integers(0, 6))]
        for b in boxes:
            truth["annotations"].append({
                "id": len(truth["annotations"]) + 1, "image_id": image(v), "category_id": category(int(rng.choice(categories))),
                "bbox": b, "iscrowd": int(rng.random() < 0.1), "area": b[2] * b[3],
            })
        for _ in range(rng.integers(1, 9)):
            near = boxes[rng.integers(len(boxes))] if boxes and rng.random() < 0.8 else None
            score = float(rng.choice(odd)) if rng.random() < 0.3 else int(rng.integers(8)) / 8
            results.append({"image_id": image(v), "category_id": category(int(rng.choice(categories))), "bbox": box(near), "score": score})
    return json.dumps(truth), json.dumps(results)


cases = []
for i in range(240):
    truth, results = case(i)
    with tempfile.TemporaryDirectory() as d, contextlib.redirect_stdout(io.StringIO()):
        for name, text in ("truth.json", truth), ("results.json", results):
            with open(os.path.join(d, name), "w") as f:
                f.write(text)
        gt = COCO(os.path.join(d, "truth.json"))
        e = COCOeval(gt, gt.loadRes(os.path.join(d, "results.json")), "bbox")
        e.evaluate()
        e.accumulate()
        e.summarize()
    cases.append({"truth": truth, "results": results, "bbox": [float(v) for v in e.stats]})
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "coco_habits.json.gz")
with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
    f.write(json.dumps(cases, separators=(",", ":")).encode())
print(os.path.getsize(path), "bytes")
