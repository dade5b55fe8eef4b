"""GRU-RCN over three levels in its three forms, with its classifiers and losses, time outermost as the paper writes it,
in float64. Level 3 has maps of 1x1 cells."""

import torch
import torch.nn.functional as F

from _common import save

SEED = 1511064
BATCH, TIME, CLASSES = 2, 4, 7
# Channels, height and width of the percepts. From 9x6 to 4x3 the maximum is over 3x2 cells every 2x2, from 4x3 to 1x1
# over all of them.
LEVELS = [(3, 9, 6), (4, 4, 3), (5, 1, 1)]
HIDDEN = [4, 3, 5]
POOLS = [None, dict(kernel_size=(3, 2), stride=2), dict(kernel_size=(4, 3), stride=1)]


def draw(generator, *shape, scale=0.5):
    return (scale * torch.randn(*shape, generator=generator)).float().double()


def cell(generator, level: int, below: int | None) -> dict:
    kernel, (channels, _, _), hidden = 1 if level == 2 else 3, LEVELS[level], HIDDEN[level]
    p = {w: draw(generator, hidden, channels, kernel, kernel) for w in ["W_z", "W_r", "W"]}
    p |= {u: draw(generator, hidden, hidden, kernel, kernel) for u in ["U_z", "U_r", "U"]}
    if below is not None:
        p |= {w: draw(generator, hidden, below, kernel, kernel) for w in ["W_zl", "W_rl"]}
    return p


def step(p: dict, x, h, below=None):
    """Equations 5 to 8; with `below`, the pooled hidden map of the level under this one, equations 9 to 12."""

    def conv(name, value):
        return F.conv2d(value, p[name], padding=p[name].shape[-1] // 2)

    z, r = conv("W_z", x) + conv("U_z", h), conv("W_r", x) + conv("U_r", h)
    if below is not None:
        z, r = z + conv("W_zl", below), r + conv("W_rl", below)
    z, r = torch.sigmoid(z), torch.sigmoid(r)
    candidate = torch.tanh(conv("W", x) + conv("U", r * h))
    return (1 - z) * h + z * candidate


def run(cells, xs, stacked: bool) -> list:
    """Hidden maps of all levels after every step: for each step, for each level upwards."""
    h = [torch.zeros(BATCH, hidden, *level[1:], dtype=torch.float64) for hidden, level in zip(HIDDEN, LEVELS)]
    history = []
    for t in range(TIME):
        for level, p in enumerate(cells):
            below = F.max_pool2d(h[level - 1], **POOLS[level]) if stacked and level > 0 else None
            h[level] = step(p, xs[level][:, t], h[level], below)
        history.append(list(h))
    return history


def classify(heads, maps):
    """Per level: mean over cells, linear, softmax."""
    return torch.stack([F.softmax(m.mean((2, 3)) @ p["V"].T + p["c"], 1) for p, m in zip(heads, maps)])


def form(golden: dict, name: str, generator, xs, target):
    stacked, both = name == "stacked", name == "bidirectional"
    cells = [cell(generator, level, HIDDEN[level - 1] if stacked and level > 0 else None) for level in range(3)]
    back = [cell(generator, level, None) for level in range(3)] if both else []
    sizes = [2 * n if both else n for n in HIDDEN]
    heads = [{"V": draw(generator, CLASSES, n), "c": draw(generator, CLASSES)} for n in sizes]
    leaves = {f"{level}.{key}": value for level, p in enumerate(cells) for key, value in p.items()}
    leaves |= {f"{level}.back.{key}": value for level, p in enumerate(back) for key, value in p.items()}
    leaves |= {f"{level}.{key}": value for level, p in enumerate(heads) for key, value in p.items()}
    for key, value in leaves.items():
        golden[f"{name}.{key}"] = value.detach().clone()
    leaves |= {f"{level}.x": value for level, value in enumerate(xs)}

    weights = torch.arange(5, 5 + 3 * CLASSES, 3, dtype=torch.float64) / 10
    for kind in ["mixture", "per_head", "mixture_weighted", "per_head_weighted"]:
        for value in leaves.values():
            value.grad = None
            value.requires_grad_()
        history = run(cells, xs, stacked)
        last = history[-1]
        if both:
            backward = run(back, [x.flip(1) for x in xs], False)[-1]
            last = [torch.cat(pair, 1) for pair in zip(last, backward)]
        levels = classify(heads, last)
        mean = levels.mean(0)
        at_target = torch.arange(BATCH), target
        losses = {"mixture": -mean[at_target].log().mean(), "per_head": -levels[:, *at_target].log().mean()}
        weighted = [F.nll_loss(p.log(), target, weights, reduction="sum") / BATCH for p in [mean, *levels]]
        losses |= {"mixture_weighted": weighted[0], "per_head_weighted": sum(weighted[1:]) / len(levels)}
        losses[kind].backward()
        for key, value in leaves.items():
            golden[f"{name}.{kind}.grad.{key}"] = value.grad.clone()
    for level, value in enumerate(last):
        golden[f"{name}.{level}.last"] = value
    golden |= {f"{name}.{kind}.loss": loss.reshape(1) for kind, loss in losses.items()}
    golden[f"{name}.probabilities"] = mean
    if not both:
        golden[f"{name}.stream"] = torch.stack([classify(heads, maps).mean(0) for maps in history])


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(SEED)
    xs = [draw(generator, BATCH, TIME, *level, scale=1.0) for level in LEVELS]
    target = torch.tensor([2, 6])
    golden = {f"x.{level}": x.clone() for level, x in enumerate(xs)} | {"target": target}
    for name in ["independent", "stacked", "bidirectional"]:
        form(golden, name, generator, xs, target)
    save("gru_rcn.safetensors", golden, SEED)
