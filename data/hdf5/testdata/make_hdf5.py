"""Writes HDF5 as MATLAB 7.3 does: behind a user block, in the earliest format. Run in this folder; needs numpy and h5py."""

import h5py
import numpy as np

ramp = np.arange(5 * 3 * 7 * 4).reshape(5, 3, 7, 4)
with h5py.File("matlab.h5", "w", userblock_size=512, libver="earliest") as f:
    f.create_dataset("packed", data=(ramp % 251).astype(np.uint8), chunks=(2, 2, 3, 3), compression="gzip")
    f.create_dataset("shuffled", data=(ramp / 4).astype(np.float32), chunks=(1, 3, 4, 4), compression="gzip", shuffle=True)
    f.create_dataset("contiguous", data=ramp.astype(np.float64))
    f.create_dataset("chunked", data=ramp.astype(np.uint16), chunks=(5, 1, 7, 4))
    f.create_dataset("vector", data=np.arange(10, dtype=np.uint16), chunks=(3,), compression="gzip")
    f.create_dataset("unwritten", shape=(4, 5), dtype=np.float32, chunks=(2, 2))
    f.create_dataset("big", data=ramp.astype(">f4"))
    f.create_dataset("names", data=np.array([f["packed"].ref, f["big"].ref], dtype=h5py.ref_dtype))
    f.create_group("#refs#").create_dataset("a", data=[1])
    for i in range(40):  # more names than one node holds
        f.create_dataset(f"more{i}", data=np.full((1, 2), i, np.float32))
with open("matlab.h5", "r+b") as f:
    f.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
with h5py.File("latest.h5", "w", libver="latest") as f:
    f.create_dataset("x", data=ramp)
