"""VGG-16 and the paper's GRU-RCN on a GPU: this project's model and PyTorch's, speed, in turns.

    cargo build --release -p gru-rcn-trainer --example bench_device --features cuda
    python tests/peers/device_bench.py PROGRAM [--rounds 10] [--limit 100] [--only NAME:TYPE,…] [--out FILE] [--cpu]

PROGRAM is the example's program. Wants torch and, unless --cpu is given, a GPU. tests/device/run.sh runs it on a machine
that has no Cargo.

PyTorch computes channels-last. In float32 its convolutions may use TF32, as is its default, and as Burn's may. In bfloat16
both sides keep float32 weights and cast them in each call. A workload that outlasts --limit seconds is stopped and named.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    print("skipped: no torch", file=sys.stderr)
    sys.exit(0)

# Kernels are kept; what is compiled and which candidate is chosen are written down.
CONFIG = """
[compilation]
cache = true
logger = { level = "basic", file = "compiled.log" }
[autotune]
logger = { level = "minimal", file = "tuned.log" }
"""
STAGES = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]
# Channels, side of the map, hidden channels.
LEVELS = {"pool2": (128, 56, 64), "pool3": (256, 28, 128), "pool4": (512, 14, 256), "pool5": (512, 7, 256), "fc7": (4096, 1, 512)}
# Name, type, clips, frames a clip. A level is measured forward, then with its gradients ("pool2-train"); the recognizer
# plain, then recorded and replayed ("recognizer-graph").
WORKLOADS = [
    ("cnn", "bf16", 1, 64),
    ("recognizer", "f32", 1, 10),
    *((level, "f32", 64, 10) for level in LEVELS),
    *((level, "bf16", 64, 10) for level in LEVELS),
    ("cnn", "f32", 1, 64),
    ("recognizer", "bf16", 1, 10),
    ("cnn-train", "bf16", 1, 32),
    ("cnn-train", "f32", 1, 32),
]


class Vgg(torch.nn.Module):
    def __init__(self):
        super().__init__()
        channels, convs = 3, []
        for count, width in STAGES:
            for _ in range(count):
                convs.append(torch.nn.Conv2d(channels, width, 3, padding=1))
                channels = width
        self.convs = torch.nn.ModuleList(convs)
        self.fc6, self.fc7 = torch.nn.Linear(25088, 4096), torch.nn.Linear(4096, 4096)

    def forward(self, x):
        taps, convs = [], iter(self.convs)
        for count, _ in STAGES:
            for _ in range(count):
                x = F.relu(next(convs)(x), inplace=True)
            x = F.max_pool2d(x, 2)
            taps.append(x)
        x = F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))
        return [*taps[1:], x[:, :, None, None]]


class ConvGru(torch.nn.Module):
    """Input convolutions of all steps in one call, update and reset gate in one, as here."""

    def __init__(self, channels, hidden, size):
        super().__init__()
        kernel = 1 if size == 1 else 3
        self.hidden, self.size = hidden, size
        conv = lambda i, o: torch.nn.Conv2d(i, o, kernel, padding=kernel // 2, bias=False)
        self.input, self.gates, self.candidate = conv(channels, 3 * hidden), conv(hidden, 2 * hidden), conv(hidden, hidden)

    def forward(self, x):
        """x: [time, batch, channels, side, side]; the last hidden map."""
        steps = self.input(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        h = torch.zeros(x.shape[1], self.hidden, self.size, self.size, device=x.device, dtype=steps.dtype)
        h = h.to(memory_format=torch.channels_last)
        for step in steps:
            gates, candidate = step.split([2 * self.hidden, self.hidden], 1)
            z, r = torch.sigmoid(gates + self.gates(h)).chunk(2, 1)
            candidate = torch.tanh(candidate + self.candidate(r * h))
            h = h + z * (candidate - h)
        return h


class Recognizer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn, self.levels = Vgg(), torch.nn.ModuleList(ConvGru(c, h, s) for c, s, h in LEVELS.values())
        self.heads = torch.nn.ModuleList(torch.nn.Linear(h, 101) for _, _, h in LEVELS.values())

    def forward(self, clip):
        logits = [
            head(level(tap.unsqueeze(1)).mean((2, 3))).float()
            for tap, level, head in zip(self.cnn(clip), self.levels, self.heads)
        ]
        return torch.stack([value.softmax(-1) for value in logits]).mean(0)


def peer(name, dtype, clips, frames, rounds, device):
    """The median milliseconds of PyTorch."""
    last = torch.channels_last
    kind = {"bf16": torch.bfloat16, "f32": torch.float32}[dtype]
    train = name.endswith("-train")
    pixels = lambda: torch.randn(clips * frames, 3, 224, 224, device=device).to(memory_format=last)
    if name.startswith("cnn"):
        model, inputs = Vgg(), pixels()
        run = lambda: model(inputs)[-1].sum()
    elif (level := name.removesuffix("-train")) in LEVELS:
        channels, side, hidden = LEVELS[level]
        model = ConvGru(channels, hidden, side)
        inputs = torch.randn(frames, clips, channels, side, side, device=device).to(kind)
        inputs = inputs.flatten(0, 1).to(memory_format=last).unflatten(0, (frames, clips))
        run = lambda: model(inputs).sum()
    else:
        model, inputs = Recognizer(), pixels()
        run = lambda: model(inputs).sum()
    model = model.to(device).to(memory_format=last)

    def step():
        autocast = torch.autocast(device, kind, enabled=dtype == "bf16", cache_enabled=not name.endswith("-graph"))
        with torch.set_grad_enabled(train), autocast:
            loss = run()
        if train:
            model.zero_grad(set_to_none=True)
            loss.backward()
        return loss

    if name.endswith("-graph"):
        if device == "cpu":
            return None
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = step()

        def timed():
            graph.replay()
            return captured

    else:
        timed = step
    times = []
    for _ in range(rounds + 3):
        start = time.perf_counter()
        timed().item()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[3:])


def start(arguments, name, dtype, clips, frames, rounds):
    """Our program for one workload, in a folder of its own below --folder, where CubeCL keeps its kernels."""
    words = [arguments.program, name, "--device", "cpu" if arguments.cpu else "gpu", "--dtype", dtype]
    words += ["--batch", clips, "--frames", frames, "--rounds", rounds]
    folder = arguments.folder / f"{name}-{dtype}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cubecl.toml").write_text(CONFIG)
    environment = {**os.environ, "HOME": str(folder)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([str(word) for word in words], cwd=folder, env=environment, **pipes)


def finish(process, limit):
    """The measurements of our program, and what went wrong in it."""
    complaint = None
    try:
        output, errors = process.communicate(timeout=limit)
        if process.returncode != 0:
            complaint = (errors.strip() or f"exit code {process.returncode}")[-1500:]
    except subprocess.TimeoutExpired:
        process.kill()
        output, complaint = process.communicate()[0], f"not done within {limit:.0f} s"
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")], complaint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--only", default="", help="workloads such as cnn:bf16, with commas")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "device_bench")
    parser.add_argument("--warm", action="store_true", help="run ours alone, all at once, to compile its kernels")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    arguments.program = arguments.program.resolve()
    workloads = [w for w in WORKLOADS if not arguments.only or f"{w[0]}:{w[1]}" in arguments.only.split(",")]
    if arguments.warm:
        # All of them share the card's memory. Kernels do not depend on the number of clips.
        end = time.monotonic() + arguments.limit
        few = [(name, dtype, max(clips // 8, 1), frames) for name, dtype, clips, frames in workloads]
        for workload, process in [(workload, start(arguments, *workload, 1)) for workload in few]:
            print(*workload, *finish(process, max(end - time.monotonic(), 1)), flush=True)
        return
    device = "cpu" if arguments.cpu else "cuda"
    card = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}; milliseconds, medians of {arguments.rounds}")
    rows = []
    for name, dtype, clips, frames in workloads:
        process = start(arguments, name, dtype, clips, frames, arguments.rounds)
        measured, complaint = finish(process, arguments.limit)
        for ours in measured:
            theirs = peer(ours["workload"], dtype, clips, frames, arguments.rounds, device)
            if device == "cuda":
                torch.cuda.empty_cache()
            rows.append({"dtype": dtype, "clips": clips, "frames": frames, "card": card, "torch_ms": theirs, **ours})
            ratio = "-" if theirs is None else f"{theirs:.2f}, torch/here {theirs / ours['ms']:.2f}"
            print(
                f"{ours['workload']:17} {dtype:5} {clips:3} x {frames:3}: here {ours['ms']:9.2f}, "
                f"first {ours['first_ms'] / 1e3:.1f} s, graph {ours['graph']}, torch {ratio}",
                flush=True,
            )
        if complaint:
            rows.append({"workload": name, "dtype": dtype, "card": card, "error": complaint})
            print(f"{name:17} {dtype:5}: {complaint}", flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
