"""What goes out to labelling tools and comes back, checked with the tools' own importers.

    pip install label-studio-sdk datumaro pycocotools numpy
    python test/peers/label_tools.py bin/must

A Go test writes 25 images with labels of all tasks; `must review --export` writes them for Label Studio, CVAT and COCO.
Label Studio's SDK validates interface and predictions and decodes the brushes; its converter and Datumaro read what a person
would have exported. Then each tool's own writer writes the file that comes back, and `must label import` must find every
label as it was; a label that was changed must take the pseudo label's place. Not part of make test.
"""

import copy
import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset
from label_studio_sdk.converter import Converter, brush
from label_studio_sdk.label_interface import LabelInterface
from pycocotools.coco import COCO

COUNT = 25
must = pathlib.Path(sys.argv[1]).resolve()
for name in "label-studio-sdk", "datumaro", "pycocotools":
    print(name, importlib.metadata.version(name))


def run(*args):
    return subprocess.run([str(must), "-q", *map(str, args)], check=True, stdout=subprocess.PIPE, text=True).stdout


def imported(root, tool, file):
    """What `must label import` says of a file, for a fresh copy of the labels."""
    labels = root / "back"
    shutil.rmtree(labels, ignore_errors=True)
    shutil.copytree(root / "labels", labels)
    said = run("label", "import", labels, file, "--from", tool)
    replaced, kept = map(int, re.match(r"(\d+) images have other labels now, (\d+) came back as they were", said).groups())
    return (kept, replaced), said


def check_studio(root):
    config = (root / "out/labelstudio/interface.xml").read_text()
    interface = LabelInterface(config)
    interface.validate()
    tasks = json.loads((root / "out/labelstudio/tasks.json").read_text())
    assert len(tasks) == COUNT
    coco = COCO(root / "out/coco/instances.json")
    names = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
    sizes = {i["file_name"]: (i["width"], i["height"]) for i in coco.imgs.values()}
    boxes = brushes = 0
    for task in tasks:
        interface.validate_task({"data": task["data"]}, validate_regions_only=False)
        for p in task["predictions"]:
            faults = interface.validate_prediction(p, return_errors=True)
            assert not faults, faults
            for r in p["result"]:
                if r["type"] == "rectanglelabels":
                    boxes += 1
                if r["type"] == "brushlabels":
                    w, h = r["original_width"], r["original_height"]
                    pixels = brush.decode_rle(r["value"]["rle"])
                    assert len(pixels) == 4 * w * h and set(np.unique(pixels)) <= {0, 255}
                    brushes += 1
    print(f"Label Studio: {COUNT} tasks valid for the interface, {boxes} boxes, {brushes} brushes decoded; {len(names)} classes")
    # What a person who accepts every prediction exports.
    done = copy.deepcopy(tasks)
    for i, task in enumerate(done):
        task["id"] = i + 1
        task["annotations"] = [{"id": i + 1, "completed_by": 1, "was_cancelled": False, "result": task["predictions"][0]["result"]}]
    (root / "project.json").write_text(json.dumps(done))
    (kept, replaced), said = imported(root, "labelstudio", root / "project.json")
    assert (kept, replaced) == (COUNT, 0), said
    moved = next(t for t in done if any(r["type"] == "rectanglelabels" for r in t["annotations"][0]["result"]))
    next(r for r in moved["annotations"][0]["result"] if r["type"] == "rectanglelabels")["value"]["x"] = 1.0
    (root / "project.json").write_text(json.dumps(done))
    (kept, replaced), said = imported(root, "labelstudio", root / "project.json")
    assert (kept, replaced) == (COUNT - 1, 1), said
    converter = Converter(config, str(root / "project"))
    converter.convert_to_json(str(root / "project.json"), str(root / "converted"), is_dir=False)
    assert len(json.loads((root / "converted/result.json").read_text())) == COUNT
    print("  accepted ones come back as they were, a moved box in place of the pseudo label; label-studio-converter reads them")


def check_cvat(root):
    folder = root / "cvat"
    folder.mkdir()
    shutil.copy(root / "out/cvat/annotations.xml", folder)
    shutil.copytree(root / "images", folder / "images")  # which Datumaro wants to see
    read = Dataset.import_from(str(folder), "cvat")
    assert len(read) == COUNT, len(read)
    coco = COCO(root / "out/coco/instances.json")
    count = {kind: sum(a.type == kind for item in read for a in item.annotations) for kind in AnnotationType}
    shapes = count[AnnotationType.bbox] + count[AnnotationType.mask] + count[AnnotationType.polygon]
    print(f"CVAT: Datumaro reads {COUNT} images, " + ", ".join(f"{n} of {k.name}" for k, n in count.items() if n))
    assert shapes >= len(coco.anns), (shapes, len(coco.anns))
    (kept, replaced), said = imported(root, "cvat", root / "out/cvat/annotations.xml")
    assert (kept, replaced) == (COUNT, 0), said
    print("  what went out comes back as it was")


def check_coco(root):
    folder = root / "coco"
    (folder / "annotations").mkdir(parents=True)
    shutil.copy(root / "out/coco/instances.json", folder / "annotations/instances_all.json")
    shutil.copytree(root / "images", folder / "images/all")
    read = Dataset.import_from(str(folder), "coco_instances")
    coco = COCO(root / "out/coco/instances.json")
    boxes = sum(a.type == AnnotationType.bbox for item in read for a in item.annotations)  # masks come beside them
    assert len(read) == COUNT and boxes == len(coco.anns), (len(read), boxes)
    (kept, replaced), said = imported(root, "coco", root / "out/coco/instances.json")
    assert (kept, replaced) == (COUNT, 0), said
    written = root / "written"
    read.export(str(written), "coco_instances", save_media=False)
    theirs = next((written / "annotations").glob("*.json"))
    (kept, replaced), said = imported(root, "coco", theirs)
    assert kept + replaced == COUNT, said
    print(f"COCO: Datumaro reads {boxes} objects; what went out comes back as it was; of the file that Datumaro writes")
    print(f"  {kept} images come back as they were, {replaced} with boxes that Datumaro drew around the masks")


with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    print("writing labels")
    subprocess.run(["go", "test", "-count=1", "-run", "TestWriteForPeers", "./label/export"], check=True, stdout=subprocess.DEVNULL,
                   cwd=pathlib.Path(__file__).parents[2], env=os.environ | {"MUST_PEERS_DIR": str(root), "CGO_ENABLED": "0"})
    print(run("review", root / "labels", "--path", root / "images", "--export", "labelstudio,cvat,coco", "--out", root / "out"))
    check_studio(root)
    check_cvat(root)
    check_coco(root)
