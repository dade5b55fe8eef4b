#!/usr/bin/env python3
"""What a captioner of generated clips says rightly: shape, colour and motion.

    tests/motion_words.py RUN …

reads `captions-test.json` of each run on a folder that `prepare motion-captions` made, and prints for how
many clips the caption names the clip's shape, its colour and its motion. A motion is named by any of its
four verbs. The clip's own references say what is right.
"""

import json
import pathlib
import sys

MOTIONS = [
    ["moves right", "slides to the right", "goes from left to right", "travels right"],
    ["moves left", "slides to the left", "goes from right to left", "travels left"],
    ["moves up", "rises", "goes upwards", "climbs"],
    ["moves down", "sinks", "goes downwards", "falls"],
    ["turns clockwise", "rotates clockwise", "turns right", "spins to the right"],
    ["turns anticlockwise", "rotates anticlockwise", "turns left", "spins to the left"],
    ["grows", "gets bigger", "becomes larger", "expands"],
    ["shrinks", "gets smaller", "becomes smaller", "contracts"],
]
PARTS = {
    "shape": [[word] for word in ["square", "triangle", "star", "cross", "ring", "crescent"]],
    "colour": [[word] for word in ["red", "yellow", "green", "cyan", "blue", "magenta"]],
    "motion": MOTIONS,
    # Which way, apart: up or down, left or right, clockwise or not, larger or smaller.
    "axis of motion": [MOTIONS[n] + MOTIONS[n + 1] for n in range(0, 8, 2)],
}


def named(caption, kinds):
    """The kinds, by their places, of which the caption has a phrase."""
    text = f" {caption} "
    return {place for place, phrases in enumerate(kinds) if any(f" {phrase} " in text for phrase in phrases)}


def shares(run):
    read = lambda name: json.loads((pathlib.Path(run) / name).read_text())
    references = {}
    for entry in read("references-test.json")["annotations"]:
        references.setdefault(entry["image_id"], []).append(entry["caption"])
    clips = read("captions-test.json")
    for part, kinds in PARTS.items():
        right = 0
        for clip in clips:
            true = named(references[clip["image_id"]][0], kinds)
            assert len(true) == 1, references[clip["image_id"]]
            right += named(clip["caption"], kinds) == true
        yield part, right, len(clips)


if len(sys.argv) < 2:
    sys.exit(__doc__)
for run in sys.argv[1:]:
    print(run)
    for part, right, clips in shares(run):
        print(f"  {part:15} {right:4} of {clips} right, {100 * right / clips:5.1f} %; by chance {100 / len(PARTS[part]):.1f} %")
