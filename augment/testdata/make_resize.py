"""Writes resize.json: images made by a formula and resized by Pillow's BILINEAR filter.

Run: python3 make_resize.py > resize.json   (Pillow 13.0.0, numpy 2.4.6)
"""
import json

import numpy as np
from PIL import Image

cases = []
for w, h, W, H in [(7, 5, 7, 5), (7, 5, 16, 3), (16, 9, 5, 5), (3, 2, 11, 8), (33, 20, 8, 4), (1, 1, 4, 3), (12, 40, 12, 13)]:
    y, x, c = np.mgrid[0:h, 0:w, 0:3]
    pixels = ((x * 37 + y * 91 + c * 53 + x * y * 11) % 256).astype(np.uint8)
    out = np.asarray(Image.fromarray(pixels).resize((W, H), Image.Resampling.BILINEAR))
    cases.append({"from": [w, h], "to": [W, H], "rgb": out.reshape(-1).tolist()})
print(json.dumps(cases))
