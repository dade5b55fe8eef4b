"""A whole training of the recipe `egogestar` and a PyTorch script that does the same work: time and memory, in turns.

    cargo build --release --workspace
    python tests/peers/recipe_bench.py PROGRAM DATA [--rounds 3] [--json]

PROGRAM is `gru-rcn`; DATA holds the folders egogestar and weights. Wants torch, torchvision, numpy, safetensors, ffmpeg and
Linux.

Both sides start from the video files: each is decoded once by ffmpeg to 120x160, 16 frames are cut to clips of 96x128 (three
copies of a training clip with drawn crops and light), a frozen SqueezeNet makes percepts of them, and a bi-directional ConvGRU
is trained for 30 epochs of batches of 16, validated after each, with the weights of the best epoch scored on the test clips.
Baselines and other normalisations of the recipe are switched off, and so is its early stop. PyTorch is as fast as its user can
easily make it: channels-last, input convolutions of all steps in one call, both gates in one, centred percepts kept.

Times are of whole processes with their children, ffmpeg included. A row gives the medians over the rounds, and the ratios of
each round's two times with their least and greatest. Memory is the peak of the largest process of each side.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _timing import ratio

THREADS = 2
# Read when torch is imported: idle threads sleep, because waiting counts as processor time.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file
    from torchvision.models import squeezenet1_0

    from ops_bench import fused
except ImportError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(0)

STORED, CLIP, TIME, COPIES = (120, 160), (96, 128), 16, 3
HIDDEN, EPOCHS, BATCH, DROPOUT = 32, 30, 16, 0.5
SETTINGS = ["baselines.frame=false", "baselines.top_rnn=0", "baselines.norms=[]", f"training.patience={EPOCHS}"]


# PyTorch's side.


def decoded(path: Path) -> np.ndarray:
    """All frames, [frame, height, width, 3]."""
    height, width = STORED
    command = ["ffmpeg", "-v", "error", "-i", path, "-vf", f"scale={width}:{height}", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, height, width, 3)


def clip(video: np.ndarray, draw: np.random.Generator | None) -> torch.Tensor:
    """16 frames spread over the video, [time, 3, height, width] in 0 to 1; with `draw` as for training."""
    segments = np.linspace(0, len(video), TIME + 1)
    at = draw.uniform(segments[:-1], segments[1:]) if draw else (segments[:-1] + segments[1:]) / 2
    frames = torch.from_numpy(video[np.minimum(at.astype(int), len(video) - 1)]).permute(0, 3, 1, 2)
    scale = draw.uniform(0.72, 1) if draw else 1.0
    height, width = round(STORED[0] * scale), round(STORED[1] * scale)
    top = int(draw.integers(STORED[0] - height + 1)) if draw else 0
    left = int(draw.integers(STORED[1] - width + 1)) if draw else 0
    frames = F.interpolate(frames[:, :, top : top + height, left : left + width].float(), CLIP, mode="bilinear", antialias=True)
    if draw:
        contrast, brightness = draw.uniform(0.7, 1.3), draw.uniform(0.6, 1.4)
        tint = torch.tensor(draw.uniform(0.9, 1.1, (1, 3, 1, 1)), dtype=torch.float32)
        mean = frames.mean()
        frames = (((frames - mean) * contrast + mean) * brightness * tint).clamp(0, 255)
    return frames / 255


def squeeze_net(weights: Path):
    """To the pool after fire8."""
    model = squeezenet1_0()
    model.load_state_dict(load_file(weights))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    layers = model.features[:-1].eval().to(memory_format=torch.channels_last)
    return lambda frames: layers(((frames - mean) / std).contiguous(memory_format=torch.channels_last))


def percepts(network, clips: list[torch.Tensor]) -> torch.Tensor:
    """Centred over time, [clip, time, channel, height, width]."""
    with torch.inference_mode():
        maps = [network(torch.cat(clips[i : i + 4])) for i in range(0, len(clips), 4)]
        maps = torch.cat(maps).unflatten(0, (len(clips), TIME))
        return maps - maps.mean(1, keepdim=True)


class Classifier(torch.nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()

        def weights(out: int, inputs: int) -> torch.nn.Parameter:
            weight = torch.nn.init.xavier_uniform_(torch.empty(out, inputs, 3, 3))
            return torch.nn.Parameter(weight.contiguous(memory_format=torch.channels_last))

        def direction() -> torch.nn.ParameterList:
            shapes = [(3 * HIDDEN, channels), (2 * HIDDEN, HIDDEN), (HIDDEN, HIDDEN)]
            return torch.nn.ParameterList([weights(*shape) for shape in shapes])

        self.directions = torch.nn.ModuleList([direction(), direction()])
        self.classifier = torch.nn.Linear(2 * HIDDEN, classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        batch, steps = clips.shape[:2]
        x = clips.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (steps, batch))
        orders, ends = [range(steps), range(steps - 1, -1, -1)], [-1, 0]
        last = [fused(x, list(d), order)[end].mean((2, 3)) for d, order, end in zip(self.directions, orders, ends)]
        return self.classifier(F.dropout(torch.cat(last, 1), DROPOUT, self.training))


def accuracy(model, clips: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
    """And the negative log-likelihood."""
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(part) for part in clips.split(BATCH)])
    return (logits.argmax(1) == targets).double().mean().item(), F.cross_entropy(logits, targets).item()


def train(data: Path, weights: Path, seed: int) -> dict:
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    lists = {part: (data / f"{part}.txt").read_text().split() for part in ("train", "val", "test")}
    classes = sorted({line.split("/")[0] for line in lists["train"]})
    targets = {part: torch.tensor([classes.index(line.split("/")[0]) for line in lines]) for part, lines in lists.items()}
    videos = {part: [decoded(data / line) for line in lines] for part, lines in lists.items()}
    network = squeeze_net(weights)
    copies = [percepts(network, [clip(video, draw) for video in videos["train"]]) for _ in range(COPIES)]
    held = {part: percepts(network, [clip(video, None) for video in videos[part]]) for part in ("val", "test")}
    scale = 1 / copies[0].square().mean().sqrt()
    copies, held = [copy * scale for copy in copies], {part: value * scale for part, value in held.items()}
    model = Classifier(copies[0].shape[2], len(classes))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8)
    best, kept = math.inf, None
    for epoch in range(EPOCHS):
        rate = 1e-3 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * epoch / (EPOCHS - 1))))
        optimizer.param_groups[0]["lr"] = rate
        model.train()
        versions = draw.integers(COPIES, size=len(lists["train"]))
        for part in torch.from_numpy(draw.permutation(len(lists["train"]))).split(BATCH):
            clips = torch.stack([copies[versions[i]][i] for i in part.tolist()])
            loss = F.cross_entropy(model(clips), targets["train"][part])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        _, value = accuracy(model, held["val"], targets["val"])
        if value < best:
            best, kept = value, {name: weight.clone() for name, weight in model.state_dict().items()}
    model.load_state_dict(kept)
    return {"accuracy": accuracy(model, held["test"], targets["test"])[0]}


# Measuring.


def timed(command: list) -> dict:
    """Wall and processor time in seconds, peak memory, and what the command printed."""
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        environment = {**os.environ, "RAYON_NUM_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen([str(word) for word in command], stdout=output, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = time.perf_counter() - began
        if status != 0:
            raise SystemExit(f"{command[0]} failed")
        output.seek(0)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"wall": wall, "processor": spent, "peak": usage.ru_maxrss, "output": output.read()}


def ours(program: Path, data: Path, weights: Path, seed: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [program, "train", "egogestar", "--data", data, "--weights", weights, "--run", run, "--seed", seed, "--json"]
        answer = timed([*command, *(word for setting in SETTINGS for word in ("--set", setting))])
    return {**answer, "accuracy": json.loads(answer["output"])["test"]["top1"]}


def peer(data: Path, weights: Path, seed: int) -> dict:
    answer = timed([sys.executable, __file__, "--train", data, weights, seed])
    return {**answer, **json.loads(answer["output"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--train", nargs=3, metavar=("CLIPS", "WEIGHTS", "SEED"), help="PyTorch's side, in this process")
    arguments = parser.parse_args()
    if arguments.train:
        data, weights, seed = arguments.train
        print(json.dumps(train(Path(data), Path(weights), int(seed))))
        return
    if arguments.data is None:
        parser.error("PROGRAM and DATA are missing")
    data, weights = arguments.data / "egogestar", arguments.data / "weights" / "squeezenet1_0.safetensors"
    mine, theirs = [], []
    for seed in range(arguments.rounds):
        theirs.append(peer(data, weights, seed))
        mine.append(ours(arguments.program, data, weights, seed))

    def column(answers, key):
        return [answer[key] for answer in answers]

    row = {"workload": "recipe: whole training of egogestar, percepts included"}
    for key in ("wall", "processor"):
        row[f"peer_{key}_s"] = round(statistics.median(column(theirs, key)), 2)
        row[f"ours_{key}_s"] = round(statistics.median(column(mine, key)), 2)
        row.update({f"{key}_{name}": value for name, value in ratio(column(theirs, key), column(mine, key)).items()})
    for side, answers in (("peer", theirs), ("ours", mine)):
        row[f"{side}_peak_mib"] = round(statistics.median(column(answers, "peak")) / 1024)
        row[f"{side}_accuracy"] = column(answers, "accuracy")
    print(json.dumps([row]) if arguments.json else "\n".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
