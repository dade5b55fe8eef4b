"""The operators of gru-rcn-ops and PyTorch's on two threads: time and memory, in turns.

    cargo build --release --workspace --example bench_ops --example bench_model
    python tests/peers/ops_bench.py OPS MODEL [--rounds 3] [--seconds 1] [--only NAME,…] [--json]

OPS and MODEL are the programs of the examples. Wants torch, in float32, and Linux.

PyTorch runs in its default layout and channels-last, and the one with the least median counts. The ConvGRU is a cell that
computes the input's convolution of all steps in one call and both gates in one, and, for comparison, the usual public cell,
which convolves input and state together in each step. Both sides have the same weights and inputs, and their results are
compared.

Each measurement is a process of its own that repeats its work for --seconds after one run that is not counted. A row gives the
medians over the rounds, and the ratios of each round's two times with their least and greatest. Processor time is of all
threads, so that other programs on the machine disturb it less. Memory is the peak of the process, of PyTorch what is added to
its import. The floor is the processor time of the usual number of operations (two for each multiplication, as PyTorch counts
them) at the peak of a loop of multiply-adds on registers, measured with as many threads. Winograd's convolutions need fewer
operations and may go below it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _timing import ratio

THREADS = 2
# Read when torch is imported: idle threads sleep, because waiting counts as processor time.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode
except ImportError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(0)

# Title, network, shape of the frames.
NETWORKS = {
    "vgg8": ("convolutions of VGG-16, 8 frames of 224x224", "vgg", (8, 3, 224, 224)),
    "vgg1": ("convolutions of VGG-16, 1 frame of 224x224", "vgg", (1, 3, 224, 224)),
    "squeeze": ("SqueezeNet 1.0, 64 frames of 96x128", "squeeze_net", (64, 3, 96, 128)),
    "eff8": ("EfficientNet-Lite0, 8 frames of 224x224", "efficient_net", (8, 3, 224, 224)),
    "eff1": ("EfficientNet-Lite0, 1 frame of 224x224", "efficient_net", (1, 3, 224, 224)),
}
# Input channels, hidden channels, kernel, height, width, clips, frames, directions.
LEVELS = {
    "pool2": (128, 64, 3, 56, 56, 4, 10, 1),
    "pool3": (256, 128, 3, 28, 28, 4, 10, 1),
    "pool4": (512, 256, 3, 14, 14, 4, 10, 1),
    "pool5": (512, 256, 3, 7, 7, 4, 10, 1),
    "fc7": (4096, 512, 1, 1, 1, 4, 10, 1),
    "ego": (512, 32, 3, 5, 7, 16, 16, 2),
}
# What MODEL does: a training step of the recipe `egogestar`, and a frame of a stream.
MODEL = {
    "step": "training step of egogestar: 16 clips of 16 percepts, both directions, loss, gradients, Adam",
    "stream": "one frame of a stream: SqueezeNet at 96x128, a step of ConvGRU ego, classifier",
}
CASES = [*NETWORKS, *(level + suffix for level in LEVELS for suffix in ("", "-train")), *MODEL]
LAYOUTS = ["default", "channels-last"]


def title(case: str) -> str:
    if case in NETWORKS:
        return NETWORKS[case][0]
    if case in MODEL:
        return MODEL[case]
    level = case.removesuffix("-train")
    channels, hidden, kernel, height, width, clips, frames, directions = LEVELS[level]
    both = ", both directions" if directions == 2 else ""
    what = "forward" if level == case else "forward and backward"
    return f"ConvGRU {level}, {channels} to {hidden}, {kernel}x{kernel} on {height}x{width}, {clips}x{frames}{both}, {what}"


def values(shape, scale: float) -> torch.Tensor:
    """What `values` of the example's timing.rs gives, which repeats after 1013."""
    period = ((torch.arange(1013) * 7919 % 1013).float() / 506 - 1) * scale
    count = torch.Size(shape).numel()
    return period.repeat(-(-count // 1013))[:count].reshape(shape)


# The networks.


def vgg() -> nn.Module:
    layers, channels = [], 3
    for width, count in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class Fire(nn.Module):
    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.narrow, self.wide = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x), inplace=True)
        return torch.cat([F.relu(self.narrow(x), inplace=True), F.relu(self.wide(x), inplace=True)], 1)


