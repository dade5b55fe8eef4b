"""timm's EfficientNet-Lite0 with its ImageNet weights, in float64: digests of the tapped maps, the five best classes and
some logits. The weights are read from weights/efficientnet_lite0.safetensors in the folder GRU_RCN_TEST_DATA."""

import os
import sys
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import nn

from _common import blocky_frame, digest, save

SEED = 19051946
# Blocks end in these stages, counted from 1 in the paper, from 0 in timm.
TAPS = {1: "stage2", 2: "stage3", 4: "stage5", 6: "stage7"}


def load(model, tensors):
    """Copies the weights in order: both sides list stem, blocks and head alike, but name and nest them differently."""

    def position(key):
        parts = key.split(".")
        if parts[0] == "_blocks":
            part = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"].index(parts[2])
            return (1, int(parts[1]), part)
        return {"_conv_stem": (0, 0, 0), "_bn0": (0, 0, 1), "_conv_head": (2, 0, 0), "_bn1": (2, 0, 1), "_fc": (2, 0, 2)}[parts[0]]

    prefixes = sorted({key.rsplit(".", 1)[0] for key in tensors}, key=position)
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]
    assert len(layers) == len(prefixes), f"{len(layers)} layers, {len(prefixes)} in the file"
    used = 0
    for layer, prefix in zip(layers, prefixes):
        state = {key.rsplit(".", 1)[1]: value for key, value in tensors.items() if key.rsplit(".", 1)[0] == prefix}
        used += len(state)
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.eps == 1e-3, layer
            state["num_batches_tracked"] = torch.tensor(0)
        layer.load_state_dict(state)
    assert used == len(tensors)


if __name__ == "__main__":
    folder = os.environ.get("GRU_RCN_TEST_DATA")
    path = Path(folder or "") / "weights/efficientnet_lite0.safetensors"
    if not folder or not path.is_file():
        print("skipped: set GRU_RCN_TEST_DATA to the folder of weights/efficientnet_lite0.safetensors", file=sys.stderr)
        sys.exit(0)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    load(model, load_file(path))
    model.double().eval()
    golden = {}
    with torch.no_grad():
        for height, width in [(224, 224), (96, 128), (63, 47)]:
            name = f"{height}x{width}"
            x = (blocky_frame(SEED, f"frame.{name}", height, width).double() - 127).unsqueeze(0) / 128
            x = model.bn1(model.conv_stem(x))
            for index, stage in enumerate(model.blocks):
                x = stage(x)
                if index in TAPS:
                    digest(golden, f"{name}.{TAPS[index]}", x, SEED)
            logits = model.forward_head(model.bn2(model.conv_head(x))).flatten()
            best = logits.topk(5)
            golden |= {f"{name}.best": best.indices, f"{name}.best_logits": best.values}
            digest(golden, f"{name}.logits", logits.reshape(1, -1), SEED)
    save("efficientnet.safetensors", golden, SEED)
