"""Writes scores.json.gz: random predictions and their scores, by the formulas of the reference programs
stated again in numpy and torch.

Run as `python make_scores.py` (numpy 2.4.6, torch 2.15.0).
"""
import gzip
import json
import os

import numpy as np
import torch

rng = np.random.default_rng(11)


def floats(a):
    """A list that reads back as the same float32, with null for NaN."""
    return [None if np.isnan(v) else float(v) for v in np.asarray(a, np.float32).ravel()]


# --- top-k and calibration (Guo et al. 2017, 15 bins) ---
def classification():
    images = []
    for _ in range(80):
        logits = rng.normal(0, 2, 12).astype(np.float32)
        t = int(rng.integers(12))
        logits[t] += 1.5
        images.append((t, torch.softmax(torch.tensor(logits), 0).numpy()))
    p = torch.tensor(np.stack([q for _, q in images]))
    t = torch.tensor([c for c, _ in images])
    top = p.topk(5).indices
    confidence, predicted = p.max(1)
    right = predicted.eq(t)
    ece = 0.0
    bounds = np.linspace(0, 1, 16)
    for lo, hi in zip(bounds[:-1], bounds[1:]):
        inside = confidence.gt(float(lo)) & confidence.le(float(hi))
        share = inside.double().mean().item()
        if share > 0:
            ece += abs(confidence[inside].double().mean().item() - right[inside].double().mean().item()) * share
    return {
        "images": [{"class": c, "probabilities": floats(q)} for c, q in images],
        "want": [right.double().mean().item(), (top == t[:, None]).any(1).double().mean().item(), ece],
    }


# --- mean IoU, and the scene parsing challenge's evaluation code ---
def segmentation():
    n, h, w = 7, 9, 11
    images, both, union, truths, labelled = [], np.zeros(n), np.zeros(n), np.zeros(n), 0
    for _ in range(6):
        t = rng.integers(0, 5, (h, w))  # class 5 is only predicted, class 6 is nowhere
        t[rng.random((h, w)) < 0.15] = 255
        p = np.where(rng.random((h, w)) < 0.6, t, rng.integers(0, 6, (h, w)))
        p[p == 255] = 0
        images.append({"truth": t.ravel().tolist(), "prediction": p.ravel().tolist()})
        valid = t != 255
        labelled += valid.sum()
        for c in range(n):
            i = (valid & (t == c) & (p == c)).sum()
            both[c] += i
            truths[c] += (valid & (t == c)).sum()
            union[c] += (valid & (t == c)).sum() + (valid & (p == c)).sum() - i
    iou = both / (union + np.finfo(float).eps)
    accuracy = both.sum() / labelled
    return {
        "classes": n, "w": w, "h": h, "images": images,
        "want": [iou[union > 0].mean(), accuracy, (both[truths > 0] / truths[truths > 0]).mean()],
        "ade20k": [iou.mean(), accuracy, (iou.mean() + accuracy) / 2],
    }


# --- depth, as the evaluation code of BTS (bts_eval.py) ---
def depth_errors(gt, pred):
    thresh = np.maximum(gt / pred, pred / gt)
    err = np.log(pred) - np.log(gt)
    return [
        (thresh < 1.25).mean(), (thresh < 1.25 ** 2).mean(), (thresh < 1.25 ** 3).mean(),
        np.mean(np.abs(gt - pred) / gt), np.mean((gt - pred) ** 2 / gt), np.sqrt(np.mean((gt - pred) ** 2)),
        np.sqrt(np.mean(err ** 2)), np.sqrt(np.mean(err ** 2) - np.mean(err) ** 2) * 100,
        np.mean(np.abs(np.log10(pred) - np.log10(gt))), np.mean(np.abs(gt - pred)),
    ]