def squeeze_net() -> nn.Module:
    layers, channels = [nn.Conv2d(3, 96, 7, 2), nn.ReLU(inplace=True)], 96
    for i, (squeeze, expand) in enumerate((s, 4 * s) for s in [16, 16, 32, 32, 48, 48, 64, 64]):
        if i in (0, 3, 7):
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        layers.append(Fire(channels, squeeze, expand))
        channels = 2 * expand
    return nn.Sequential(*layers)


def same(channels: int, width: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """TensorFlow's padding "same" of an even size."""
    before, after = (kernel - stride) // 2, -(-(kernel - stride) // 2)
    conv = nn.Conv2d(channels, width, kernel, stride, before if before == after else 0, groups=groups)
    pad = [] if before == after else [nn.ZeroPad2d((before, after, before, after))]
    return [*pad, conv, nn.ReLU6(inplace=True)]


class Block(nn.Module):
    def __init__(self, channels: int, width: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inside = channels * expand
        layers = [] if expand == 1 else [nn.Conv2d(channels, inside, 1), nn.ReLU6(inplace=True)]
        layers += [*same(inside, inside, kernel, stride, inside), nn.Conv2d(inside, width, 1)]
        self.layers, self.residual = nn.Sequential(*layers), channels == width and stride == 1

    def forward(self, x):
        return self.layers(x) + x if self.residual else self.layers(x)


def efficient_net() -> nn.Module:
    layers, channels = same(3, 32, 3, 2), 32
    stages = [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4)]
    for expand, kernel, stride, width, count in [*stages, (6, 3, 1, 320, 1)]:
        for i in range(count):
            layers.append(Block(channels, width, kernel, stride if i == 0 else 1, expand))
            channels = width
    layers += [nn.Conv2d(320, 1280, 1), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1280, 1000))


def network(name: str, shape, layout: torch.memory_format, last: int | None = None):
    """`last`: where to cut the network off."""
    model = globals()[name]()[:last].eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = values(module.weight.shape, (6 / module.weight[0].numel()) ** 0.5)
            module.bias.data.fill_(0.01)
        elif isinstance(module, nn.Linear):
            module.weight.data = values(module.weight.shape, 0.1)
            module.bias.data.zero_()
    model, frames = model.to(memory_format=layout), values(shape, 1.0).contiguous(memory_format=layout)
    return lambda: model(frames)


# The ConvGRU.


def conv(x, weight):
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def fused(x, weights, order, h=None):
    to_hidden, to_gates, to_candidate = weights
    hidden, states = to_candidate.shape[0], {}
    projected = conv(x.flatten(0, 1), to_hidden).unflatten(0, x.shape[:2])
    for step in order:
        gates, candidate = projected[step].split([2 * hidden, hidden], 1)
        if h is None:
            h = torch.sigmoid(gates[:, :hidden]) * torch.tanh(candidate)
        else:
            z, r = torch.sigmoid(gates + conv(h, to_gates)).chunk(2, 1)
            candidate = torch.tanh(candidate + conv(r * h, to_candidate))
            h = h + z * (candidate - h)
        states[step] = h
    return torch.stack([states[step] for step in range(len(x))])


def usual(x, weights, order, h=None):
    to_gates, to_candidate = weights
    h, states = x.new_zeros(x.shape[1], to_candidate.shape[0], *x.shape[3:]) if h is None else h, {}
    for step in order:
        z, r = torch.sigmoid(conv(torch.cat([x[step], h], 1), to_gates)).chunk(2, 1)
        candidate = torch.tanh(conv(torch.cat([x[step], r * h], 1), to_candidate))
        h = (1 - z) * h + z * candidate
        states[step] = h
    return torch.stack([states[step] for step in range(len(x))])


def layer_weights(cell, channels: int, hidden: int, kernel: int, layout: torch.memory_format):
    square = (kernel, kernel)
    to_hidden = values((3 * hidden, channels, *square), 0.02)
    to_gates, to_candidate = values((2 * hidden, hidden, *square), 0.02), values((hidden, hidden, *square), 0.02)
    drawn = [to_hidden, to_gates, to_candidate]
    if cell is usual:
        gates, candidate = to_hidden.split([2 * hidden, hidden])
        drawn = [torch.cat([gates, to_gates], 1), torch.cat([candidate, to_candidate], 1)]
    return [weight.contiguous(memory_format=layout) for weight in drawn]


