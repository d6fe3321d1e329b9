"""Writes external.json: what torchvision's and timm's networks compute, and the names and shapes of their weights.

Run as `python testdata/make_external.py` in the package's folder. Weights and images come from the formula of
golden.py by their external names, so that only names and a few outputs are stored.
"""
import pathlib
import sys
from functools import partial

import timm
import torch
import torchvision
from torch import nn
from torchvision.models.detection import MaskRCNN, backbone_utils, faster_rcnn, mask_rcnn, rpn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vision_transformer import interpolate_embeddings

sys.path.append(next(str(p / "torch/goldentest") for p in pathlib.Path(__file__).resolve().parents if (p / "go.mod").exists()))
from golden import load, noise, pin, save, some

pin(torch="2.15.0", torchvision="0.29.2", timm="1.0.31")

IMAGES, SIZE = 2, 64
IMAGENET = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
HALF = [127.5] * 3, [127.5] * 3


def images(mean, std):
    bytes = ((noise("images", IMAGES, 3, SIZE, SIZE) + 1) * 128).floor()
    return (bytes - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)


golden = {}


def add(name, net, normal, outputs, **more):
    load(net).eval()
    with torch.no_grad():
        out = outputs(net, images(*normal))
    golden[name] = {
        "shapes": {k: list(v.shape) for k, v in net.state_dict().items()},
        "outputs": {k: some(v) for k, v in out.items()}, "mean": normal[0], "std": normal[1], **more,
    }


def logits(net, x):
    return {"logits": net(x)}


class Quarter(torchvision.models.ResNet):
    """torchvision's ResNet with a quarter of its channels."""

    def __init__(self, block, layers, **more):
        super().__init__(block, layers, **more)
        self.inplanes = 16
        self.conv1 = nn.Conv2d(3, 16, 7, 2, 3, bias=False)
        self.bn1 = self._norm_layer(16)
        for i, n in enumerate(layers):
            setattr(self, f"layer{i + 1}", self._make_layer(block, 16 << i, n, stride=min(2, i + 1)))
        self.fc = nn.Linear(128 * block.expansion, self.fc.out_features)


add("resnet18", Quarter(BasicBlock, [2, 2, 2, 2], num_classes=10), IMAGENET, logits, depth=18)
add("resnet50", Quarter(Bottleneck, [3, 4, 6, 3], num_classes=10), IMAGENET, logits, depth=50)


def vit(size):
    return torchvision.models.VisionTransformer(size, 8, 3, 4, 32, 128, num_classes=10)


add("vit", vit(64), IMAGENET, logits, grid=8)


def larger(net, x):
    state = interpolate_embeddings(SIZE, 8, net.state_dict())
    net = vit(SIZE).eval()
    net.load_state_dict(state)
    return {"logits": net(x), "positions": net.encoder.pos_embedding}


add("vit, larger", vit(32), IMAGENET, larger, grid=8)
add("timm vit", timm.models.VisionTransformer(64, 8, embed_dim=32, depth=3, num_heads=4, num_classes=10), HALF, logits, grid=8)
bit = timm.models.ResNetV2(
    (3, 4, 6, 3), stem_type="fixed", width_factor=0.25, num_classes=10, conv_layer=timm.layers.StdConv2d,
    # A group of one channel has no variance on one pixel.
    norm_layer=lambda c, **more: timm.layers.GroupNormAct(c, num_groups=min(32, c // 2), **more))
for layer in bit.modules():
    if isinstance(layer, timm.layers.StdConv2d):
        layer.eps = 1e-8  # as in resnetv2_50x1_bit
add("timm bit", bit, HALF, logits, depth=50)

# Close relatives: what model.Variant declares, and what is multiplied into other weights.
add("resnext", Quarter(Bottleneck, [3, 4, 6, 3], num_classes=10, groups=4, width_per_group=32), IMAGENET, logits, depth=50)
add("timm seresnet18d", timm.models.ResNet(
    timm.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=10, channels=(16, 32, 64, 128), stem_width=8, stem_type="deep",
    avg_down=True, block_args={"attn_layer": "se"}), IMAGENET, logits, depth=18)
add("timm vit of CLIP", timm.models.VisionTransformer(
    64, 8, embed_dim=32, depth=3, num_heads=4, num_classes=10, pre_norm=True, norm_layer=partial(nn.LayerNorm, eps=1e-5),
    qk_norm=True, mlp_ratio=2), HALF, logits, grid=8)
add("timm vit of means", timm.models.VisionTransformer(
    64, 8, embed_dim=32, depth=3, num_heads=4, num_classes=10, global_pool="avg", init_values=0.1, qkv_bias=False,
    no_embed_class=True), HALF, logits, grid=8)

# Mask R-CNN as maskrcnn_resnet50_fpn and its second version build it, on a narrow ResNet-18 and of narrow heads.
WIDTH, FC, CLASSES = 16, 32, 5


def mask_rcnn_net(second):
    norm = nn.BatchNorm2d if second else None
    body = Quarter(BasicBlock, [2, 2, 2, 2], norm_layer=nn.BatchNorm2d if second else torchvision.ops.FrozenBatchNorm2d)
    backbone = backbone_utils.BackboneWithFPN(
        body, {f"layer{i + 1}": str(i) for i in range(4)}, [16, 32, 64, 128], WIDTH, norm_layer=norm)
    if second:
        box = faster_rcnn.FastRCNNConvFCHead((WIDTH, 7, 7), [WIDTH] * 4, [FC], norm_layer=norm)
    else:
        box = faster_rcnn.TwoMLPHead(WIDTH * 49, FC)
    return MaskRCNN(
        backbone, rpn_head=rpn.RPNHead(WIDTH, 3, conv_depth=2 if second else 1),
        box_head=box, box_predictor=faster_rcnn.FastRCNNPredictor(FC, CLASSES),
        mask_head=mask_rcnn.MaskRCNNHeads(WIDTH, [WIDTH] * 4, 1, norm_layer=norm),
        mask_predictor=mask_rcnn.MaskRCNNPredictor(WIDTH, WIDTH, CLASSES))


def detector(second):
    def outputs(net, x):
        p = net.backbone(x)
        objectness, deltas = net.rpn.head([p["1"]])
        out = {f"P{int(k) + 2}": v for k, v in p.items() if k != "pool"}
        # This network numbers anchors as [N, H, W, A].
        out["objectness"] = objectness[0].permute(0, 2, 3, 1)
        out["deltas"] = deltas[0].reshape(IMAGES, 3, 4, SIZE // 8, SIZE // 8).permute(0, 3, 4, 1, 2)
        out["masks"] = net.roi_heads.mask_predictor(net.roi_heads.mask_head(noise("regions for masks", 2, WIDTH, 14, 14)))[:, 1:]
        if second:
            head = net.roi_heads.box_head(noise("regions for boxes", 2, WIDTH, 7, 7))
            out["classes"], out["boxes"] = net.roi_heads.box_predictor(head)
        return out

    return outputs


add("mask r-cnn", mask_rcnn_net(False), IMAGENET, detector(False), depth=18)
add("mask r-cnn v2", mask_rcnn_net(True), IMAGENET, detector(True), depth=18)

save(golden, "testdata/external.json")
