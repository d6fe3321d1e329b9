"""Calls a running `must serve` with Triton's own HTTP client, unchanged, and compares with `must predict`.

    must predict MODEL photos/ --out predicted
    must serve MODEL --listen 8000 &
    python test/peers/triton_client.py http://127.0.0.1:8000 photos predicted

Needs tritonclient[http], numpy, pillow. Checked with tritonclient 2.73.
"""
import json
import pathlib
import sys

import numpy as np
import tritonclient.http as triton
from PIL import Image, ImageOps
from tritonclient.utils import InferenceServerException

url, photos, predicted = sys.argv[1].removeprefix("http://"), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
client = triton.InferenceServerClient(url, concurrency=4)
assert client.is_server_live() and client.is_server_ready()
assert client.get_server_metadata()["name"] == "must"
import urllib.request

name = json.load(urllib.request.urlopen(f"http://{url}/models"))["models"][0]["name"]
assert client.is_model_ready(name) and not client.is_model_ready("no-such-model")
metadata, config = client.get_model_metadata(name), client.get_model_config(name)
outputs = [o["name"] for o in metadata["outputs"]]
assert {o["name"] for o in config["output"]} == set(outputs)
print(name, metadata["versions"], outputs)

files = sorted(p for p in photos.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:20]
checked = 0
for file in files:
    want = json.loads((predicted / file.relative_to(photos).with_suffix(".json")).read_text())
    pixels = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB")).transpose(2, 0, 1)[None]
    for datatype, binary in (("UINT8", True), ("FP32", True), ("BYTES", True), ("UINT8", False)):
        if datatype == "BYTES":
            given = triton.InferInput("images", [1], "BYTES")
            given.set_data_from_numpy(np.array([file.read_bytes()], dtype=object))
        else:
            values = pixels.astype({"UINT8": np.uint8, "FP32": np.float32}[datatype])
            given = triton.InferInput("images", list(values.shape), datatype)
            given.set_data_from_numpy(values, binary_data=binary)
        asked = [triton.InferRequestedOutput(o, binary_data=binary) for o in outputs]
        got = client.infer(name, [given], outputs=asked, request_compression_algorithm="gzip" if datatype == "FP32" else None)
        if file.suffix.lower() in (".jpg", ".jpeg") and datatype != "BYTES":
            continue  # other decoders, other pixels
        said = json.loads(got.as_numpy("json")[0] if binary else got.as_numpy("json").flatten()[0])
        assert said["network"] == want["network"]
        if "detection" in want:
            n = int(got.as_numpy("count")[0])
            assert n == len(want["detection"]), (file, n, len(want["detection"]))
            boxes, scores = got.as_numpy("boxes")[0], got.as_numpy("scores")[0]
            for i, o in enumerate(want["detection"]):
                x, y, w, h = o["bbox"]
                assert np.allclose(boxes[i], [x, y, x + w, y + h], atol=0.05), (file, boxes[i], o)
                assert abs(scores[i] - o["score"]) < 1e-3
        if "segmentation" in want:
            m = np.asarray(Image.open(predicted / file.relative_to(photos).parent / want["segmentation"]["file"]))
            assert (got.as_numpy("segmentation")[0] != m).mean() < 1e-3, file
        if "depth" in want:
            d = np.load(predicted / file.relative_to(photos).parent / want["depth"]["file"])
            assert np.allclose(got.as_numpy("depth")[0], d, rtol=1e-3, equal_nan=True), file
        if "classification" in want:
            p = np.sort(got.as_numpy("classification")[0])[::-1][: len(want["classification"])]
            assert np.allclose(p, [c["probability"] for c in want["classification"]], atol=1e-3), file
        checked += 1
try:
    bad = triton.InferInput("images", [1], "BYTES")
    bad.set_data_from_numpy(np.array([b"no picture"], dtype=object))
    client.infer(name, [bad])
    raise SystemExit("a bad image was not refused")
except InferenceServerException as e:
    assert "cannot be read" in str(e), e
asynchronous = client.async_infer(name, [given])
asynchronous.get_result()
print(f"ok: {checked} answers of {len(files)} images equal must predict's")
