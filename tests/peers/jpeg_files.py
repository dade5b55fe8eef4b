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
FULL, HALVED = 0x111111, 0x221111  # chroma in the size of luma, and in half of both sides


def write(name: str, sampling: int, *options: int) -> None:
    y, x = np.mgrid[0:24, 0:40]
    image = np.stack([(x * 37 + y * 91) % 251, (x * 5 + y * 3) % 256, (x * y) % 256], -1).astype(np.uint8)
    settings = [cv2.IMWRITE_JPEG_QUALITY, 70, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, *options]
    cv2.imwrite(str(FOLDER / f"{name}.jpg"), image, settings)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    # Restart markers after each two units, and codes made for the picture.
    write("restart", FULL, cv2.IMWRITE_JPEG_RST_INTERVAL, 2, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    write("halved", HALVED)
    write("progressive", FULL, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


if __name__ == "__main__":
    main()
