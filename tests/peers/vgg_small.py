"""A small network of VGG's plan in torchvision's key layout, saved as torchvision's own weight files are (`torch.save` of
a state dict), in single and in half precision, with its maps for one frame."""

import torch
from torch import nn
from torchvision.models.vgg import make_layers

from _common import GOLDENS, save

SEED = 14091556


class Small(nn.Module):
    """torchvision's VGG class has its widths built in; this has the same three parts with others."""

    def __init__(self):
        super().__init__()
        self.features = make_layers([4, 4, "M", 8, "M", 12, "M"])
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(
            nn.Linear(12 * 4, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5)
        )


def maps(model: Small, frame: torch.Tensor) -> dict:
    """Maps after every maximum, fc-7 and the logits. A frame of 20x28 leaves 2x3 cells, averaged to 2x2."""
    found, x = {}, frame
    for layer in model.features:
        x = layer(x)
        if isinstance(layer, nn.MaxPool2d):
            found[f"pool{len(found) + 1}"] = x
    fc7 = model.classifier[:5](model.avgpool(x).flatten(1))
    return found | {"fc7": fc7.reshape(1, -1, 1, 1), "logits": model.classifier[5:](fc7)}


if __name__ == "__main__":
    torch.manual_seed(SEED)
    model = Small().eval()
    for p in model.parameters():
        # Biases large enough to matter, values that half precision holds exactly enough to be told from others.
        nn.init.normal_(p, std=0.3)
    frame = torch.randn(1, 3, 20, 28)
    GOLDENS.mkdir(exist_ok=True)
    torch.save(model.state_dict(), GOLDENS / "vgg_small.pth")
    half = {key: value.half() for key, value in model.state_dict().items()}
    torch.save(half, GOLDENS / "vgg_small_half.pth")
    golden = {"frame": frame}
    with torch.no_grad():
        golden |= {f"single.{key}": value for key, value in maps(model.double(), frame.double()).items()}
        model.load_state_dict({key: value.double() for key, value in half.items()})
        golden |= {f"half.{key}": value for key, value in maps(model, frame.double()).items()}
    save("vgg_small.safetensors", golden, SEED)
