"""Open pseudo-label shards and their exports with the packages of the field.

    pip install webdataset pycocotools supervision fiftyone pillow numpy
    python test/peers/open_shards.py

A Go test writes 25 images with labels of all tasks and every export into a temporary folder. Then webdataset reads the
shards, pycocotools, supervision and FiftyOne the COCO file, supervision and FiftyOne the YOLO and VOC folders, Pillow and
NumPy the maps and arrays, and what they read must agree. FiftyOne's importers run without its database. Not part of make
test.
"""

import io
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from urllib.parse import unquote

import fiftyone as fo
import fiftyone.utils.coco as fouc
import fiftyone.utils.voc as fouv
import fiftyone.utils.yolo as fouy
import numpy as np
import supervision as sv
import webdataset as wds
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

COUNT, SHARDS = 25, "shard-{000000..000002}.tar"


def read_shards(root, task, decode=False):
    """The samples of one task by the key that the image has."""
    data = wds.WebDataset(f"{root}/labels/{task}/{SHARDS}", shardshuffle=False)
    samples = {unquote(s["__key__"]): s for s in (data.decode() if decode else data)}
    assert len(samples) == COUNT, f"{task}: {len(samples)} samples of {COUNT}"
    return samples


def check_arrays(root):
    index = json.loads((root / "labels/index.json").read_text())
    assert index["complete"] and index["dataset"]["samples"] == COUNT and index["skipped"] == 0
    for task, dtype in ("classification", np.float32), ("depth", np.float16), ("normals", np.float32):
        for key, sample in read_shards(root, task, decode=True).items():
            a = sample["npy"]
            assert a.dtype == dtype, (task, a.dtype)
            np.testing.assert_array_equal(a, np.load(root / f"arrays/{task}/{key}.npy"))
            if task != "classification":
                image = Image.open(root / f"images/{key}.png")
                assert a.shape[:2] == (image.height, image.width)
            else:
                assert abs(a.sum() - 1) < 1e-6
    for key, sample in read_shards(root, "segmentation").items():
        image = Image.open(io.BytesIO(sample["png"]))
        assert image.mode == "P"
        a = np.array(image)
        assert set(np.unique(a)) <= {0, 1, 2, 255}
        np.testing.assert_array_equal(a, np.array(Image.open(root / f"maps/{key}.png")))


def check_objects(root):
    coco = COCO(root / "coco.json")
    by_key = {i["file_name"].removesuffix(".png"): i for i in coco.imgs.values()}
    detections = read_shards(root, "detection", decode=True)
    assert by_key.keys() == detections.keys()
    names = {c["id"]: c["name"] for c in coco.cats.values()}
    total = 0
    for key, sample in detections.items():
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=by_key[key]["id"]))
        objects = sample["json"]["objects"]
        assert len(annotations) == len(objects)
        for a, o in zip(annotations, objects):
            assert a["bbox"] == o["bbox"] and names[a["category_id"]] == o["category"] and a["score"] == o["score"]
            np.testing.assert_array_equal(coco.annToMask(a), rle.decode(o["segmentation"]))
            assert rle.area(o["segmentation"]) == a["area"] > 0
        total += len(objects)
    assert total == len(coco.anns) > 0
    results = coco.loadRes([{k: a[k] for k in ("image_id", "category_id", "segmentation", "score")} for a in coco.anns.values()])
    assert len(results.anns) == total
    return coco


def check_supervision(root, coco):
    images = str(root / "images")
    sets = {
        "coco": sv.DetectionDataset.from_coco(images, str(root / "coco.json"), force_masks=True),
    }
    # These readers look for files in one folder only, so each subfolder is opened.
    for folder in "folder0", "folder1":
        sets[f"yolo {folder}"] = sv.DetectionDataset.from_yolo(f"{images}/{folder}", str(root / f"yolo/labels/{folder}"), str(root / "yolo/data.yaml"))
        sets[f"voc {folder}"] = sv.DetectionDataset.from_pascal_voc(f"{images}/{folder}", str(root / f"voc/Annotations/{folder}"))
    seen = {}
    for name, dataset in sets.items():
        for path, image, found in dataset:
            order = np.lexsort((found.xyxy[:, 1], found.xyxy[:, 0])) if len(found) else []
            boxes = found.xyxy[order] if len(found) else np.zeros((0, 4))
            classes = [dataset.classes[c] for c in found.class_id[order]] if len(found) else []
            seen.setdefault(os.path.relpath(path, images), {})[name.split()[0]] = (boxes, classes)
            if name == "coco" and len(found):
                assert found.mask.shape == (len(found), *image.shape[:2])
    assert len(seen) == COUNT
    for path, by_format in seen.items():
        boxes, classes = by_format["coco"]
        for name, most in ("yolo", 1e-3), ("voc", 1.01):
            other, other_classes = by_format[name]
            assert classes == other_classes, (path, name, classes, other_classes)
            assert np.abs(boxes - other).max(initial=0) < most, (path, name, boxes, other)


def check_fiftyone(root, coco):
    images = root / "images"
    for folder in "yolo/images", "voc/JPEGImages":  # where these formats have them
        shutil.copytree(images, root / folder)
    importers = {
        "coco": fouc.COCODetectionDatasetImporter(data_path=str(images), labels_path=str(root / "coco.json"), label_types="detections"),
        "yolo": fouy.YOLOv5DatasetImporter(dataset_dir=str(root / "yolo"), yaml_path="data.yaml", split="train"),
        "voc": fouv.VOCDetectionDatasetImporter(data_path=str(root / "voc/JPEGImages"), labels_path=str(root / "voc/Annotations")),
    }
    names = {c["id"]: c["name"] for c in coco.cats.values()}
    for format, importer in importers.items():
        seen = 0
        with importer:
            for path, _, found in importer:
                key = path.split("ages/", 1)[1]  # images/ or JPEGImages/
                image = next(i for i in coco.imgs.values() if i["file_name"] == key)
                size = np.array([image["width"], image["height"]] * 2)
                want = sorted((names[a["category_id"]], *a["bbox"]) for a in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])))
                detections = found.detections if found is not None else []
                got = sorted((d.label, *(np.array(d.bounding_box) * size)) for d in detections)
                assert [w[0] for w in want] == [g[0] for g in got], (format, key, want, got)
                # VOC's boxes are whole pixels, and FiftyOne leaves their last one out.
                for w, g in zip(want, got):
                    assert np.abs(np.array(w[1:]) - g[1:]).max() < {"coco": 1e-9, "yolo": 1e-3, "voc": 2.01}[format], (format, key, w, g)
                seen += 1
        assert seen == COUNT, (format, seen)


def main():
    repository = pathlib.Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as temp:
        root = pathlib.Path(temp)
        env = os.environ | {"MUST_PEERS_DIR": temp, "CGO_ENABLED": "0"}
        subprocess.run(["go", "test", "-count=1", "-run=TestWriteForPeers", "./label/export"], cwd=repository, env=env, check=True)
        check_arrays(root)
        coco = check_objects(root)
        check_supervision(root, coco)
        check_fiftyone(root, coco)
    print(f"webdataset {wds.__version__}, pycocotools, supervision {sv.__version__}, FiftyOne {fo.__version__}: {COUNT} images agree in all formats")


main()
