"""Writes a miniature of the labelled set as published. Run in this folder; needs numpy, h5py and scipy."""

import h5py
import numpy as np
from scipy.io import savemat

n, w, h = 5, 6, 4
i, x, y = np.meshgrid(np.arange(n), np.arange(w), np.arange(h), indexing="ij")
images = np.stack([10 * x + i, 20 * y + i, 40 * i], axis=1).astype(np.uint8)  # N×3×W×H
depths = (1 + i + x / 8 + y / 16).astype(np.float32)
raw = np.where((x + y + i) % 3 == 0, 0, depths).astype(np.float32)
with h5py.File("nyu_depth_v2_labeled.mat", "w", userblock_size=512, libver="earliest") as f:
    f.create_dataset("images", data=images, chunks=(2, 2, 4, 3), compression="gzip")
    f.create_dataset("depths", data=depths, chunks=(2, 4, 3), compression="gzip")
    f.create_dataset("rawDepths", data=raw, chunks=(1, 6, 4), compression="gzip")
    names = f.create_group("#refs#").create_dataset("a", data=np.frombuffer("kitchen".encode("utf-16le"), np.uint16))
    f.create_dataset("scenes", data=np.array([[names.ref] * n], dtype=h5py.ref_dtype))
with open("nyu_depth_v2_labeled.mat", "r+b") as f:
    f.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
savemat("splits.mat", {"trainNdxs": np.array([[3], [5]], np.uint16), "testNdxs": np.array([[1], [2], [4]], np.uint16)}, do_compression=True)
