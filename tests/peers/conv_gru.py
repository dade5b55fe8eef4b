"""The convolutional GRU, equations 5 to 8 of the paper, gate by gate and step by step, in float64."""

import torch
import torch.nn.functional as F

from _common import save

SEED = 20160301
BATCH, TIME, INPUT, HIDDEN, HEIGHT, WIDTH = 2, 4, 3, 4, 5, 6


def step(p: dict, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    def conv(name: str, value: torch.Tensor) -> torch.Tensor:
        return F.conv2d(value, p[name], padding=p[name].shape[-1] // 2)

    def bias(name: str):
        return p[name].reshape(1, -1, 1, 1) if name in p else 0

    z = torch.sigmoid(conv("W_z", x) + conv("U_z", h) + bias("b_z"))
    r = torch.sigmoid(conv("W_r", x) + conv("U_r", h) + bias("b_r"))
    candidate = torch.tanh(conv("W", x) + conv("U", r * h) + bias("b"))
    return (1 - z) * h + z * candidate


def draw(generator: torch.Generator, *shape: int, scale: float = 0.5) -> torch.Tensor:
    """float32 values, so that Rust starts from the same numbers; the arithmetic is float64."""
    return (scale * torch.randn(*shape, generator=generator)).float().double().requires_grad_()


def case(golden: dict, name: str, generator: torch.Generator, kernel: int, bias: bool, state: bool, size):
    """One cell over one clip; the loss is the sum of all hidden maps times fixed weights."""
    height, width = size
    p = {w: draw(generator, HIDDEN, INPUT, kernel, kernel) for w in ["W_z", "W_r", "W"]}
    p |= {u: draw(generator, HIDDEN, HIDDEN, kernel, kernel) for u in ["U_z", "U_r", "U"]}
    if bias:
        p |= {b: draw(generator, HIDDEN) for b in ["b_z", "b_r", "b"]}
    x = draw(generator, BATCH, TIME, INPUT, height, width, scale=1.0)
    inputs = p | {"x": x}
    h = torch.zeros(BATCH, HIDDEN, height, width, dtype=torch.float64)
    if state:
        h = draw(generator, BATCH, HIDDEN, height, width)
        inputs["h0"] = h
    states = []
    for t in range(TIME):
        h = step(p, x[:, t], h)
        states.append(h)
    sequence = torch.stack(states, 1)
    weights = draw(generator, *sequence.shape, scale=1.0).detach()
    (sequence * weights).sum().backward()
    for key, value in inputs.items():
        golden[f"{name}.{key}"] = value
        golden[f"{name}.grad.{key}"] = value.grad
    golden |= {f"{name}.sequence": sequence, f"{name}.loss_weights": weights}


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(SEED)
    golden = {}
    case(golden, "plain", generator, kernel=3, bias=False, state=False, size=(HEIGHT, WIDTH))
    case(golden, "bias", generator, kernel=3, bias=True, state=True, size=(HEIGHT, WIDTH))
    case(golden, "vector", generator, kernel=1, bias=True, state=False, size=(1, 1))
    save("conv_gru.safetensors", golden, SEED)
