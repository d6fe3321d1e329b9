"""Check what `must export` writes with other programs.

    pip install numpy onnx onnxruntime openvino pillow torch torchvision
    must export student.safetensors --out student.onnx
    python test/peers/export.py bin/must student.onnx PICTURE…
    python test/peers/export.py bin/must

The first form checks a model: onnx's checker and shape inference pass, Python's onnxruntime and OpenVINO give the same
at batches of 1 and 3, and the script beside the model prints the JSON of `must predict`. Pictures are PNG: decoders of
JPEG differ. The second form takes torchvision's ResNet-18 and a small ViT, imports them, exports them with --to torch,
loads that strictly into torchvision's models, and compares their logits with those of the originals.
Not part of make test.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np


def run(*args):
    return subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True).stdout


def runtimes(model, images):
    import onnxruntime
    import openvino

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kind = np.uint8 if "uint8" in session.get_inputs()[0].type else np.float32
    worst = {}
    for n in (1, 3):
        x = images[:n].astype(kind)
        theirs = compiled({"images": x})
        for output, a in zip(session.get_outputs(), session.run(None, {"images": x})):
            b = theirs[output.name]
            assert a.shape == b.shape, (output.name, a.shape, b.shape)
            a, b = a.astype(float), b.astype(float)
            worst[output.name] = max(worst.get(output.name, 0), np.abs(a - b).max() / max(1, np.abs(a).max()))
    for name, value in worst.items():
        print(f"  {name:24} onnxruntime and OpenVINO differ by {value:.1e} of the largest value")
    assert max(worst.values()) < 1e-4, worst


def differences(a, b, at=""):
    if isinstance(a, dict):
        for key in a.keys() | b.keys():
            if key != "file":
                yield from differences(a[key], b[key], f"{at}.{key}") if key in a and key in b else [f"{at}.{key}"]
    elif isinstance(a, list):
        if len(a) != len(b):
            yield f"{at}: {len(a)} and {len(b)}"
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differences(x, y, f"{at}.{i}")
    elif isinstance(a, float):
        if abs(a - b) > 1e-4 * max(1, abs(a)):
            yield f"{at}: {a} and {b}"
    elif a != b:
        yield f"{at}: {a} and {b}"


def check_model(must, model, pictures):
    import onnx

    proto = onnx.load(str(model))
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    print(f"{model}: onnx {onnx.__version__} finds nothing wrong")
    size = proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    blobs = np.random.default_rng(1).integers(0, 256, (3, 3, 8, 8))
    runtimes(model, blobs.repeat(size // 8, 2).repeat(size // 8, 3))
    with tempfile.TemporaryDirectory() as out:
        run(must, "-q", "predict", model.with_suffix(".teacher.yaml"), *pictures, "--threshold", 0.06, "--out", out)
        for picture in pictures:
            ours = json.loads((pathlib.Path(out) / (pathlib.Path(picture).stem + ".json")).read_text())
            theirs = json.loads(run(sys.executable, model.with_suffix(".py"), picture, 0.06))
            faults = list(differences(ours, theirs))
            assert not faults, (picture, faults[:5])
            print(f"  {picture}: the script prints what `must predict` does, {len(ours.get('detection', []))} objects")


def check_torchvision(must):
    import torch
    import torchvision

    torch.manual_seed(1)
    vit = dict(image_size=64, patch_size=16, num_layers=2, num_heads=1, hidden_dim=64, mlp_dim=256, num_classes=3)
    for build in (lambda: torchvision.models.resnet18(num_classes=3), lambda: torchvision.models.VisionTransformer(**vit)):
        original = build().eval()
        if hasattr(original, "heads"):
            torch.nn.init.normal_(original.heads.head.weight)  # zeros would tell nothing
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            torch.save(original.state_dict(), folder / "original.pth")
            (folder / "classes.txt").write_text("a\nb\nc\n")
            run(must, "-q", "import", "--weights", folder / "original.pth", "--classes", folder / "classes.txt", "--size", 64, "--out", folder / "ours.safetensors")
            said = run(must, "-q", "export", folder / "ours.safetensors", "--to", "torch", "--out", folder / "back.pth")
            state = torch.load(folder / "back.pth", weights_only=True, mmap=True)
        back = build().eval()
        back.load_state_dict(state, strict=True)
        x = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(original(x), back(x))
        print(f"{type(original).__name__}: torchvision {torchvision.__version__} loads it strictly, with the same logits")
        print("  " + said.strip().replace("\n", "\n  "))


if len(sys.argv) == 2:
    check_torchvision(sys.argv[1])
else:
    check_model(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:])
