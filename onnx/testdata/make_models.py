"""Makes the tiny ONNX models of the tests and, by Python's onnxruntime and numpy, what they see: golden.json.

    pip install numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 torch==2.15.0 torchvision==0.29.2
    python make_models.py
"""
import json
import os

import numpy as np
import onnx
import onnxruntime as rt
import torch
import torchvision
from onnx import TensorProto as T, helper as h, numpy_helper as nh

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(5)


def const(name, a):
    return nh.from_array(np.ascontiguousarray(a), name)


def port(name, shape, t=T.FLOAT):
    return h.make_tensor_value_info(name, t, shape)


def save(name, nodes, inputs, outputs, constants=(), **metadata):
    graph = h.make_graph(nodes, name, inputs, outputs, list(constants))
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
    h.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, os.path.join(here, name + ".onnx"))


def n(op, i, o, **kw):
    return h.make_node(op, i.split(), o.split(), **kw)


def normal(*shape, scale=1.0):
    return (rng.normal(size=shape) * scale).astype(np.float32)


def pixels(count, height, width):
    """Bytes [count, 3, height, width]; the tests make the same."""
    i = np.arange(count * 3 * height * width, dtype=np.int64)
    return ((i * 37 + i * i // 11) % 256).astype(np.uint8).reshape(count, 3, height, width)


def run(name, feeds):
    return rt.InferenceSession(os.path.join(here, name + ".onnx"), providers=["CPUExecutionProvider"]).run(None, feeds)


def softmax(v, axis):
    e = np.exp(v.astype(np.float64) - v.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def prepare(px, mean=(0, 0, 0), std=(1, 1, 1), white=1.0, bgr=False):
    x = px.astype(np.float64) / 255 * white
    if bgr:
        x = x[:, ::-1]
    shape = (1, 3, 1, 1)
    return ((x - np.reshape(mean, shape)) / np.reshape(std, shape)).astype(np.float32)


cases = []


def case(declaration, px, **want):
    cases.append({"declaration": declaration, "n": px.shape[0], "h": px.shape[2], "w": px.shape[3], **want})


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Classification: logits, any number of images.
save("class", [n("GlobalAveragePool", "images", "p"), n("Flatten", "p", "f"), n("Gemm", "f w b", "logits", transB=1)],
     [port("images", ["N", 3, 8, 8])], [port("logits", ["N", 4])], [const("w", normal(4, 3, scale=3)), const("b", normal(4))])
px = pixels(3, 8, 8)
p = softmax(run("class", {"images": prepare(px, MEAN, STD)})[0], 1)
case("class.teacher.yaml", px, classes=p.tolist())

# Classification: bytes, blue first, channels last, one image at a time, probabilities, one class for the background.
save("bytes", [n("Cast", "in", "x", to=T.FLOAT), n("Transpose", "x", "t", perm=[0, 3, 1, 2]), n("GlobalAveragePool", "t", "p"),
               n("Flatten", "p", "f"), n("Div", "f k", "d"), n("Gemm", "d w b", "l", transB=1), n("Softmax", "l", "probs", axis=1)],
     [port("in", [1, 6, 8, 3], T.UINT8)], [port("probs", [1, 4])], [const("w", normal(4, 3, scale=2)), const("b", normal(4)), const("k", np.float32([1.5]))])
px = pixels(2, 6, 8)
p = np.concatenate([run("bytes", {"in": px[i:i + 1, ::-1].transpose(0, 2, 3, 1)})[0] for i in range(2)])[:, 1:]
case("bytes.teacher.yaml", px, classes=(p / p.sum(1, keepdims=True)).tolist())


def detections(boxes, scores, labels, height, width, nms, least=0.05, most=100):
    """The steps after a detector: threshold, clip, suppression by class, order by score."""
    boxes, scores, labels = torch.tensor(np.asarray(boxes), dtype=torch.float32), torch.tensor(np.asarray(scores), dtype=torch.float32), torch.tensor(np.asarray(labels)).long()
    keep = scores >= least
    index = torch.arange(len(scores))[keep]
    boxes, scores, labels = torchvision.ops.clip_boxes_to_image(boxes[keep], (height, width)), scores[keep], labels[keep]
    keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    index, boxes, scores, labels = index[keep], boxes[keep], scores[keep], labels[keep]
    order = torchvision.ops.batched_nms(boxes, scores, labels, nms) if nms else torch.argsort(scores, descending=True, stable=True)
    order = order[:most]
    return [{"box": boxes[i].tolist(), "score": float(scores[i]), "class": int(labels[i])} for i in order], index[order]


def corners(b):
    return np.concatenate([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], -1)


# Detection in YOLO's layout: 4 + 2 values a box, 64 boxes that overlap, v8's order and v5's with an objectness.
anchors = np.float32([[x * 2 + 1, y * 2 + 1] for y in range(8) for x in range(8)])
base = np.concatenate([anchors.T, np.full((2, 64), 5, np.float32)])[None]
for name, extra in ("yolo8", 0), ("yolo5", 1):
    c = 6 + extra
    nodes = [n("Conv", "images w b", "c", strides=[2, 2], kernel_shape=[2, 2]), n("Reshape", "c shape", "r"), n("Slice", "r zero four one", "box"),
             n("Slice", "r four end one", "cls"), n("Add", "box base", "boxes"), n("Sigmoid", "cls", "scores"),
             n("Concat", "boxes scores", "joined" if extra else "output0", axis=1)]
    if extra:
        nodes.append(n("Transpose", "joined", "output0", perm=[0, 2, 1]))
    save(name, nodes, [port("images", [1, 3, 16, 16])], [port("output0", [1, 64, c] if extra else [1, c, 64])],
         [const("w", normal(c, 3, 2, 2, scale=1.5)), const("b", normal(c, scale=0.3)), const("shape", np.int64([1, c, 64])), const("base", base),
          const("zero", np.int64([0])), const("four", np.int64([4])), const("end", np.int64([99])), const("one", np.int64([1]))],
         names="{0: 'ant', 1: 'bee'}")
    px = pixels(2, 16, 16)
    want = []
    for i in range(2):
        o = run(name, {"images": prepare(px[i:i + 1])})[0][0]
        o = o if extra else o.T
        s = o[:, 4 + extra:] * (o[:, 4:5] if extra else 1)
        want.append(detections(corners(o[:, :4]), s.max(1), s.argmax(1), 16, 16, 0.5)[0])
    case(name + ".teacher.yaml", px, objects=want)

# Detection in torchvision's layout: one image without N, of any size, labels from 1, masks.
k = 5
boxes = np.float32([[1, 1, 9, 7], [2, 2, 9, 8], [0, 4, 12, 10], [5, 0, 30, 6], [3, 3, 3, 9]])
save("rcnn", [n("ReduceMean", "image", "m", axes=[0, 1, 2], keepdims=0), n("Mul", "m ks", "s"), n("Sigmoid", "s", "scores"), n("Identity", "kb", "boxes"), n("Identity", "kl", "labels"),
              n("ReduceMean", "image", "grey", axes=[0], keepdims=1), n("Sub", "grey m", "dark"), n("Unsqueeze", "dark zero", "d4"), n("Mul", "d4 km", "l"), n("Sigmoid", "l", "masks")],
     [port("image", [3, "H", "W"])], [port("boxes", ["n", 4]), port("labels", ["n"], T.INT64), port("scores", ["n"]), port("masks", ["n", 1, "H", "W"])],
     [const("ks", np.float32([2, 5, 1, -20, 3])), const("kb", boxes), const("kl", np.int64([1, 2, 1, 1, 2])), const("zero", np.int64([0])), const("km", normal(k, 1, 1, 1, scale=5))])
px = pixels(2, 10, 12)
want = []
for i in range(2):
    b, l, s, m = run("rcnn", {"image": prepare(px[i:i + 1])[0]})
    found, index = detections(b, s, l - 1, 10, 12, 0)
    for o, j in zip(found, index):
        x0, y0, x1, y1 = (int(v) for v in o["box"])
        o["mask"] = (m[j, 0] >= 0.5).astype(int)[y0:y1, x0:x1].reshape(-1).tolist()
    want.append(found)
case("rcnn.teacher.yaml", px, objects=want)

# Detection in DETR's layout, and with a second input that is given the size.
q = 6
save("detr", [n("ReduceMean", "pixel_values", "m", axes=[2, 3], keepdims=0), n("Gemm", "m wl bl", "ll", transB=1), n("Reshape", "ll sl", "logits"),
              n("Gemm", "m wb bb", "bl2", transB=1), n("Reshape", "bl2 sb", "braw"), n("Sigmoid", "braw", "unit"),
              n("Cast", "sizes", "fsizes", to=T.FLOAT), n("ReduceMean", "fsizes", "fm", keepdims=0), n("Div", "fm fm", "unity"), n("Mul", "unit unity", "pred_boxes")],
     [port("pixel_values", ["N", 3, "H", "W"]), port("sizes", ["N", 2], T.INT64)], [port("logits", ["N", q, 4]), port("pred_boxes", ["N", q, 4])],
     [const("wl", normal(q * 4, 3, scale=3)), const("bl", normal(q * 4)), const("sl", np.int64([-1, q, 4])),
      const("wb", normal(q * 4, 3)), const("bb", normal(q * 4, scale=0.5)), const("sb", np.int64([-1, q, 4]))])
px = pixels(2, 12, 16)
lg, bx = run("detr", {"pixel_values": prepare(px, MEAN, STD), "sizes": np.int64([[12, 16]] * 2)})
p = softmax(lg, 2)[..., :3]
want = [detections(corners(bx[i]) * np.float32([16, 12, 16, 12]), p[i].max(1), p[i].argmax(1), 12, 16, 0)[0] for i in range(2)]
case("detr.teacher.yaml", px, objects=want)

# Detection in rows of box, score and label.
table = np.float32([[1, 2, 6, 7, 0.9, 1], [2, 2, 8, 7, 0.2, 0], [0, 0, 4, 4, 0.6, 0], [0, 0, 4, 4, 0.01, 0], [1, 1, 3, 3, 0.8, 7]])[None]
save("rows", [n("ReduceMean", "x", "m", keepdims=0), n("Mul", "m zero", "z"), n("Add", "kt z", "dets")], [port("x", [1, 3, 8, 8])], [port("dets", [1, 5, 6])],
     [const("kt", table), const("zero", np.float32(0))])
px = pixels(1, 8, 8)
case("rows.teacher.yaml", px, objects=[detections(table[0, :, :4], np.where(table[0, :, 5] < 2, table[0, :, 4], 0), table[0, :, 5], 8, 8, 0)[0]])

# Segmentation: logits at a quarter of the size; class indices; and the probability of one class.
save("segment", [n("Conv", "x w b", "out", strides=[4, 4], kernel_shape=[4, 4]), n("Conv", "x w b", "aux", strides=[4, 4], kernel_shape=[4, 4])],
     [port("x", ["N", 3, "H", "W"])], [port("out", ["N", 3, "h", "w"]), port("aux", ["N", 3, "h", "w"])], [const("w", normal(3, 3, 4, 4)), const("b", normal(3))])
px = pixels(2, 8, 12)
o = torch.tensor(run("segment", {"x": prepare(px, MEAN, STD)})[0])
p = softmax(torch.nn.functional.interpolate(o, (8, 12), mode="bilinear", align_corners=False).numpy(), 1)
case("segment.teacher.yaml", px, semantic=p.argmax(1).reshape(2, -1).tolist(), confidence=p.max(1).reshape(2, -1).tolist())

save("indices", [n("ArgMax", "x", "map", axis=1, keepdims=0)], [port("x", [2, 3, 4, 4])], [port("map", [2, 4, 4], T.INT64)])
px = pixels(3, 4, 4)
padded = np.concatenate([px, np.zeros((1, 3, 4, 4), np.uint8)])
o = np.concatenate([run("indices", {"x": prepare(padded[i:i + 2])})[0] for i in (0, 2)])[:3]
case("indices.teacher.yaml", px, semantic=np.where(o == 0, 255, o - 1).reshape(3, -1).tolist(), confidence=(o > 0).astype(float).reshape(3, -1).tolist())

save("salient", [n("ReduceMean", "x", "m", axes=[1], keepdims=1), n("Sigmoid", "m", "mask")], [port("x", ["N", 3, 8, 8])], [port("mask", ["N", 1, 8, 8])])
px = pixels(1, 8, 8)
o = run("salient", {"x": prepare(px, (0.5,) * 3, (0.1,) * 3)})[0]
case("salient.teacher.yaml", px, semantic=(o > 0.5).astype(int).reshape(1, -1).tolist(), confidence=np.maximum(o, 1 - o).reshape(1, -1).tolist())

# Inverse depth [N, h, w] at half the size, some of it infinite; normals as colours, y up and z to the camera.
save("depth", [n("AveragePool", "0", "p", strides=[2, 2], kernel_shape=[2, 2]), n("Conv", "p w", "c", kernel_shape=[1, 1]), n("Squeeze", "c one", "s"), n("Sub", "s k", "t"), n("Relu", "t", "r"),
               n("Reciprocal", "r", "797")], [port("0", [1, 3, 8, 8])], [port("797", [1, 4, 4])],
     [const("w", np.float32([[[[0.5]], [[1.5]], [[1]]]])), const("one", np.int64([1])), const("k", np.float32([1.5]))])
px = pixels(2, 8, 8)
o = np.concatenate([run("depth", {"0": prepare(px[i:i + 1])})[0] for i in range(2)])
case("depth.teacher.yaml", px, depth=[[None if not np.isfinite(v) else float(v) for v in m.reshape(-1)] for m in o])

save("normals", [n("Sigmoid", "x", "y")], [port("x", ["N", 3, 4, 4])], [port("y", ["N", 3, 4, 4])])
px = pixels(1, 4, 4)
o = run("normals", {"x": prepare(px, (0.5,) * 3, (0.2,) * 3)})[0].astype(np.float64) * 2 - 1
o *= np.reshape([1, -1, -1], (1, 3, 1, 1))
o /= np.sqrt((o ** 2).sum(1, keepdims=True))
case("normals.teacher.yaml", px, normals=o.transpose(0, 2, 3, 1).reshape(1, -1).tolist())

# Not good: no number in its output.
save("nan", [n("Neg", "x", "m"), n("Sub", "m k", "s"), n("Log", "s", "y")], [port("x", ["N", 3, 4, 4])], [port("y", ["N", 3, 4, 4])], [const("k", np.float32([1]))])

with open(os.path.join(here, "golden.json"), "w") as f:
    json.dump(json.loads(json.dumps(cases), parse_float=lambda v: float("%.7g" % float(v))), f)
    f.write("\n")