def recurrent(cell, level: str, train: bool, layout: torch.memory_format):
    channels, hidden, kernel, height, width, clips, frames, directions = LEVELS[level]
    x = values((frames * clips, height, width, channels), 1.0).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    x = x.unflatten(0, (frames, clips))
    layers = [layer_weights(cell, channels, hidden, kernel, layout) for _ in range(directions)]
    for weight in sum(layers, []):
        weight.requires_grad_(train)

    def run():
        orders = [range(frames), range(frames - 1, -1, -1)]
        sequences = [cell(x, layer, order) for layer, order in zip(layers, orders)]
        if not train:
            return sequences[-1]
        for weight in sum(layers, []):
            weight.grad = None
        sum(sequence.sum() for sequence in sequences).backward()
        if cell is fused:
            return layers[-1][0].grad
        return torch.cat([weight.grad[:, :channels] for weight in layers[-1]])

    return run


# The model: recurrent layer, average pooling, classifier.


def logits_of(sequences, classifier):
    """From the last hidden map of each direction."""
    (weight, bias), ends = classifier, (-1, 0)
    pooled = [sequence[end].mean((2, 3)) for sequence, end in zip(sequences, ends)]
    return torch.cat(pooled, 1) @ weight + bias


def parameters(cell, directions: int, layout: torch.memory_format):
    """The recurrent weights of each direction and the classifier's, which lie as Burn keeps them."""
    channels, hidden, kernel = LEVELS["ego"][:3]
    layers = [layer_weights(cell, channels, hidden, kernel, layout) for _ in range(directions)]
    classes = 10
    return layers, [values((directions * hidden, classes), 0.02), torch.full((classes,), 0.01)]


def training_step(cell, layout: torch.memory_format):
    channels, _, _, height, width, clips, frames, directions = LEVELS["ego"]
    percepts = values((clips, frames, channels, height, width), 1.0).transpose(0, 1).flatten(0, 1)
    percepts = percepts.contiguous(memory_format=layout).unflatten(0, (frames, clips))
    layers, classifier = parameters(cell, directions, layout)
    weights = [weight.requires_grad_() for weight in [*sum(layers, []), *classifier]]
    optimizer = torch.optim.Adam(weights, lr=1e-3, eps=1e-8)
    targets = torch.arange(clips) % 10
    orders = [range(frames), range(frames - 1, -1, -1)]

    def run():
        x = percepts - percepts.mean(0)
        sequences = [cell(x, layer, order) for layer, order in zip(layers, orders)]
        loss = F.cross_entropy(logits_of(sequences, classifier), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def stream(cell, layout: torch.memory_format):
    cnn = network("squeeze_net", (1, 3, 96, 128), layout, last=-1)
    layers, classifier = parameters(cell, 1, layout)
    hidden = LEVELS["ego"][1]
    state = None

    def run():
        nonlocal state
        sequence = cell(cnn().unsqueeze(0), layers[0], range(1), state)
        state = sequence[-1]
        return logits_of([sequence], classifier)

    return run


# Measuring.


def memory_kib(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field + ":"))


def measure(case: str, variant: str, seconds: float) -> dict:
    """PyTorch in this process. The keys are those of the example, and the number of operations."""
    imported = memory_kib("VmRSS")
    torch.set_num_threads(THREADS)
    cell, layout = variant.split() if " " in variant else (None, variant)
    layout = torch.channels_last if layout == "channels-last" else torch.contiguous_format
    train = case == "step" or case.endswith("-train")
    if case in MODEL:
        work = {"step": training_step, "stream": stream}[case]({"fused": fused, "usual": usual}[cell], layout)
    elif case in NETWORKS:
        work = network(*NETWORKS[case][1:], layout)
    else:
        work = recurrent({"fused": fused, "usual": usual}[cell], case.removesuffix("-train"), train, layout)
    Path("/proc/self/clear_refs").write_text("5")  # The peak is counted from here.
    with torch.inference_mode(not train):
        with FlopCounterMode(display=False) as counter:
            value = work().abs().mean(dtype=torch.float64).item()
        walls, before, began = [], time.process_time(), time.perf_counter()
        while not walls or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            work()
            walls.append((time.perf_counter() - start) * 1e3)
        processor = (time.process_time() - before) * 1e3 / len(walls)
    return {
        "wall_ms": statistics.median(walls),
        "processor_ms": processor,
        "peak_kib": memory_kib("VmHWM") - imported,
        "value": value,
        "gflop": counter.get_total_flops() / 1e9,
    }


def ask(*command) -> dict:
    environment = {**os.environ, "RAYON_NUM_THREADS": str(THREADS)}
    command = [str(word) for word in command]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout)


