"""Prints as JSON what the model beside this file sees, as `must predict` does: python FILE.py PICTURE [LEAST SCORE]"""
import hashlib, json, pathlib, sys, numpy as np, onnxruntime
from PIL import Image, ImageOps
def lerp(m, at, last, axis):  # reads m bilinearly at places along an axis
    low = (at := np.clip(at, 0, last)).astype(int)
    t = (at - low).astype("f").reshape([-1, 1][:-axis])
    return m.take(low, axis) * (1 - t) + m.take(np.minimum(low + 1, last), axis) * t
def mask(p, box):  # probabilities over a box of the picture -> COCO's run lengths
    m, p, spans, text = np.zeros((H, W), bool), np.pad(p, 1), [], ""
    for a in (0, 1):
        middle, half = (box[a] + box[a + 2]) * np.float32(0.5), (box[a + 2] - box[a]) * np.float32(0.5) * np.float32(30 / 28)
        first, end = int(middle - half), int(middle + half) + 1
        spans.append(np.arange(max(first, 0), min(end, (W, H)[a])))
        p = lerp(p, (spans[a] - first + 0.5) * 30 / (end - first) - 0.5, 29, -1 - a)
    m[np.ix_(spans[1], spans[0])] = p > 0.5
    f = np.r_[False, m.T.ravel()]
    runs = np.diff(np.r_[0, np.flatnonzero(f[1:] != f[:-1]), f.size - 1]).tolist()
    for n, more in ([n - before, True] for n, before in zip(runs, [0, 0, 0] + runs[1:])):
        while more:
            text, n = text + chr(48 + (n & 31) + 32 * (more := not -16 <= n < 16)), n >> 5
    return {"segmentation": {"size": [H, W], "counts": text}}
model, path, least = pathlib.Path(__file__).with_suffix(".onnx"), sys.argv[1], float((sys.argv[2:] or [0.5])[0])
session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
meta = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
size, image = meta["size"], ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
(W, H), canvas = image.size, Image.new("RGB", (size, size), tuple(meta["fill"]))
w, h = (max(1, int(n * (size / max(W, H)) + 0.5)) for n in (W, H))
canvas.paste(Image.alpha_composite(Image.new("RGBA", (W, H), "white"), image).convert("RGB").resize((w, H), 2).resize((w, h), 2))  # bilinear, rows first
x = np.asarray(canvas).transpose(2, 0, 1)[None].astype("B" if "uint8" in session.get_inputs()[0].type else "f")
o = dict(zip((o.name for o in session.get_outputs()), (o[0] for o in session.run(None, {"images": x}))))
(xc, xs), (yc, ys) = (((np.arange(n) + 0.5) * k / n - 0.5, (2 * np.arange(n) + 1) * k // (2 * n)) for k, n in ((w, W), (h, H)))
r = {"image": path, "width": W, "height": H, "network": hashlib.sha256(model.read_bytes()).hexdigest()}
if "classification" in o: r["classification"] = [{"class": meta["classification.classes"][i], "probability": float(o["classification"][i])} for i in np.argsort(-o["classification"], kind="stable")[:5]]
if "boxes" in o: r["detection"] = [{"class": meta["detection.classes"][o["labels"][i]], "score": float(o["scores"][i]), "bbox": [*b[:2], *(b[2:] - b[:2])], **(mask(o["masks"][i], full[i].astype("f")) if "masks" in o else {})}
    for full in [o["boxes"] * np.array([W / w, H / h] * 2)] for i, b in enumerate(np.clip(full, 0, [W, H] * 2)) if o["scores"][i] >= least and (b[2:] > b[:2]).all()]
if "segmentation" in o: r["segmentation"] = {"classes": meta["segmentation.classes"], "shares": {meta["segmentation.classes"][k]: n / (H * W) for k, n in zip(*(v.tolist() for v in np.unique(o["segmentation"][np.ix_(ys, xs)] if o["segmentation"].ndim == 2 else lerp(lerp(np.log(np.maximum(o["segmentation"], 1e-45)), xc, w - 1, -1), yc, h - 1, -2).argmax(0), return_counts=True)))}}
if "depth" in o: r["depth"] = {"units": meta["depth.units"], "nearest": float((d := lerp(lerp(o["depth"], xc, w - 1, -1), yc, h - 1, -2)).min()), "farthest": float(d.max())}
if "normals" in o: r["normals"] = {}
print(json.dumps(r))
