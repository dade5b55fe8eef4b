"""Freshly drawn weights of torchvision's VGG-16 or SqueezeNet 1.0 as a .safetensors file: no substitute for pretrained ones,
but of the same keys, shapes and bytes, to try both stages of training and to measure time and memory without a download.

    python initial_weights.py vgg16 vgg16-initial.safetensors
"""

import argparse

import torch
import torchvision
from safetensors.torch import save_file

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["vgg16", "squeezenet1_0"])
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    model = getattr(torchvision.models, arguments.network)(weights=None)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, arguments.out, {"format": "pt"})
