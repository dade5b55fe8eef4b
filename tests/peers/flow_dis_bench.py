"""Dense inverse search: this project's and OpenCV's, speed and error, in turns on one thread.

    cargo build --release -p gru-rcn-flow --example bench_flow
    python tests/peers/flow_dis_bench.py PROGRAM FRAMES TRUTH [--rounds 5] [--times 10] [--preset medium]

PROGRAM is the example's program, FRAMES a folder with NAME/frame10.png and NAME/frame11.png (the Middlebury training
pairs), TRUTH one with NAME/flow10.flo. Wants numpy and OpenCV. Each round runs OpenCV `times` times and then the
program `times` times, each after one run that is not counted; a row gives the medians over the rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _timing import row
from flow_bench import cv2, endpoint_error, grey, np, read_flo  # Ends here where OpenCV is missing.

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


def opencv(first: np.ndarray, second: np.ndarray, preset: str, times: int) -> tuple[float, np.ndarray]:
    dis = cv2.DISOpticalFlow_create(PRESETS[preset])
    flow = dis.calc(first, second, None)
    milliseconds = []
    for _ in range(times):
        start = time.perf_counter()
        flow = dis.calc(first, second, None)
        milliseconds.append((time.perf_counter() - start) * 1e3)
    return statistics.median(milliseconds), flow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("frames", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--preset", choices=PRESETS, default="medium")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)

    rows = []
    out = sys.stderr if arguments.json else sys.stdout
    print(f"OpenCV {cv2.__version__}, preset {arguments.preset}, {arguments.rounds} rounds of {arguments.times}", file=out)
    print("| pair | size | EPE OpenCV | EPE ours | ratio | ms OpenCV | ms ours | ratio |", file=out)
    print("|---|---|---|---|---|---|---|---|", file=out)
    for folder in sorted(path for path in arguments.frames.iterdir() if path.is_dir()):
        paths = [folder / "frame10.png", folder / "frame11.png"]
        truth_path = arguments.truth / folder.name / "flow10.flo"
        first, second = map(grey, paths)
        truth = read_flo(truth_path)
        theirs, ours, errors = [], [], set()
        for _ in range(arguments.rounds):
            milliseconds, flow = opencv(first, second, arguments.preset, arguments.times)
            theirs.append(milliseconds)
            command = [arguments.program, *paths, "--truth", truth_path]
            command += ["--runs", str(arguments.times), "--method", arguments.preset]
            output = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            ours.append(output["wall_ms"]["median"])
            errors.add(output["endpoint_error"])
        assert len(errors) == 1, "the program's flow differs from run to run"
        error, our_error = endpoint_error(flow, truth), errors.pop()
        size = f"{first.shape[1]}x{first.shape[0]}"
        rows.append(row(f"dis: {folder.name} {size}, {arguments.preset}", theirs, ours))
        peer_ms, ours_ms = rows[-1]["peer_ms"], rows[-1]["ours_ms"]
        print(
            f"| {folder.name} | {size} | {error:.3f} | {our_error:.3f} | {our_error / error:.2f} "
            f"| {peer_ms:.1f} | {ours_ms:.1f} | {ours_ms / peer_ms:.2f} |",
            flush=True,
            file=out,
        )
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
