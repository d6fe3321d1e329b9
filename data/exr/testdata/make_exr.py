"""Writes small OpenEXR files and what is in them, with the format's own library.

    pip install OpenEXR==3.5.3 numpy==2.4.6
    python3 make_exr.py
"""
import json
import numpy as np
import OpenEXR

h, w = 37, 5  # more lines than a block of ZIP
depth = (np.arange(h * w, dtype=np.float32).reshape(h, w) ** 1.5) / 8
depth[0, 0] = np.inf
kinds = {"none": OpenEXR.NO_COMPRESSION, "rle": OpenEXR.RLE_COMPRESSION, "zips": OpenEXR.ZIPS_COMPRESSION, "zip": OpenEXR.ZIP_COMPRESSION, "piz": OpenEXR.PIZ_COMPRESSION}


def save(name, channels, compression="zip", **header):
    with OpenEXR.File({"compression": kinds[compression], "type": OpenEXR.scanlineimage, **header}, channels) as f:
        f.write(name + ".exr")


for kind in kinds:
    save(kind, {"Z": depth}, kind)
save("half", {"Z": depth.astype(np.float16)})
save("integer", {"Z": np.arange(h * w, dtype=np.uint32).reshape(h, w)})
save("flat", {"Z": np.full((h, w), 2, np.float32)}, "rle")
save("named", {"A": np.ones((h, w), np.float32), "depth.Z": depth, "R": depth * 2})
save("grey", {"RGB": np.repeat(depth[:, :, None], 3, 2)})
save("colours", {"R": depth, "G": depth * 2, "B": depth})
window = np.array([[2, 3], [2 + w - 1, 3 + h - 1]], np.int32)
save("window", {"Z": depth}, dataWindow=(window[0], window[1]))
json.dump({"w": w, "h": h, "depth": [None if np.isinf(v) else float(v) for v in depth.ravel()]}, open("depth.json", "w"))