def depth():
    h, w, lo, hi = 12, 16, 1e-3, 10.0
    crop = [3, 2, 14, 11]  # x0, y0, x1, y1
    images = []
    for _ in range(5):
        gt = np.exp(rng.normal(1, 0.8, (h, w))).astype(np.float32)
        gt[rng.random((h, w)) < 0.1] = np.nan
        pred = (gt * np.exp(rng.normal(0.1, 0.3, (h, w)))).astype(np.float32)
        pred[np.isnan(pred)] = 2
        pred.ravel()[rng.integers(0, h * w, 3)] = [np.nan, -1, 40]
        inverse = (0.7 / pred + 0.2 + rng.normal(0, 0.02, (h, w))).astype(np.float32)
        inverse[np.isnan(inverse)] = 0.3
        images.append((gt, pred, inverse))

    def evaluate(align, use_crop, kind):
        rows = []
        for gt, pred, inverse in images:
            gt = gt.astype(np.float64)
            valid = (gt > lo) & (gt < hi)
            if use_crop:
                inside = np.zeros_like(valid)
                inside[crop[1]:crop[3], crop[0]:crop[2]] = True
                valid &= inside
            g = gt[valid]
            p = (pred if kind == "metric" else inverse).astype(np.float64)[valid]
            target = g if kind == "metric" else 1 / g
            ok = np.isfinite(p)
            if align == "median":
                p = p * (np.median(target[ok]) / np.median(p[ok]))
            elif align == "scale-shift":
                a = np.stack([p[ok], np.ones(ok.sum())], 1)
                scale, shift = np.linalg.lstsq(a, target[ok], rcond=None)[0]
                p = scale * p + shift
            if kind == "inverse":
                p = 1 / np.maximum(p, 1e-300)
            p = np.where(p < lo, lo, p)
            p = np.where(p > hi, hi, p)
            p = np.where(np.isinf(p), hi, p)
            p = np.where(np.isnan(p), lo, p)
            rows.append(depth_errors(g, p))
        return [float(v) for v in np.mean(rows, 0)]

    wants = []
    for kind in ("metric", "inverse"):
        for align in ("", "median", "scale-shift"):
            for use_crop in (False, True):
                wants.append({"units": kind, "align": align, "crop": use_crop, "want": evaluate(align, use_crop, kind)})
    return {
        "w": w, "h": h, "min": lo, "max": hi, "crop": crop, "wants": wants,
        "images": [{"truth": floats(g), "metric": floats(p), "inverse": floats(i)} for g, p, i in images],
    }


# --- normals, as DSINE (utils/utils.py: compute_normal_metrics), in doubles ---
def normals():
    h, w = 8, 10
    images, errors = [], []
    for _ in range(4):
        t = rng.normal(0, 1, (h, w, 3))
        t = (t / np.linalg.norm(t, axis=2, keepdims=True)).astype(np.float32)
        t[rng.random((h, w)) < 0.2] = 0
        p = (t + rng.normal(0, rng.choice([0.05, 0.4], (h, w, 1)), (h, w, 3))).astype(np.float32)
        p[0, :3] = 0
        images.append({"truth": floats(t), "prediction": floats(p)})
        valid = np.abs(t).sum(2) > 0
        cos = torch.cosine_similarity(torch.tensor(p).double(), torch.tensor(t).double(), dim=2)
        errors.append((torch.acos(cos.clamp(-1, 1)) * 180 / np.pi).numpy()[valid])
    e = np.concatenate(errors)
    want = [e.mean(), np.median(e), np.sqrt(np.sum(e * e) / len(e))]
    want += [np.sum(e < limit) / len(e) for limit in (5, 7.5, 11.25, 22.5, 30)]
    return {"w": w, "h": h, "images": images, "want": [float(v) for v in want]}


# --- VOC, as the development kits (VOCevaldet.m) and their Python port (voc_eval.py) ---
def voc_ap(rec, prec, points):
    if points:
        ap = 0.0
        for t in np.arange(0.0, 1.1, 0.1):
            ap += (np.max(prec[rec >= t]) if np.sum(rec >= t) else 0) / 11.0
        return ap
    mrec = np.concatenate(([0.0], rec, [1.0]))
    mpre = np.concatenate(([0.0], prec, [0.0]))
    for i in range(mpre.size - 1, 0, -1):
        mpre[i - 1] = np.maximum(mpre[i - 1], mpre[i])
    i = np.where(mrec[1:] != mrec[:-1])[0]
    return np.sum((mrec[i + 1] - mrec[i]) * mpre[i + 1])