def compare(programs: list[Path], case: str, rounds: int, seconds: float) -> dict:
    """One row."""
    ops, model = programs
    program = model if case in MODEL else ops
    variants = LAYOUTS if case in NETWORKS else [f"{cell} {layout}" for cell in ("fused", "usual") for layout in LAYOUTS]
    ours, peaks, peers = [], [], {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant, answers in peers.items():
            answers.append(ask(sys.executable, __file__, "--measure", case, variant, "--seconds", seconds))
        ours.append(ask(program, case, "--seconds", seconds))
        peak = ask(ops, "peak", "--seconds", seconds)
        peaks.append(peak["value"] / peak["processor_ms"] * 1e3)
    for variant, answers in peers.items():
        theirs, own = answers[0]["value"], ours[0]["value"]
        assert abs(theirs - own) < 1e-3 * abs(own), f"{case}, {variant}: other results, {theirs} and {own}"

    def column(answers, key):
        return [answer[key] for answer in answers]

    def best(cell, key):
        return min((v for v in variants if v.startswith(cell)), key=lambda v: statistics.median(column(peers[v], key)))

    row = {"workload": f"ops: {title(case)}"}
    for prefix, key in [("", "processor_ms"), ("wall_", "wall_ms")]:
        for label, cell in [("peer", "" if case in NETWORKS else "fused"), ("usual", "usual")]:
            if cell == "usual" and case in NETWORKS:
                continue
            variant = best(cell, key)
            times = column(peers[variant], key)
            ratios = ratio(times, column(ours, key))
            suffix = "" if label == "peer" else "usual_"
            row[f"{prefix}{label}"] = variant
            row[f"{label}_{prefix}ms"] = round(statistics.median(times), 3)
            row.update({f"{suffix}{prefix}{name}": value for name, value in ratios.items()})
        row[f"ours_{prefix}ms"] = round(statistics.median(column(ours, key)), 3)
    row["ours_peak_mib"] = round(statistics.median(column(ours, "peak_kib")) / 1024, 1)
    row["peer_peak_mib"] = round(statistics.median(column(peers[row["peer"]], "peak_kib")) / 1024, 1)
    gflop, peak = peers[variants[0]][0]["gflop"], statistics.median(peaks)
    row["gflop"] = round(gflop, 3)
    row["gflops_a_core"] = round(gflop / row["ours_ms"] * 1e3, 1)
    row["peak_gflops_a_core"] = round(peak, 1)
    row["floor_ms"] = round(gflop / peak * 1e3, 3)
    row["share_of_peak"] = round(row["gflops_a_core"] / peak, 3)
    return row


HEADER = """\
| | wall, ms: PyTorch | ours | ratio | processor, ms: PyTorch | ours | floor | ratio | usual cell | MiB: PyTorch | ours | GFLOP/s a core | of the peak |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def line(row: dict) -> str:
    def times(prefix):
        low, high = row[prefix + "spread"]
        return f"{row[prefix + 'ratio']:.2f} ({low:.2f} to {high:.2f})"

    cells = [row["workload"].removeprefix("ops: ")]
    cells += [f"{row['peer_wall_ms']:.1f} ({row['wall_peer']})", f"{row['ours_wall_ms']:.1f}", times("wall_")]
    cells += [f"{row['peer_ms']:.1f} ({row['peer']})", f"{row['ours_ms']:.1f}", f"{row['floor_ms']:.1f}", times("")]
    cells.append(times("usual_") if "usual" in row else "")
    cells += [f"{row['peer_peak_mib']:.0f}", f"{row['ours_peak_mib']:.0f}"]
    cells += [f"{row['gflops_a_core']:.0f}", f"{100 * row['share_of_peak']:.0f} %"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path, nargs="*", metavar="OPS MODEL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "VARIANT"), help="one measurement of PyTorch in this process")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure, arguments.seconds)))
        return
    if len(arguments.programs) != 2:
        parser.error("the two programs are missing")
    cases = arguments.only.split(",")
    if unknown := set(cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if not arguments.json:
        print(f"PyTorch {torch.__version__}, {THREADS} threads, {arguments.rounds} rounds of {arguments.seconds:g} s\n{HEADER}")
    rows = []
    for case in cases:
        rows.append(compare(arguments.programs, case, arguments.rounds, arguments.seconds))
        if not arguments.json:
            print(line(rows[-1]), flush=True)
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
