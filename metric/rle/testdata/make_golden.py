"""Writes golden.json.gz: masks, polygons and their properties as pycocotools computes them.

Run as `python make_golden.py` (numpy 2.4.6, pycocotools 2.0.11).
"""
import gzip
import json
import os

import numpy as np
from pycocotools import mask as api

rng = np.random.default_rng(7)


def text(rle):
    return rle["counts"].decode()


def describe(rle):
    h, w = rle["size"]
    return {
        "h": h, "w": w, "counts": text(rle), "area": int(api.area(rle)),
        "box": [int(v) for v in api.toBbox(rle)],
    }


def random_mask(h, w):
    kind = rng.integers(4)
    if kind == 0:  # noise
        m = rng.random((h, w)) < rng.choice([0.02, 0.3, 0.5, 0.97])
    elif kind == 1:  # one block
        m = np.zeros((h, w), bool)
        y, x = rng.integers(h), rng.integers(w)
        m[y:y + rng.integers(1, h + 1), x:x + rng.integers(1, w + 1)] = True
    elif kind == 2:  # a disc
        yy, xx = np.mgrid[:h, :w]
        m = (yy - rng.integers(h)) ** 2 + (xx - rng.integers(w)) ** 2 < rng.integers(1, h * w + 1)
    else:  # empty or full
        m = np.full((h, w), rng.random() < 0.5)
    return m


def bits(m):
    """The pixels row by row, as a string of 0 and 1."""
    return "".join("1" if v else "0" for v in m.ravel())


masks = []
for _ in range(150):
    h, w = (int(v) for v in rng.integers(1, 24, 2))
    m, n = random_mask(h, w), random_mask(h, w)
    a = api.encode(np.asfortranarray(m.astype(np.uint8)))
    b = api.encode(np.asfortranarray(n.astype(np.uint8)))
    masks.append({
        "a": describe(a), "b": describe(b), "pixels": bits(m),
        "union": text(api.merge([a, b])), "intersection": text(api.merge([a, b], intersect=1)),
        "iou": float(api.iou([a], [b], [0])[0, 0]), "crowd": float(api.iou([a], [b], [1])[0, 0]),
    })

# Runs long enough for every length of number.
for _ in range(10):
    h, w = (int(v) for v in rng.integers(300, 900, 2))
    m = np.zeros((h, w), np.uint8)
    for _ in range(5):
        y, x = rng.integers(h), rng.integers(w)
        m[y:y + rng.integers(1, h), x:x + rng.integers(1, w)] = 1
    a = api.encode(np.asfortranarray(m))
    masks.append({"a": describe(a)})


def random_polygon(h, w):
    n = int(rng.integers(3, 12))
    kind = rng.integers(6)
    if kind == 0:  # whole pixels
        p = rng.integers(-3, max(h, w) + 4, (n, 2)).astype(float)
    elif kind == 1:  # halves and fifths, where rounding decides
        p = rng.integers(-10, 10 * max(h, w), (n, 2)) / 10
    elif kind == 2:  # a star, as annotators draw
        t = np.sort(rng.random(n)) * 2 * np.pi
        r = rng.random(n) * max(h, w) / 2
        p = np.stack([w / 2 + r * np.cos(t), h / 2 + r * np.sin(t)], 1).round(2)
    elif kind == 3:  # far outside
        p = rng.normal(0, 4 * max(h, w), (n, 2))
    elif kind == 4:  # repeated vertices, points and lines
        p = rng.random((int(rng.integers(1, 3)), 2)) * [w, h]
        p = np.repeat(p, int(rng.integers(3, 5)), 0)
    else:
        p = rng.random((n, 2)) * [w, h]
    return [float(v) for v in p.ravel()]


polygons = []
for _ in range(800):
    h, w = (int(v) for v in rng.integers(1, 60, 2))
    p = random_polygon(h, w)
    polygons.append({"polygons": [p], **describe(api.frPyObjects([p], h, w)[0])})
for _ in range(40):  # in parts
    h, w = (int(v) for v in rng.integers(1, 60, 2))
    parts = [random_polygon(h, w) for _ in range(3)]
    polygons.append({"polygons": parts, **describe(api.merge(api.frPyObjects(parts, h, w)))})

boxes = []
for _ in range(60):
    h, w = (int(v) for v in rng.integers(1, 60, 2))
    b = [float(v) for v in rng.normal(0, max(h, w), 4)]
    boxes.append({"xywh": b, **describe(api.frPyObjects(np.array([b]), h, w)[0])})

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json.gz")
with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
    f.write(json.dumps({"masks": masks, "polygons": polygons, "boxes": boxes}, separators=(",", ":")).encode())
print(os.path.getsize(path), "bytes")