def voc_class(truth, results, c):
    """truth, results: per image lists of (class, x0, y0, x1, y1 inclusive, difficult or score)."""
    recs, npos = [], 0
    for objects in truth:
        mine = [o for o in objects if o[0] == c]
        recs.append({
            "bbox": np.array([o[1:5] for o in mine], float).reshape(-1, 4),
            "difficult": [o[5] for o in mine], "det": [False] * len(mine),
        })
        npos += sum(not o[5] for o in mine)
    dets = [(i, d) for i, ds in enumerate(results) for d in ds if d[0] == c]
    dets = [dets[k] for k in np.argsort([-d[5] for _, d in dets], kind="stable")]
    tp, fp = np.zeros(len(dets)), np.zeros(len(dets))
    for k, (i, d) in enumerate(dets):
        gt, bb, best = recs[i]["bbox"], d[1:5], -np.inf
        if len(gt):
            iw = np.maximum(np.minimum(gt[:, 2], bb[2]) - np.maximum(gt[:, 0], bb[0]) + 1.0, 0.0)
            ih = np.maximum(np.minimum(gt[:, 3], bb[3]) - np.maximum(gt[:, 1], bb[1]) + 1.0, 0.0)
            inters = iw * ih
            uni = ((bb[2] - bb[0] + 1.0) * (bb[3] - bb[1] + 1.0)
                   + (gt[:, 2] - gt[:, 0] + 1.0) * (gt[:, 3] - gt[:, 1] + 1.0) - inters)
            overlaps = inters / uni
            best, j = np.max(overlaps), np.argmax(overlaps)
        if best > 0.5:
            if not recs[i]["difficult"][j]:
                if not recs[i]["det"][j]:
                    tp[k] = 1
                    recs[i]["det"][j] = True
                else:
                    fp[k] = 1
        else:
            fp[k] = 1
    if npos == 0:
        return None
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    rec = tp / float(npos)
    prec = tp / np.maximum(tp + fp, np.finfo(np.float64).eps)
    return voc_ap(rec, prec, False), voc_ap(rec, prec, True)


def voc():
    cases = []
    for _ in range(300):
        classes = 3
        truth, results = [], []
        for _ in range(rng.integers(1, 5)):
            objects, dets = [], []
            for _ in range(rng.integers(0, 6)):
                x, y = rng.integers(1, 60, 2)
                w, h = rng.integers(0, 40, 2)
                objects.append([int(rng.integers(classes)), int(x), int(y), int(x + w), int(y + h), int(rng.random() < 0.2)])
            for _ in range(rng.integers(0, 8)):
                if objects and rng.random() < 0.8:
                    o = objects[rng.integers(len(objects))]
                    b = np.array(o[1:5]) + rng.integers(-4, 5, 4)
                    c = o[0] if rng.random() < 0.9 else int(rng.integers(classes))
                else:
                    b, c = np.concatenate([rng.integers(1, 40, 2), rng.integers(40, 90, 2)]), int(rng.integers(classes))
                b[2:] = np.maximum(b[2:], b[:2])
                dets.append([c, *(int(v) for v in b), int(rng.integers(32)) / 32])
            truth.append(objects)
            results.append(dets)
        aps = [a for a in (voc_class(truth, results, c) for c in range(classes)) if a is not None]
        if aps:
            cases.append({"truth": truth, "results": results, "want": [float(v) for v in np.mean(aps, 0)]})
    return {"classes": 3, "cases": cases}


out = {
    "classification": classification(), "segmentation": segmentation(), "depth": depth(),
    "normals": normals(), "voc": voc(),
}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scores.json.gz")
with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
    f.write(json.dumps(out, separators=(",", ":"), default=float).encode())
print(os.path.getsize(path), "bytes")
