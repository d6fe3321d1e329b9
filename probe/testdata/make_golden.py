"""Writes golden.json: what scikit-learn's k-NN and logistic regression say about small random features.

Run as `python testdata/make_golden.py` in the package's folder (numpy 2.4.6, scikit-learn 1.9.1).
"""
import json

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

CLASSES, DIM, TRAIN, TEST, TEMPERATURE = 7, 9, 130, 40, 0.07
rng = np.random.default_rng(1)
centres = rng.normal(size=(CLASSES, DIM))


def features(n):
    y = rng.integers(CLASSES, size=n)
    x = centres[y] + 1.2 * rng.normal(size=(n, DIM))
    x = np.maximum(x * np.geomspace(0.1, 10, DIM) + 0.5, 0)  # like pooled activations: not negative, of any scale
    x[:, 3] = 0.25  # a channel that says nothing
    return np.round(x, 3), y


(train, train_y), (test, test_y) = features(TRAIN), features(TEST)
golden = {
    "classes": CLASSES, "dim": DIM,
    "train": train.ravel().tolist(), "train_class": train_y.tolist(),
    "test": test.ravel().tolist(), "test_class": test_y.tolist(),
    "knn": [], "linear": [],
}
for k in 1, 5, 20, 500:
    model = KNeighborsClassifier(min(k, TRAIN), metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / TEMPERATURE))
    votes = model.fit(train, train_y).predict_proba(test)
    golden["knn"].append({"k": k, "votes": [round(v, 7) for v in votes.ravel().tolist()]})
scaler = StandardScaler().fit(train)
for l2 in 1.0, 1e-2, 1e-4:
    model = LogisticRegression(C=1 / (l2 * TRAIN), tol=1e-12, max_iter=100_000).fit(scaler.transform(train), train_y)
    probs = model.predict_proba(scaler.transform(test))
    golden["linear"].append({
        "l2": l2,
        "weight": [round(v, 7) for v in model.coef_.ravel().tolist()],
        "probs": [round(v, 7) for v in probs.ravel().tolist()],
        "accuracy": model.score(scaler.transform(test), test_y),
    })
with open("testdata/golden.json", "w") as f:
    json.dump(golden, f, separators=(",", ":"))
