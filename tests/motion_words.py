#!/usr/bin/env python3
"""For how many generated clips a caption names the shape, the colour and the motion.

    tests/motion_words.py RUN …

reads `captions-test.json` and `references-test.json` of each run on a folder that `prepare motion-captions` made.
The references say what is right, and which words there are: a motion is named by any of its verbs.
"""

import json
import pathlib
import sys

AXES = ["right left", "up down", "rotate-clockwise rotate-anticlockwise", "grow shrink"]
AXIS = {motion: axis for axis in AXES for motion in axis.split()}


def named_in(reference):
    """What a reference such as `a red square rises` or `a square that is red rises` names, and by which words."""
    words = reference["caption"].split()
    shape, colour, verb = (words[1], words[4], words[5:]) if words[2] == "that" else (words[2], words[1], words[3:])
    motion, verb = reference["image_id"].split("/")[1], " ".join(verb)
    return {
        "shape": (shape, shape),
        "colour": (colour, colour),
        "motion": (motion, verb),
        "axis of motion": (AXIS[motion], verb),
    }


def shares(run):
    read = lambda name: json.loads((pathlib.Path(run) / name).read_text())
    clips, truth, phrases = read("captions-test.json"), {}, {}
    for reference in read("references-test.json")["annotations"]:
        for part, (kind, phrase) in named_in(reference).items():
            truth[reference["image_id"], part] = kind
            phrases.setdefault(part, {}).setdefault(kind, set()).add(f" {phrase} ")
    for part, kinds in phrases.items():
        named = lambda clip: {kind for kind, known in kinds.items() if any(text in f" {clip['caption']} " for text in known)}
        right = sum(named(clip) == {truth[clip["image_id"], part]} for clip in clips)
        yield part, right, len(clips), len(kinds)


if len(sys.argv) < 2:
    sys.exit(__doc__)
for run in sys.argv[1:]:
    print(run)
    for part, right, clips, kinds in shares(run):
        print(f"  {part:15} {right:4} of {clips} right, {100 * right / clips:5.1f} %; by chance {100 / kinds:.1f} %")
