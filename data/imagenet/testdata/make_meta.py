"""Writes the class table of a miniature devkit, packed as MATLAB does. Run in this folder; needs numpy and scipy.

As in the real one, numbers do not follow the order of the ids, and synsets that are no classes come after number 1000."""

import numpy as np
from scipy.io import savemat

rows = [
    (1, "n03126707", "crane"),
    (2, "n01440764", "tench, Tinca tinca"),
    (3, "n02012849", "crane"),
    (1001, "n00001740", "entity"),
]
synsets = np.zeros((len(rows), 1), dtype=[(f, "O") for f in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images")])
for i, (number, wnid, words) in enumerate(rows):
    synsets[i, 0] = (np.array([[number]], np.uint16), wnid, words, "a gloss", np.array([[0]], np.uint8), np.zeros((1, 0), np.uint8), np.array([[0]], np.uint8), np.array([[1300]], np.uint16))
savemat("meta.mat", {"synsets": synsets}, do_compression=True)
