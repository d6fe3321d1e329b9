"""Writes heif/: small AVIF and HEIC pictures, and heif.json: what Pillow shows of them.

Pillow 13.0.0, pillow-heif 1.8.1 (libheif 1.23.6, libde265 1.1.3, x265 4.3), numpy 2; python3 make_heif.py
Each picture is told by the means of its blocks of 8×8 pixels, upright, over white.
"""
import json, pathlib, struct
import numpy as np
import pillow_heif
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()
here = pathlib.Path(__file__).resolve().parent
out = here / "heif"
out.mkdir(exist_ok=True)


def scene(w, h):
    """Smooth in colour, so that it does not matter how chroma is enlarged; no two corners are alike."""
    y, x = np.mgrid[:h, :w]
    a = np.stack([40 + x * 160 / w, 30 + y * 180 / h, 128 + 60 * np.sin(3 * x / w + 2 * y / h)], -1)
    a[h // 8:h // 3, w // 8:w // 2] += 40  # a lighter rectangle
    return Image.fromarray(a.clip(0, 255).astype(np.uint8))


def boxes(b):
    while b:
        n, kind = struct.unpack(">I4s", b[:8])
        yield kind, b[8:n]
        b = b[n:]


def box(kind, payload):
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def with_property(file, added):
    """The file with one more property of its main item, number 1; the places of its data move along."""
    content = file.read_bytes()
    grown = len(added) + 1

    def meta(b):
        out = b[:4]
        for kind, p in boxes(b[4:]):
            if kind == b"iprp":
                parts = dict(boxes(p))
                count = len(list(boxes(parts[b"ipco"])))
                ipma = parts[b"ipma"]
                assert ipma[:12] == bytes([0, 0, 0, 0, 0, 0, 0, 1, 0, 1, ipma[10], ipma[11]])
                ipma = ipma[:10] + bytes([ipma[10] + 1]) + ipma[11:] + bytes([0x80 | count + 1])
                p = box(b"ipco", parts[b"ipco"] + added) + box(b"ipma", ipma)
            if kind == b"iloc":
                assert p[0] == 0 and p[4:6] == b"\x44\x40", p[:6]
                q, at = bytearray(p), 8
                for _ in range(struct.unpack(">H", p[6:8])[0]):  # number, file, base, parts: each its place and length
                    struct.pack_into(">I", q, at + 4, struct.unpack(">I", p[at + 4:at + 8])[0] + grown)
                    at += 10 + 8 * struct.unpack(">H", p[at + 8:at + 10])[0]
                p = bytes(q)
            out += box(kind, p)
        return out

    file.write_bytes(b"".join(box(k, meta(p) if k == b"meta" else p) for k, p in boxes(content)))


for w, h in ((40, 30), (97, 65), (200, 70)):
    for kind in ("avif", "heic"):
        scene(w, h).save(out / f"{w}.{kind}", quality=90)
s = scene(80, 48)
for turn in range(2, 9):
    exif = Image.Exif()
    exif[0x112] = turn
    s.save(out / f"turn{turn}.avif", quality=90, exif=exif)
for angle in (1, 2, 3):
    s.save(out / f"turned{angle}.heic", quality=90)
    with_property(out / f"turned{angle}.heic", box(b"irot", bytes([angle])))
for axis in (0, 1):
    s.save(out / f"mirrored{axis}.heic", quality=90)
    with_property(out / f"mirrored{axis}.heic", box(b"imir", bytes([axis])))
exif = Image.Exif()
exif[0x112] = 6
s.save(out / "exif.heic", quality=90, exif=exif)  # EXIF does not turn a HEIC
s.save(out / "full444.heic", quality=90, chroma=444)
for kind in ("avif", "heic"):
    s.convert("L").save(out / f"grey.{kind}", quality=90)
alpha = s.convert("RGBA")
alpha.putalpha(Image.fromarray((np.mgrid[:48, :80][1] * 3).astype(np.uint8)))
alpha.save(out / "alpha.avif", quality=90)

expected = {}
for file in sorted(out.iterdir()):
    im = Image.open(file)
    if file.suffix == ".avif":
        im = ImageOps.exif_transpose(im)
    im = im.convert("RGBA")
    im = Image.alpha_composite(Image.new("RGBA", im.size, "white"), im).convert("RGB")
    a = np.asarray(im).astype(float)
    means = [[a[y:y + 8, x:x + 8].mean((0, 1)).round().astype(int).tolist() for x in range(0, im.width, 8)] for y in range(0, im.height, 8)]
    expected[file.name] = {"W": im.width, "H": im.height, "Means": means}
(here / "heif.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
