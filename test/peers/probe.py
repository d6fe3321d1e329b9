"""Compare `must probe` with scikit-learn on the same features.

    pip install numpy scikit-learn
    must probe model.safetensors --format imagefolder --path cifar10 --features features
    python test/peers/probe.py features

scikit-learn's k-NN and logistic regression, with the penalty that must chose, learn from the features in the folder
and must reach what scores.json says: the k-NN but for ties, the linear probe within what stopping early leaves open.
Not part of make test.
"""

import json
import pathlib
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

TEMPERATURE = 0.07


def knn(x, y, queries, k):
    distance, index = NearestNeighbors(n_neighbors=min(k, len(x)), metric="cosine", algorithm="brute").fit(x).kneighbors(queries)
    weight = np.exp((1 - distance) / TEMPERATURE)
    votes = np.zeros((len(queries), int(y.max()) + 1))
    for column in range(index.shape[1]):
        votes[np.arange(len(queries)), y[index[:, column]]] += weight[:, column]
    return votes.argmax(1)


folder = pathlib.Path(sys.argv[1])
load = lambda name: np.load(folder / name)
x, queries = load("train.npy"), load("test.npy")
y, truth = load("train-classes.npy").astype(int), load("test-classes.npy").astype(int)
scores = json.loads((folder / "scores.json").read_text())
scaler = StandardScaler().fit(x)
failed = False
for value in scores["values"]:
    name, ours = value["Name"], value["Value"]
    if name.startswith("knn"):
        theirs, tolerance = (knn(x, y, queries, int(name[3:].split(".")[0])) == truth).mean(), 0.001
    elif name == "linear.top1":
        model = LogisticRegression(C=1 / (scores["l2"] * len(x)), max_iter=200).fit(scaler.transform(x), y)
        theirs, tolerance = model.score(scaler.transform(queries), truth), 0.005
    else:
        continue
    ok = abs(ours - theirs) <= tolerance
    failed |= not ok
    print(f"{name:14} must {ours:.4f}  scikit-learn {theirs:.4f}  {'ok' if ok else 'DIFFERS'}")
sys.exit(failed)
