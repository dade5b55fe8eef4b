"""torchvision's VGG-16 at full width on weights drawn by the counter formula of _common.py (the 553 MB of them are not
stored), in float64: digests of the tapped maps, and some logits, for the size it was made for and for a smaller one, where
its adaptive average pooling has something to do."""

import torch
import torchvision

from _common import digest, save, uniform, weights

SEED = 138357544
TAPS = {9: "pool2", 16: "pool3", 23: "pool4", 30: "pool5"}


if __name__ == "__main__":
    with torch.device("meta"):
        model = torchvision.models.vgg16()
    model.load_state_dict(weights(SEED, model), assign=True)
    model.double().eval()
    golden = {}
    with torch.no_grad():
        for height, width in [(224, 224), (96, 128)]:
            name = f"{height}x{width}"
            x = uniform(SEED, f"frame.{name}", (1, 3, height, width), 2.0).double()
            for index, layer in enumerate(model.features):
                x = layer(x)
                if index in TAPS:
                    digest(golden, f"{name}.{TAPS[index]}", x, SEED)
            x = model.avgpool(x).flatten(1)
            # The classifier is Linear, ReLU, Dropout twice, then Linear; fc-7 is after the second ReLU.
            fc7 = model.classifier[:5](x)
            digest(golden, f"{name}.fc7", fc7.reshape(1, -1, 1, 1), SEED)
            golden[f"{name}.logits"] = model.classifier[5:](fc7)[0, :32]
    save("vgg16.safetensors", golden, SEED)
