"""Small JPEG files of kinds that the encoder in use here does not write, for the tests of the crop decoder.

    python tests/peers/jpeg_files.py

Writes to crates/gru-rcn-data/src/jpeg/files. Wants opencv-contrib-python-headless and numpy. The tests compare decoders with
each other, so other versions of the encoder do as well.
"""

import sys
from pathlib import Path

try:
    import cv2
    import numpy as np
except ImportError:
    print("skipped: no OpenCV", file=sys.stderr)
    sys.exit(0)

FOLDER = Path(__file__).parents[2] / "crates/gru-rcn-data/src/jpeg/files"
# Chroma in the size of luma, in half of its width, of both sides, of its height, and in a quarter of the width.
FULL, WIDE, HALVED, TALL, QUARTER = 0x111111, 0x211111, 0x221111, 0x121111, 0x411111


def write(name: str, sampling: int, *options: int, height: int = 24, width: int = 40) -> None:
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(x * 37 + y * 91) % 251, (x * 5 + y * 3) % 256, (x * y) % 256], -1).astype(np.uint8)
    settings = [cv2.IMWRITE_JPEG_QUALITY, 70, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, *options]
    cv2.imwrite(str(FOLDER / f"{name}.jpg"), image, settings)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    # Restart markers after each two units, and codes made for the picture.
    write("restart", FULL, cv2.IMWRITE_JPEG_RST_INTERVAL, 2, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    write("halved", HALVED, height=51, width=35)
    write("halved-small", HALVED, height=9, width=5)
    write("halved-restart", HALVED, cv2.IMWRITE_JPEG_RST_INTERVAL, 3, height=40, width=70)
    write("wide", WIDE, height=29, width=43)
    write("tall", TALL)
    write("quarter", QUARTER)
    write("progressive", FULL, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


if __name__ == "__main__":
    main()
