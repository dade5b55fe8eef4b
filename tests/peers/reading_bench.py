"""From JPEG frames to a clip: this project's reader and torchvision's, speed, in turns on one thread.

    cargo build --release -p gru-rcn-data --example bench_reading
    python tests/peers/reading_bench.py PROGRAM FRAMES [--rounds 7] [--json]

PROGRAM is the example's program. FRAMES is a folder with a folder of 256x340 JPEG frames for each clip, such as
frames/<class> of a data set that `prepare ucf101` made. Wants torch and torchvision.

A round takes the ten middle frames of every clip: first torchvision (read_file, decode_jpeg, crop, antialiased bilinear
resize of the bytes), then the program. The times are of the processor, so that other programs on the machine disturb less; a
row gives the medians over the rounds, and the ratio of each round's two times with its least and greatest.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from _timing import row

try:
    import torch
    import torchvision
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2 import functional
except ImportError:
    print("skipped: no torchvision", file=sys.stderr)
    sys.exit(0)

FRAMES = 10
# Top, left, side of the crop.
CROPS = {"base": (0, 42, 256), "input": (16, 58, 224)}
NAMES = {"base": "jpeg 256x340, crop 256x256, resized to 224x224", "input": "jpeg 256x340, crop 224x224"}


def middle(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.jpg"))
    start = max(len(files) - FRAMES, 0) // 2
    return [str(path) for path in files[start : start + FRAMES]]


def clip(files: list[str], crop: str) -> torch.Tensor:
    top, left, side = CROPS[crop]
    frames = []
    for file in files:
        frame = decode_jpeg(read_file(file), mode=ImageReadMode.RGB)
        frame = frame[:, top : top + side, left : left + side]
        if side != 224:
            frame = functional.resize(frame, [224, 224], antialias=True)
        frames.append(frame)
    return torch.stack(frames)


def theirs(clips: list[list[str]], crop: str, times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        for files in clips:
            clip(files, crop)
    return (time.process_time() - start) * 1e3 / (times * len(clips) * FRAMES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("frames", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    folders = sorted(path for path in arguments.frames.iterdir() if path.is_dir())
    clips = [files for files in map(middle, folders) if len(files) == FRAMES]
    rows = []
    for crop in CROPS:
        command = [arguments.program, arguments.frames, "--crop", crop, "--times", str(arguments.times)]
        mean = torch.stack([clip(files, crop).float().mean() for files in clips]).mean().item()
        ours, peers = [], []
        for _ in range(arguments.rounds):
            peers.append(theirs(clips, crop, arguments.times))
            answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            ours.append(answer["ms"])
            assert abs(answer["checksum"] - mean) < 1.0, f"other pixels: {answer['checksum']} and {mean}"
        rows.append(row(f"reading: {NAMES[crop]}, one frame", peers, ours))
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"torchvision {torchvision.__version__}, {arguments.rounds} rounds of {arguments.times} passes, {len(clips)} clips")
    print("| workload | torchvision, ms | ours, ms | ratio | least to greatest |\n|---|---|---|---|---|")
    for one in rows:
        low, high = one["spread"]
        print(f"| {one['workload']} | {one['peer_ms']:.3f} | {one['ours_ms']:.3f} | {one['ratio']:.2f} | {low:.2f} to {high:.2f} |")


if __name__ == "__main__":
    main()
