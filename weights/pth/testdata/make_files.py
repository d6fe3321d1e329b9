"""Writes the small files that the tests read, as torch.save and nothing else would write them.

Run as `python testdata/make_files.py` in the package's folder (torch 2.15, numpy 2).
"""
import argparse
import collections
import datetime
import enum
import functools
import os
import pathlib
import pickle
import zipfile

import numpy
import torch

base = torch.arange(24, dtype=torch.float32)
state = collections.OrderedDict(
    [
        ("conv.weight", (base / 8 - 1).reshape(2, 3, 2, 2)),
        ("half", torch.tensor([0, 1, -2.5, 65504], dtype=torch.float16)),
        ("brain", torch.tensor([1, -3.5, 1e30], dtype=torch.bfloat16)),
        ("wide", torch.tensor([[0.1], [-7]], dtype=torch.float64)),
        ("count", torch.tensor(-7)),
        ("mask", torch.tensor([True, False, True])),
        ("bytes", torch.tensor([1, 2, 255], dtype=torch.uint8)),
        ("empty", torch.zeros(0, 4)),
        ("shared.first", base[:12]),
        ("shared.last", base[20:]),
        ("transposed", base.reshape(2, 3, 4).permute(2, 0, 1)),
        ("stepped", base[1::5]),
        ("channels_last", base.reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)),
        ("parameter", torch.nn.Parameter(torch.tensor([1.5]))),
    ]
)
state._metadata = collections.OrderedDict([("", {"version": 1})])
tagged = torch.nn.Parameter(torch.tensor([2.5]))
tagged.note = "a parameter with an attribute"
state["tagged"] = tagged
new = dict(state)
new["eight"] = torch.tensor([1, -0.5], dtype=torch.float8_e4m3fn)

weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
weight.sum().backward()
optimizer.step()
beside = {
    "epoch": 3,
    "best": numpy.float64(76.1),
    "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/tmp/out"), sizes={1, 2}, huge=10**30),
    "optimizer": optimizer.state_dict(),
    "device": torch.device("cpu"),
    "loss": torch.tensor(0.25),
}
model = {"fc.weight": torch.ones(2, 2), "fc.bias": torch.zeros(2)}


class Phase(enum.Enum):
    TRAIN = "train"

    def maximum(self):
        return self


def save(name, what, **options):
    torch.save(what, os.path.join("testdata", name), **options)


save("plain.pth", new)
save("legacy.pth", state, _use_new_zipfile_serialization=False)
save("nested.pth", {"state_dict": model, **beside})
save("nested_legacy.pth", {"state_dict": model, **beside}, _use_new_zipfile_serialization=False)
save("teacher.pth", {"student": {"a": torch.zeros(1), "b": torch.zeros(1)}, "teacher": {"a": torch.ones(1)}})
save("protocol5.pth", model, pickle_protocol=5)
save("legacy4.pth", model, pickle_protocol=4, _use_new_zipfile_serialization=False)
save("beside.pth", {"state_dict": model, "phase": Phase.TRAIN, "print": functools.partial(print, end=""), "max": {"f": Phase.maximum},
                    "time": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc), "rng": numpy.random.default_rng(0)})
save("sparse.pth", {"fc.weight": torch.eye(2).to_sparse()})
save("tensor.pth", torch.ones(2))
save("module.pth", torch.nn.Linear(2, 2))
save("numbers.pth", {"epoch": 3})
with zipfile.ZipFile("testdata/nested.pth") as old, zipfile.ZipFile("testdata/deflated.pth", "w", zipfile.ZIP_DEFLATED) as packed:
    for entry in old.infolist():
        packed.writestr(zipfile.ZipInfo(entry.filename), old.read(entry), zipfile.ZIP_DEFLATED)


class Evil:
    """Makes a file as soon as it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch must-was-here",)


save("evil.pth", {"state_dict": model, "epoch": Evil()})
save("evil_legacy.pth", Evil(), _use_new_zipfile_serialization=False)
with open("testdata/plain.pickle", "wb") as f:
    pickle.dump({"a": 1}, f)
