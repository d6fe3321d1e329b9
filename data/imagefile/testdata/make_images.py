"""Writes small images of every kind, and images.json with what Pillow sees in them.

Run here: python3 make_images.py   (Pillow 13.0.0, numpy 2.4.6)
"""
import json

import numpy as np
from PIL import Image, ImageOps

W, H = 24, 16
y, x = np.mgrid[0:H, 0:W]
# Smooth, so that JPEG keeps it; no symmetry, so that no rotation looks like another.
rgb = np.stack([x * 10, y * 15, 255 - x * 5 - y * 3], -1).astype(np.uint8)
colour = Image.fromarray(rgb)
expected = {}


def save(name, img, want=None, **options):
    img.save(name, **options)
    want = want if want is not None else Image.open(name)
    want = ImageOps.exif_transpose(want).convert("RGB")
    expected[name] = {"w": want.width, "h": want.height, "rgb": np.asarray(want).tobytes().hex()}


def exif(orientation):
    e = Image.Exif()
    e[0x0112] = orientation
    return e


for o in range(1, 9):
    save(f"exif{o}.jpg", colour, quality=95, subsampling=0, exif=exif(o))
save("exif6.png", colour, exif=exif(6))
save("exif6.webp", colour, lossless=True, exif=exif(6))
save("exif8.tiff", colour, exif=exif(8), compression="tiff_lzw")
save("subsampled.jpg", colour, quality=95, subsampling=2)
save("progressive.jpg", colour, quality=95, subsampling=0, progressive=True)
save("grey.jpg", colour.convert("L"), quality=95)
save("cmyk.jpg", colour.convert("CMYK"), want=colour, quality=95)
save("rgb.png", colour)
save("grey.png", colour.convert("L"))
save("grey1.png", colour.convert("1"))
save("paletted.png", colour.quantize(64))
save("rgba.png", Image.merge("RGBA", [*colour.split(), Image.fromarray((x * 11).astype(np.uint8))]),
     want=Image.fromarray(np.round(255 - (255.0 - rgb) * (x * 11)[..., None] / 255).astype(np.uint8)))
save("grey16.png", Image.fromarray((x * 2500 + y * 300).astype(np.uint16)),
     want=Image.fromarray(((x * 2500 + y * 300) >> 8).astype(np.uint8)))
save("first.gif", colour.quantize(64), save_all=True, append_images=[colour.rotate(180).quantize(64)])
save("lossless.webp", colour, lossless=True)
save("lossy.webp", colour, quality=95)
half = Image.fromarray(np.full((H, W), 128, np.uint8))
save("alpha.webp", Image.merge("RGBA", [*colour.split(), half]), quality=95,
     want=Image.fromarray(np.round(255 - (255.0 - rgb) * 128 / 255).astype(np.uint8)))
save("rgb.bmp", colour)
save("rgb.tiff", colour, compression="tiff_deflate")

json.dump(expected, open("images.json", "w"))
