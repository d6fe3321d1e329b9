"""Reads the event files of a run as TensorBoard does, and compares them with the run's log.

    must train … --out out/x
    python test/peers/tensorboard_events.py out/x/train

Checked with tensorboard 2.21.
"""
import json
import math
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
events.Reload()
tags = events.Tags()
log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
checked = 0
for line in log:
    for prefix, values in (("loss/", line.get("loss", {})), ("score/", line.get("scores", {}))):
        for name, value in values.items():
            got = [e.value for e in events.Scalars(prefix + name) if e.step == line["step"]]
            assert len(got) == 1 and math.isclose(got[0], value, rel_tol=1e-5, abs_tol=1e-6), (line["step"], prefix + name, got, value)
            checked += 1
steps = [line["step"] for line in log if "loss" in line]
assert [e.step for e in events.Scalars("loss/total")] == steps, "steps are missing or twice"
for tag in tags["images"]:
    for image in events.Images(tag):
        assert image.encoded_image_string[:4] == b"\x89PNG" and image.width > 0
print(f"ok: {checked} values of {len(steps)} steps, pictures {[(t, len(events.Images(t))) for t in tags['images']]}")
