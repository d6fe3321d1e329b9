"""Writes MAT-files of level 5 as MATLAB and SciPy do. Run in this folder; needs numpy and scipy."""

import numpy as np
from scipy.io import savemat

# As in ImageNet's devkit: an array of structures.
synsets = np.zeros((3, 1), dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("wnid_depth", "O")])
for i, (wnid, words) in enumerate([("n01440764", "tench, Tinca tinca"), ("n02119789", "kit fox, Vulpes macrotis"), ("n00000001", "")]):
    synsets[i, 0] = (np.array([[i + 1.0]]), wnid, words, np.array([[300]], np.uint16))
savemat("meta.mat", {"synsets": synsets}, do_compression=True)
savemat("plain.mat", {"synsets": synsets}, do_compression=False)

# As in NYU's splits, and all types of numbers.
numbers = {f"t_{t.__name__}": np.array([[1, 2, 3], [4, 5, 6]], t) for t in
           (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64, np.bool_)}
cells = np.array(["ab", "çé", np.array([[7.5, -1]])], dtype=object)
savemat("types.mat", {"trainNdxs": np.array([[3], [5]], np.uint16), "cells": cells, "empty": np.zeros((0, 2)), **numbers}, do_compression=True)
