"""TV-L1: this project's and OpenCV's, speed and error, in turns on one thread.

    cargo build --release -p gru-rcn-flow --example bench_flow
    python tests/peers/flow_bench.py PROGRAM [FRAMES TRUTH] [--pair FIRST SECOND ...] [--rounds 5]

PROGRAM is the example's program. FRAMES is a folder with NAME/frame10.png and NAME/frame11.png (the Middlebury training
pairs), TRUTH one with NAME/flow10.flo; the errors of both sides are measured on them. Every other pair of pictures is only
timed. All pairs are timed at 320x240 too, or only there with --small. Wants numpy and OpenCV with its contributed modules.

A round runs OpenCV once and then the program once, on the same 8-bit grey pictures. The times are of the processor, so
that other programs on the machine disturb less, and a row gives the medians over the rounds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _timing import row

try:
    import cv2
    import numpy as np
except ImportError:
    print("skipped: no cv2", file=sys.stderr)
    sys.exit(0)

SMALL = (320, 240)


def read_flo(path: Path) -> np.ndarray:
    data = path.read_bytes()
    width, height = np.frombuffer(data, "<i4", 2, 4)
    return np.frombuffer(data, "<f4", -1, 12).reshape(height, width, 2)


def endpoint_error(flow: np.ndarray, truth: np.ndarray) -> float:
    known = (np.abs(truth) < 1e9).all(axis=2)
    return float(np.linalg.norm(flow[known].astype(np.float64) - truth[known], axis=1).mean())


def grey(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        sys.exit(f"cannot read {path}")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)


def compare(name: str, pair: list, truth: Path | None, arguments, folder: Path, out) -> dict:
    paths = [folder / "first.png", folder / "second.png"]
    for path, picture in zip(paths, pair):
        cv2.imwrite(str(path), picture)
    command = [arguments.program, *paths, "--runs", "1"] + (["--truth", truth] if truth else [])
    theirs, ours = [], []
    solver = cv2.optflow.DualTVL1OpticalFlow_create()
    for _ in range(arguments.rounds):
        start = time.process_time()
        flow = solver.calc(*pair, None)
        theirs.append((time.process_time() - start) * 1e3)
        answer = json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout)
        ours.append((answer["cpu_ms"] or answer["wall_ms"])["median"])
    height, width = pair[0].shape
    result = row(f"tvl1: {name} {width}x{height}", theirs, ours)
    errors = "| | |"
    if truth:
        their_error, our_error = endpoint_error(flow, read_flo(truth)), answer["endpoint_error"]
        errors = f"| {their_error:.4f} | {our_error:.4f} ({100 * (our_error / their_error - 1):+.2f} %) |"
    times = f"{result['peer_ms']:.0f} | {result['ours_ms']:.1f} | {result['ratio']:.1f}"
    print(f"| {name} | {width}x{height} | {times} {errors}", flush=True, file=out)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("frames", type=Path, nargs="?")
    parser.add_argument("truth", type=Path, nargs="?")
    parser.add_argument("--pair", type=Path, nargs=2, action="append", default=[])
    parser.add_argument("--small", action="store_true", help="only at 320x240")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)

    pairs = [(" ".join(path.stem for path in pair), [grey(path) for path in pair], None) for pair in arguments.pair]
    for folder in sorted(arguments.frames.iterdir()) if arguments.frames else []:
        truth = arguments.truth / folder.name / "flow10.flo" if arguments.truth else None
        pairs.append((folder.name, [grey(folder / f"frame{n}.png") for n in (10, 11)], truth))
    rows = []
    out = sys.stderr if arguments.json else sys.stdout
    print(f"OpenCV {cv2.__version__}, {arguments.rounds} rounds\n", file=out)
    print("| pair | size | OpenCV, ms | ours, ms | ratio | OpenCV, px | ours, px |\n|---|---|---|---|---|---|---|", file=out)
    with tempfile.TemporaryDirectory() as folder:
        for name, pair, truth in pairs:
            if not arguments.small:
                rows.append(compare(name, pair, truth, arguments, Path(folder), out))
            small = [cv2.resize(picture, SMALL, interpolation=cv2.INTER_AREA) for picture in pair]
            rows.append(compare(name, small, None, arguments, Path(folder), out))
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
