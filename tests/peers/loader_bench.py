"""Whether a consumer stays busy: this project's loader and torch's DataLoader, in turns.

    cargo build --release -p gru-rcn-data --example bench_loader
    python tests/peers/loader_bench.py PROGRAM FRAMES [--workers 2] [--consume 5] [--rounds 3] [--json]

PROGRAM is the example's program, FRAMES as for reading_bench.py. Clips of several sizes are loaded by two workers (threads
here, processes there) while the consumer takes 5 ms for each without using a processor. Both sides take random crops of the
paper's sizes, mirror half of the clips and hand over bytes. Wants torch and torchvision. Times are by the clock: what else
runs on the machine counts.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _timing import row

try:
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2 import functional
except ImportError:
    print("skipped: no torchvision", file=sys.stderr)
    sys.exit(0)

# Frames and side of the clips.
SIZES = [(10, 224), (10, 112), (5, 224), (3, 224), (2, 112)]
SIDES = [256, 224, 192, 168]


class Clips(Dataset):
    def __init__(self, folders: list[list[str]], count: int, frames: int, side: int) -> None:
        self.folders, self.count, self.frames, self.side = folders, count, frames, side

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        draw = random.Random(index)
        files = self.folders[index % len(self.folders)]
        start = draw.randrange(len(files) - self.frames + 1)
        tall = draw.randrange(4)
        wide = min(max(tall + draw.choice([-1, 0, 1]), 0), 3)
        height, width = SIDES[tall], SIDES[wide]
        right, lower = 340 - width, 256 - height
        left, top = draw.choice([(0, 0), (right, 0), (0, lower), (right, lower), (right // 2, lower // 2)])
        mirrored = draw.random() < 0.5
        clip = []
        for file in files[start : start + self.frames]:
            frame = decode_jpeg(read_file(file), mode=ImageReadMode.RGB)[:, top : top + height, left : left + width]
            frame = functional.resize(frame, [self.side, self.side], antialias=True)
            clip.append(frame.flip(2) if mirrored else frame)
        return torch.stack(clip)


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def theirs(folders: list[list[str]], clips: int, frames: int, side: int, workers: int, consume: float) -> dict:
    loader = DataLoader(
        Clips(folders, clips, frames, side),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2,
        worker_init_fn=lambda _: torch.set_num_threads(1),
    )
    iterator = iter(loader)
    next(iterator)
    began, waited = time.perf_counter(), 0.0
    memory = 0.0
    for index in range(clips - 1):
        asked = time.perf_counter()
        next(iterator)
        waited += time.perf_counter() - asked
        time.sleep(consume / 1e3)
        if index == clips - 2:
            workers_ = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            memory = resident_mib(os.getpid()) + sum(resident_mib(int(pid)) for pid in workers_)
    seconds = time.perf_counter() - began
    return {"ms": seconds * 1e3 / (clips - 1), "wait_share": waited / seconds, "peak_mib": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("frames", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--consume", type=float, default=5.0)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    folders = [sorted(map(str, folder.glob("*.jpg"))) for folder in sorted(arguments.frames.iterdir()) if folder.is_dir()]
    rows = []
    for frames, side in SIZES:
        options = ["--frames", frames, "--side", side, "--workers", arguments.workers, "--clips", arguments.clips]
        command = [arguments.program, arguments.frames, *options, "--consume", arguments.consume]
        ours, peers = [], []
        for _ in range(arguments.rounds):
            peers.append(theirs(folders, arguments.clips, frames, side, arguments.workers, arguments.consume))
            output = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
            ours.append(json.loads(output))
        middle = lambda rounds, key: statistics.median(one[key] for one in rounds)
        workload = f"loader: {frames} frames of {side}x{side}, {arguments.workers} workers, consumer of {arguments.consume:g} ms"
        rows.append(
            {
                **row(workload, [peer["ms"] for peer in peers], [own["ms"] for own in ours]),
                "ours_wait_share": round(middle(ours, "wait_share"), 4),
                "peer_wait_share": round(middle(peers, "wait_share"), 4),
                "ours_load_ms": round(middle(ours, "load_ms"), 3),
                "ours_peak_mib": round(middle(ours, "peak_mib")),
                "peer_peak_mib": round(middle(peers, "peak_mib")),
            }
        )
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"torch {torch.__version__}, {arguments.rounds} rounds of {arguments.clips} clips")
    print("| workload | ms a clip, torch | ours | waiting, torch | ours | ms to load one, ours | peak MiB, torch | ours |")
    print("|---|---|---|---|---|---|---|---|")
    for one in rows:
        print(
            f"| {one['workload']} | {one['peer_ms']:.1f} | {one['ours_ms']:.1f} | {one['peer_wait_share']:.1%} "
            f"| {one['ours_wait_share']:.1%} | {one['ours_load_ms']:.1f} | {one['peer_peak_mib']} | {one['ours_peak_mib']} |"
        )


if __name__ == "__main__":
    main()
