"""Write the .npy files that npy_test.go reads: python make_npy.py (needs numpy)."""

import pathlib

import numpy as np

here = pathlib.Path(__file__).parent
ramp = np.arange(24).reshape(2, 3, 4)
for dtype in ["<f2", "<f4", ">f4", "<f8", "|u1", "|i1", ">i2", "<u2", "<i4", "<u4", "<i8", "<u8", "|b1"]:
    a = ramp.astype(dtype) if dtype != "|b1" else ramp % 2 == 0
    np.save(here / f"ramp-{a.dtype.kind}{a.dtype.itemsize}{'-big' if dtype[0] == '>' else ''}.npy", a)
np.save(here / "fortran.npy", np.asfortranarray(ramp.astype("<f4")))
np.save(here / "scalar.npy", np.float32(7))
np.save(here / "vector.npy", np.array([0.5, np.nan, np.inf, -65504, 1e-7], "<f2"))
np.save(here / "empty.npy", np.zeros((0, 3), "<f4"))
with open(here / "version2.npy", "wb") as f:
    np.lib.format.write_array(f, ramp.astype("<f4"), version=(2, 0))
