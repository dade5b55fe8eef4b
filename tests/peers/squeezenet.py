"""torchvision's SqueezeNet 1.0 with its ImageNet weights, in float64: digests of the tapped maps, the five best classes
and some logits. The weights are read from weights/squeezenet1_0.safetensors in the folder GRU_RCN_TEST_DATA."""

import os
import sys
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file

from _common import blocky_frame, digest, imagenet, save

SEED = 16020736
TAPS = {2: "pool1", 6: "pool4", 11: "pool8", 12: "fire9"}

if __name__ == "__main__":
    folder = os.environ.get("GRU_RCN_TEST_DATA")
    path = Path(folder or "") / "weights/squeezenet1_0.safetensors"
    if not folder or not path.is_file():
        print("skipped: set GRU_RCN_TEST_DATA to the folder of weights/squeezenet1_0.safetensors", file=sys.stderr)
        sys.exit(0)
    model = torchvision.models.squeezenet1_0()
    model.load_state_dict(load_file(path))
    model.double().eval()
    golden = {}
    with torch.no_grad():
        for height, width in [(224, 224), (96, 128)]:
            name = f"{height}x{width}"
            x = imagenet(blocky_frame(SEED, f"frame.{name}", height, width))
            for index, layer in enumerate(model.features):
                x = layer(x)
                if index in TAPS:
                    digest(golden, f"{name}.{TAPS[index]}", x, SEED)
            logits = model.classifier(x).flatten()
            best = logits.topk(5)
            golden |= {f"{name}.best": best.indices, f"{name}.best_logits": best.values}
            digest(golden, f"{name}.logits", logits.reshape(1, -1), SEED)
    save("squeezenet.safetensors", golden, SEED)
