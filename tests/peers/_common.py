"""What the scripts that write goldens share: numbers that Rust can draw too, and writing the file."""

import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

GOLDENS = Path(__file__).resolve().parent.parent / "goldens"


def fnv1a(key: str) -> int:
    """The 64-bit FNV-1a hash of a name."""
    value = 0xCBF29CE484222325
    for byte in key.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def words(seed: int, key: str, start: int, count: int) -> np.ndarray:
    """Words start..start+count of the SplitMix64 sequence of `seed` and `key`: a function of the counter alone, so that
    both sides draw the same weights without storing them. tests/tests/goldens/counter.rs is its twin."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed ^ fnv1a(key)) + np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(seed: int, key: str, shape, bound: float) -> torch.Tensor:
    """float32 values in (-bound, bound), from the top 24 bits of each word. All steps are exact in float64 up to the last
    product, which both languages round alike."""
    count = int(np.prod(shape))
    values = np.empty(count, dtype=np.float32)
    for start in range(0, count, 1 << 22):
        size = min(1 << 22, count - start)
        top = (words(seed, key, start, size) >> np.uint64(40)).astype(np.float64)
        values[start : start + size] = bound * (top * 2.0**-23 - (1.0 - 2.0**-24))
    return torch.from_numpy(values).reshape(tuple(shape))


def weights(seed: int, model: torch.nn.Module) -> dict:
    """A state dict. He's uniform bound for weights, which keeps the maps' size from layer to layer; biases and running means
    up to 0.1; the factors and variances of batch normalisation between 0.5 and 1.5, from one addition in float32."""
    state = {}
    for key, value in model.state_dict().items():
        middle, bound = 0, 0.1
        if value.dim() == 1 and key.endswith((".weight", ".running_var")):
            middle, bound = 1, 0.5
        elif key.endswith(".weight"):
            bound = math.sqrt(6.0 / math.prod(value.shape[1:]))
        if not key.endswith("num_batches_tracked"):
            state[key] = middle + uniform(seed, key, value.shape, bound)
    return state


def blocky_frame(seed: int, key: str, height: int, width: int) -> torch.Tensor:
    """An 8-bit RGB picture [3, height, width] of blocks of 8x8 equal pixels; integers, so that it is the same anywhere,
    and with edges, so that a CNN has something to see."""
    rows, columns = -(-height // 8), -(-width // 8)
    cells = (words(seed, key, 0, 3 * rows * columns) >> np.uint64(56)).astype(np.uint8).reshape(3, rows, columns)
    picture = cells.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    return torch.from_numpy(np.ascontiguousarray(picture))


def imagenet(picture: torch.Tensor) -> torch.Tensor:
    """torchvision's normalisation, [1, 3, height, width] in float64."""
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(3, 1, 1)
    return ((picture.double() / 255 - mean) / std).unsqueeze(0)


def digest(golden: dict, name: str, value: torch.Tensor, seed: int, samples: int = 64):
    """Puts the shape, mean and RMS of a large tensor into a golden, and a few values with their flat positions."""
    flat = value.detach().reshape(-1).double()
    at = torch.from_numpy((words(seed, name + ".at", 0, samples) % np.uint64(flat.numel())).astype(np.int64))
    golden[name + ".shape"] = torch.tensor(value.shape, dtype=torch.int64)
    golden[name + ".moments"] = torch.stack([flat.mean(), flat.square().mean().sqrt()])
    golden[name + ".at"] = at
    golden[name + ".values"] = flat[at]


def save(name: str, golden: dict, seed: int):
    """Writes a golden: floats as float32, whatever they were computed in."""
    tensors = {
        key: (value.detach().float() if value.is_floating_point() else value).contiguous()
        for key, value in golden.items()
    }
    GOLDENS.mkdir(exist_ok=True)
    path = GOLDENS / name
    save_file(tensors, path, metadata={"torch": torch.__version__, "seed": str(seed)})
    print(f"{path.relative_to(GOLDENS.parent.parent)}: {len(tensors)} tensors, {path.stat().st_size} bytes")
