"""The systems that the paper compares with, at small widths, written from their papers and prototxt files with torch's own
layers (`nn.LSTM` where the equations are its own). Weights and inputs are drawn by a formula that the Rust side knows too,
so that only logits, losses and all gradients are stored.

Parameters have the names of the Rust modules. Linear layers are `[in, out]`, LSTMs fused `[in, 4 hidden]` in the order
input gate, forget gate, candidate, output gate.
"""

import torch
import torch.nn.functional as F

from _common import save, uniform

SEED = 14062199
CLASSES = 5
BATCH = 2


class Weights:
    """Draws each parameter when it is first asked for."""

    def __init__(self, system: str):
        self.system, self.leaves = system, {}

    def __call__(self, name: str, *shape: int) -> torch.Tensor:
        if name not in self.leaves:
            fan_in = 1 if len(shape) == 1 else shape[0] if len(shape) == 2 else int(torch.tensor(shape[1:]).prod())
            bound = 0.1 if len(shape) == 1 else (6 / fan_in) ** 0.5
            drawn = uniform(SEED, f"{self.system}.{name}", shape, bound).double()
            self.leaves[name] = drawn.requires_grad_()
        assert self.leaves[name].shape == shape
        return self.leaves[name]

    def linear(self, name: str, x: torch.Tensor, outputs: int) -> torch.Tensor:
        return x @ self(f"{name}.weight", x.shape[-1], outputs) + self(f"{name}.bias", outputs)

    def conv(self, name: str, x: torch.Tensor, channels: int, kernel: int, groups: int = 1, **options) -> torch.Tensor:
        weight = self(f"{name}.weight", channels, x.shape[1] // groups, kernel, kernel)
        return F.conv2d(x, weight, self(f"{name}.bias", channels), groups=groups, **options)


def caffe_pool(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def clip(system: str, *shape: int) -> torch.Tensor:
    return uniform(SEED, f"{system}.clip", (BATCH, *shape), 1.0).double()


def steps(logits: torch.Tensor) -> torch.Tensor:
    """[batch, time, class] to [time, batch, class]."""
    return logits.transpose(0, 1)


def two_stream(w: Weights, clip: torch.Tensor, norm2: bool) -> torch.Tensor:
    batch, time = clip.shape[:2]

    def norm(x):
        return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)

    x = clip.flatten(0, 1)
    x = caffe_pool(norm(F.relu(w.conv("features.convs.0", x, 6, 7, stride=2))))
    x = F.relu(w.conv("features.convs.1", x, 8, 5, stride=2, padding=1))
    x = caffe_pool(norm(x) if norm2 else x)
    for layer, channels in [(2, 7), (3, 6), (4, 8)]:
        x = F.relu(w.conv(f"features.convs.{layer}", x, channels, 3, padding=1))
    x = caffe_pool(x).flatten(1)
    x = F.relu(w.linear("full6", x, 12))
    x = F.relu(w.linear("full7", x, 10))
    return steps(w.linear("full8", x, CLASSES).reshape(batch, time, CLASSES))


def torch_lstm(w: Weights, name: str, x: torch.Tensor, hidden: int) -> torch.Tensor:
    """torch's LSTM with our weights: transposed, its second bias zero."""
    fused = {
        "weight_ih_l0": w(f"{name}.input", x.shape[-1], 4 * hidden).T,
        "weight_hh_l0": w(f"{name}.recurrent", hidden, 4 * hidden).T,
        "bias_ih_l0": w(f"{name}.bias", 4 * hidden),
        "bias_hh_l0": torch.zeros(4 * hidden, dtype=torch.float64),
    }
    layer = torch.nn.LSTM(x.shape[-1], hidden, batch_first=True).double()
    return torch.func.functional_call(layer, fused, (x,))[0]


def lrcn(w: Weights, clip: torch.Tensor) -> torch.Tensor:
    batch, time = clip.shape[:2]

    def norm(x):
        return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    x = clip.flatten(0, 1)
    x = norm(caffe_pool(F.relu(w.conv("features.convs.0", x, 6, 7, stride=2))))
    x = norm(caffe_pool(F.relu(w.conv("features.convs.1", x, 8, 5, groups=2, stride=2))))
    x = F.relu(w.conv("features.convs.2", x, 10, 3, padding=1))
    x = F.relu(w.conv("features.convs.3", x, 8, 3, groups=2, padding=1))
    x = F.relu(w.conv("features.convs.4", x, 6, 3, groups=2, padding=1))
    x = F.relu(w.linear("fc6", caffe_pool(x).flatten(1), 12)).reshape(batch, time, 12)
    return steps(w.linear("fc8", torch_lstm(w, "lstm", x, 7), CLASSES))


def same(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Zeros that leave ceil(side / stride) cells, the larger half below and to the right."""
    pads = []
    for side in (x.shape[3], x.shape[2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def karpathy(w: Weights, clip: torch.Tensor, fusion: str) -> torch.Tensor:
    def norm(x):
        return F.local_response_norm(x, 5, alpha=5e-4, beta=0.5, k=2.0)

    def conv(name, x, channels, kernel, stride=1):
        return F.relu(w.conv(f"stages.{name}", same(x, kernel, stride), channels, kernel, stride=stride))

    def one(x):
        return F.max_pool2d(norm(conv("0.convs.0", x, 6, 11, 3)), 2)

    def two(x):
        return F.max_pool2d(norm(conv("1.convs.0", x, 7, 5)), 2)

    def three(x):
        x = conv("2.convs.1", conv("2.convs.0", x, 8, 3), 6, 3)
        return F.max_pool2d(conv("2.convs.2", x, 5, 3), 2)

    if fusion == "single":
        maps = [three(two(one(frame))).flatten(1) for frame in clip.unbind(1)]
    elif fusion == "early":
        maps = [three(two(one(torch.cat(clip.unbind(1), 1)))).flatten(1)]
    elif fusion == "late":
        maps = [torch.cat([three(two(one(frame))).flatten(1) for frame in (clip[:, 0], clip[:, -1])], 1)]
    else:
        low = [one(torch.cat([clip[:, t + n] for n in range(4)], 1)) for t in (0, 2, 4, 6)]
        middle = [two(torch.cat(pair, 1)) for pair in (low[:2], low[2:])]
        maps = [three(torch.cat(middle, 1)).flatten(1)]
    logits = []
    for x in maps:
        x = F.relu(w.linear("fc6", x, 12))
        x = F.relu(w.linear("fc7", x, 12))
        logits.append(w.linear("fc8", x, CLASSES))
    return torch.stack(logits)


def c3d(w: Weights, clip: torch.Tensor) -> torch.Tensor:
    x = clip.transpose(1, 2)
    layer = 0
    for stage, widths in enumerate([(4,), (5,), (6, 5), (6, 7), (5, 6)]):
        for channels in widths:
            weight = w(f"convs.{layer}.weight", channels, x.shape[1], 3, 3, 3)
            x = F.relu(F.conv3d(x, weight, w(f"convs.{layer}.bias", channels), padding=1))
            layer += 1
        window = (1 if stage == 0 else 2, 2, 2)
        x = F.max_pool3d(x, window, window, ceil_mode=True)
    x = F.relu(w.linear("fc6", x.flatten(1), 12))
    x = F.relu(w.linear("fc7", x, 12))
    return w.linear("fc8", x, CLASSES).unsqueeze(0)


WINDOW, STRIDE = 4, 3


def pooling(w: Weights, maps: torch.Tensor, kind: str) -> torch.Tensor:
    """Percepts [batch, time, channel, height, width]."""

    def fc(name, x):
        return F.relu(w.linear(name, x, 9))

    def windows(x):
        return x.unfold(1, WINDOW, STRIDE).amax(-1)

    flat = maps.flatten(2)
    if kind == "late":
        x = fc("fc2", fc("fc1", flat)).amax(1)
    elif kind == "slow":
        x = fc("fc2", fc("fc1", windows(flat)).amax(1))
    elif kind == "local":
        x = fc("fc2", fc("fc1", windows(flat))).flatten(1)
    else:
        weight = w("convolution.weight", 6, maps.shape[2], WINDOW, 3, 3)
        bias = w("convolution.bias", 6)
        x = F.relu(F.conv3d(maps.transpose(1, 2), weight, bias, stride=(STRIDE, 1, 1), padding=(0, 1, 1)))
        x = fc("fc2", fc("fc1", x.amax(2).flatten(1)))
    return w.linear("classifier", x, CLASSES).unsqueeze(0)


def cell(w: Weights, name: str, x, h, c):
    """An LSTM with peepholes; no input and no state are left out."""
    hidden = h.shape[1]
    gates = w(f"{name}.bias", 4 * hidden) + h @ w(f"{name}.recurrent", hidden, 4 * hidden)
    if x is not None:
        gates = gates + x @ w(f"{name}.input", x.shape[1], 4 * hidden)
    i, f, a, o = gates.split(hidden, 1)
    w_i, w_f, w_o = w(f"{name}.peepholes", 3, hidden)
    i, f = torch.sigmoid(i + w_i * c), torch.sigmoid(f + w_f * c)
    c = f * c + i * torch.tanh(a)
    return torch.sigmoid(o + w_o * c) * torch.tanh(c), c


def tower(w: Weights, name: str, x, states):
    for layer, (h, c) in enumerate(states):
        h, c = cell(w, f"{name}.{layer}", x, h, c)
        states[layer], x = (h, c), h
    return x


def zero_states(layers: int, hidden: int):
    return [(torch.zeros(BATCH, hidden, dtype=torch.float64),) * 2 for _ in range(layers)]


def lstm_stack(w: Weights, maps: torch.Tensor) -> torch.Tensor:
    x = maps.mean((3, 4))
    for layer in range(3):
        x = torch_lstm(w, f"layers.{layer}", x, 6)
    return steps(w.linear("classifier", x, CLASSES))


def lstm_classifier(w: Weights, maps: torch.Tensor) -> torch.Tensor:
    states = zero_states(2, 6)
    logits = [w.linear("classifier", tower(w, "layers", x, states), CLASSES) for x in maps.mean((3, 4)).unbind(1)]
    return torch.stack(logits)


def composite(w: Weights, past: torch.Tensor, future: torch.Tensor, conditional: bool):
    hidden, size = 6, past.shape[2]
    states = zero_states(2, hidden)
    for x in past.unbind(1):
        tower(w, "encoder", x, states)

    def decode(name, targets):
        own, outputs = list(states), []
        for t in range(targets.shape[1]):
            x = targets[:, t - 1] if conditional and t > 0 else None
            outputs.append(w.linear(f"{name}.output", tower(w, f"{name}.layers", x, own), size))
        return torch.stack(outputs, 1)

    backwards = past.flip(1)
    reconstruction, prediction = decode("reconstruction", backwards), decode("prediction", future)
    loss = ((reconstruction - backwards) ** 2).sum() / 2 + ((prediction - future) ** 2).sum() / 2
    return reconstruction, prediction, loss / BATCH


def gradients(golden: dict, w: Weights, loss: torch.Tensor):
    loss.backward()
    golden[f"{w.system}.loss"] = loss.reshape(1)
    for name, value in w.leaves.items():
        golden[f"{w.system}.grad.{name}"] = value.grad


def classifier(golden: dict, system: str, network, shape, gains=None, **options):
    """Loss: the mean over time steps, weighted by their gains, of the cross-entropies."""
    w = Weights(system)
    logits = network(w, clip(system, *shape), **options)
    target = torch.arange(BATCH) % CLASSES
    each = torch.stack([F.cross_entropy(step, target) for step in logits])
    gains = torch.ones(len(each), dtype=torch.float64) if gains is None else gains
    gains = gains / gains.sum()
    golden[f"{system}.logits"] = logits
    golden[f"{system}.probabilities"] = (gains.reshape(-1, 1, 1) * logits.softmax(2)).sum(0)
    gradients(golden, w, (gains * each).sum())


if __name__ == "__main__":
    golden = {}
    classifier(golden, "spatial", two_stream, (2, 3, 99, 75), norm2=True)
    classifier(golden, "temporal", two_stream, (2, 20, 99, 75), norm2=False)
    classifier(golden, "lrcn", lrcn, (3, 3, 83, 99))
    for fusion, frames in [("single", 2), ("early", 3), ("late", 4), ("slow", 10)]:
        classifier(golden, fusion, karpathy, (frames, 3, 40, 52), fusion=fusion)
    classifier(golden, "c3d", c3d, (5, 3, 36, 22))
    for kind in ["late", "slow", "local", "convolution"]:
        classifier(golden, f"{kind}_pooling", pooling, (10, 4, 3, 2), kind=kind)
    classifier(golden, "lstm_stack", lstm_stack, (4, 5, 2, 2), gains=torch.arange(1.0, 5.0).double())
    classifier(golden, "lstm_classifier", lstm_classifier, (4, 5, 2, 2))
    for system, conditional in [("conditional", True), ("unconditional", False)]:
        w = Weights(system)
        sequence = clip(system, 7, 5)
        reconstruction, prediction, loss = composite(w, sequence[:, :4], sequence[:, 4:], conditional)
        golden[f"{system}.reconstruction"], golden[f"{system}.prediction"] = reconstruction, prediction
        gradients(golden, w, loss)
    save("baselines.safetensors", golden, SEED)
