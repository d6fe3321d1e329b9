"""Writes lars.json: what LARS, written in plain PyTorch after SimCLR's formulas, does to parameters.

Run as `python testdata/make_lars.py` in the package's folder (numpy 2.4.6, torch 2.15.0).
Parameters and gradients come from a formula that the test knows too, so only results are stored.
"""
import json
import math

import numpy as np
import torch

# (name, shape, adapted and decayed, scale of the values, scale of the gradients)
PARAMS = [
    ("conv.weight", (6, 3, 3, 3), True, 0.2, 1.0),
    ("fc.weight", (5, 7), True, 3.0, 1e-3),
    ("zero.weight", (4, 2), True, 0.0, 1.0),       # no norm of its own: not adapted
    ("still.weight", (4, 2), True, 1.0, 0.0),      # no gradient but its decay
    ("nothing.weight", (3, 2), True, 0.0, 0.0),
    ("bn.weight", (6,), False, 1.0, 0.5),
    ("bn.bias", (6,), False, 0.3, 0.5),
    ("fc.bias", (5,), False, 0.0, 2.0),
]
RATES = [0.3, 0.6, 0.45, 0.1]
MOMENTUM, TRUST = 0.9, 0.001


def values(shape, seed, scale):
    return torch.tensor(np.sin(1.7 * np.arange(math.prod(shape)) + 0.3 + seed) * scale).reshape(shape)


def run(decay):
    params = [values(shape, i, scale) for i, (_, shape, _, scale, _) in enumerate(PARAMS)]
    velocity = [torch.zeros_like(p) for p in params]
    steps = []
    for step, lr in enumerate(RATES):
        for i, (_, shape, adapted, _, scale) in enumerate(PARAMS):
            p, g = params[i], values(shape, 10 * (step + 1) + i, scale)
            rate = lr
            if adapted:
                g = g + decay * p
                if p.norm() > 0 and g.norm() > 0:
                    rate = lr * TRUST * p.norm() / g.norm()
            velocity[i] = MOMENTUM * velocity[i] + rate * g
            params[i] = p - velocity[i]
        steps.append({name: [float("%.9g" % v) for v in p.flatten().tolist()] for (name, *_), p in zip(PARAMS, params)})
    return {"decay": decay, "steps": steps}


with open("testdata/lars.json", "w") as f:
    json.dump({
        "params": [{"name": n, "shape": s, "adapted": a, "scale": w, "grad": g} for n, s, a, w, g in PARAMS],
        "rates": RATES,
        "runs": [run(0.0), run(1e-6), run(0.05)],
    }, f, separators=(",", ":"))
