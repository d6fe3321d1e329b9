"""Writes pictures as people have them and what Pillow reads in them: people.json.

Run here: python3 make_people.py   (Pillow 13.0.0 with libtiff, numpy 2.4.6)
"""
import io
import json

import numpy as np
from PIL import Image, ImageFile

ImageFile.LOAD_TRUNCATED_IMAGES = True
W, H = 24, 16
y, x = np.mgrid[0:H, 0:W]
rgb = np.stack([x * 10, y * 15, 255 - x * 5 - y * 3], -1).astype(np.uint8)
colour = Image.fromarray(rgb)
big = colour.resize((32, 40), Image.Resampling.BILINEAR)
files = {}


def keep(name, content, want=None):
    img = want if want is not None else Image.open(io.BytesIO(content))
    img = img.convert("RGB")
    files[name] = {"file": content.hex(), "w": img.width, "h": img.height, "rgb": np.asarray(img).tobytes().hex()}


def saved(img, format, **options):
    b = io.BytesIO()
    img.save(b, format, **options)
    return b.getvalue()


# 1. JPEGs without their last bytes.
def cut(b, share):
    scan = b.rindex(b"\xff\xda")
    return b[: scan + int((len(b) - scan) * share)]


plain = saved(big, "JPEG", quality=90, subsampling=0)
keep("cut half.jpg", cut(plain, 0.5))
keep("cut four fifths.jpg", cut(plain, 0.8))
keep("whole but for its end.jpg", plain[:-2])
keep("cut subsampled.jpg", cut(saved(big, "JPEG", quality=90, subsampling=2), 0.5))
keep("cut optimised.jpg", cut(saved(big, "JPEG", quality=90, subsampling=0, optimize=True), 0.5))
keep("cut with restarts.jpg", cut(saved(big, "JPEG", quality=90, subsampling=0, restart_marker_blocks=5), 0.5))
keep("cut grey.jpg", cut(saved(big.convert("L"), "JPEG", quality=90), 0.5))
# The last scan alone is cut: what it refines is little.
keep("cut progressive.jpg", cut(saved(big, "JPEG", quality=90, subsampling=0, progressive=True), 0.5))
# In one of the first scans of AC values.
b = saved(big, "JPEG", quality=95, subsampling=0, progressive=True)
scans = [i for i in range(len(b) - 1) if b[i : i + 2] == b"\xff\xda"]
for n in 1, 3, 4:
    keep(f"cut progressive in scan {n}.jpg", b[: scans[n] + 10 + (b.index(b"\xff\xc4", scans[n]) - scans[n] - 10) // 2])

# 2. Bilevel TIFF: photometric interpretation 0 is white for 0, 1 is black for 0.
bits = Image.fromarray(((x * 3 + y * y) % 7 < 3).astype(np.uint8) * 255).convert("1")
for how in "raw", "packbits", "group3", "group4", "tiff_lzw", "tiff_adobe_deflate":
    for photometric in 0, 1:
        keep(f"{how} {photometric}.tiff", saved(bits, "TIFF", compression=how, tiffinfo={262: photometric}))

# 3. MPO: a second picture follows.
keep("two.mpo", saved(colour, "MPO", save_all=True, append_images=[colour.rotate(180)], quality=95, subsampling=0))

# 4. Animated WebP: the first frame. In "part" it covers a part of the canvas, which is black where the file has no
# transparency.
other = colour.rotate(180)
inside = (x >= 6) & (x < 17) & (y >= 4) & (y < 13)


def clear(alpha):
    return Image.fromarray(np.dstack([rgb, np.where(inside, alpha, 0).astype(np.uint8)]))


for name, frames, options in (
    ("lossless animation", [colour, other], {"lossless": True}),
    ("lossy animation", [colour, other], {"quality": 95}),
    ("part, lossless", [clear(255), other.convert("RGBA")], {"lossless": True}),
    ("part, lossy", [clear(255), other.convert("RGBA")], {"quality": 95}),
    ("part, lossy, transparent", [clear(128), clear(64)], {"quality": 95, "alpha_quality": 100}),
):
    b = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100, **options)
    seen = Image.open(io.BytesIO(b)).convert("RGBA")
    keep(f"{name}.webp", b, Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen))

# 5. CMYK without Adobe's marker.
inks = saved(colour.convert("CMYK"), "JPEG", quality=95)
at = inks.index(b"\xff\xee")
inks = inks[:at] + inks[at + 16:]
assert b"Adobe" not in inks
keep("inks.jpg", inks)

json.dump(files, open("people.json", "w"), indent=0)
for name, f in files.items():
    print(name, len(f["file"]) // 2)
