"""OpenCV's DualTVL1OpticalFlow on a small synthetic pair: two grey pictures and two flows between them, in the format that
the flow crate itself reads. The first picture is a sum of waves, the second is the first seen through a turn and a zoom.

Where a flow is poorly determined, as at the borders, five warps on five scales with a stop that depends on the last digit
amplify rounding to tenths of a pixel: two ways to add the same numbers then disagree. So the scales are pinned without the
stop and with fewer warps, and the stop on one scale."""

import struct
import sys
from pathlib import Path

import numpy as np

try:
    import cv2
except ImportError:
    print("skipped: no cv2", file=sys.stderr)
    sys.exit(0)

GOLDENS = Path(__file__).resolve().parents[2] / "crates/gru-rcn-flow/tests/goldens"
WIDTH, HEIGHT = 48, 40
# Horizontal and vertical radians per pixel, and phase. Wavelengths of 9 to 22 pixels.
WAVES = [(0.61, 0.11, 0.3), (-0.14, 0.66, 1.9), (0.27, 0.31, 4.1), (0.21, -0.19, 2.6), (-0.45, 0.38, 5.5)]


def picture(x, y) -> np.ndarray:
    value = 128 + 24 * sum(np.sin(fx * x + fy * y + phase) for fx, fy, phase in WAVES)
    return np.rint(value).astype(np.uint8)


def write_flo(path: Path, flow: np.ndarray):
    height, width, _ = flow.shape
    path.write_bytes(struct.pack("<fii", 202021.25, width, height) + flow.astype("<f4").tobytes())


if __name__ == "__main__":
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float64), np.arange(HEIGHT, dtype=np.float64))
    # About the centre, x' = x + a·x − b·y: at most 1 pixel, in the corners.
    cx, cy = x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2
    zoom, turn = 0.02, 0.025
    first, second = picture(x, y), picture(x - zoom * cx + turn * cy, y - turn * cx - zoom * cy)
    cv2.setNumThreads(1)
    GOLDENS.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(GOLDENS / "first.png"), first)
    cv2.imwrite(str(GOLDENS / "second.png"), second)
    scales = cv2.optflow.DualTVL1OpticalFlow_create()
    scales.setWarpingsNumber(3)
    scales.setOuterIterations(3)
    scales.setEpsilon(0)
    write_flo(GOLDENS / "tv_l1_scales.flo", scales.calc(first, second, None))
    stop = cv2.optflow.DualTVL1OpticalFlow_create()
    stop.setScalesNumber(1)
    write_flo(GOLDENS / "tv_l1_stop.flo", stop.calc(first, second, None))
    print(f"crates/gru-rcn-flow/tests/goldens: {WIDTH}x{HEIGHT}, OpenCV {cv2.__version__}")
