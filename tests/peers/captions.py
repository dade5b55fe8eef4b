"""Caption metrics: this project's and those of pycocoevalcap, values and time of whole processes.

    cargo build --release -p gru-rcn-metrics --examples
    cargo build --release -p gru-rcn-trainer
    python tests/peers/captions.py PROGRAM TOKENIZER --captions FILE [--held-out 0] [--rounds 3]

PROGRAM is `gru-rcn`, TOKENIZER the example `tokenize` of gru-rcn-metrics. FILE is a JSON document {part: {clip: [caption]}},
such as MSVD's `captions_by_split.json`. Every clip of the part is scored leave-one-out: one of its captions, the first unless
--held-out says another, is the hypothesis, all the others are its references. The captions of all parts are tokenised by both.

A round runs the peer once and then the program once, each as a process of its own, start included. Besides the wall clock, the
time of the processor is given, which other programs on the machine disturb less. The peer is
pycocoevalcap's tokenizer, BLEU, METEOR, ROUGE-L and CIDEr-D; it wants Java. METEOR's jar and tables are those in the package, for
both sides; the program's conversion of the paraphrase table is done before the first round and timed apart.

Line separators other than a newline are replaced by spaces before either side sees them: coco-caption would shift all later
captions by a line, and the program refuses them.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _timing import row

if importlib.util.find_spec("pycocoevalcap") is None:
    print("skipped: no pycocoevalcap", file=sys.stderr)
    sys.exit(0)

SEPARATORS = dict.fromkeys(map(ord, "\r\v\f\u2028\u2029"), " ")
# The name of a metric here and in the program's JSON.
METRICS = ["bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider_d", "meteor"]
TOLERANCE = dict.fromkeys(METRICS, 1e-9) | {"meteor": 1e-6}


def peer_scores(refs: Path, hyps: Path) -> dict:
    """The scores of the corpus, and of every clip, by pycocoevalcap."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    references, hypotheses = {}, {}
    for annotation in json.loads(refs.read_text())["annotations"]:
        references.setdefault(annotation["image_id"], []).append(annotation)
    for result in json.loads(hyps.read_text()):
        hypotheses.setdefault(result["image_id"], []).append(result)
    hypotheses = {clip: hypotheses[clip] for clip in references}
    tokenizer = PTBTokenizer()
    references, hypotheses = tokenizer.tokenize(references), tokenizer.tokenize(hypotheses)
    corpus, clips = {}, {clip: {} for clip in references}
    bleu, bleu_of = Bleu(4).compute_score(references, hypotheses, verbose=0)
    scored = list(zip(METRICS, bleu, bleu_of))
    for name, scorer in [("rouge_l", Rouge()), ("cider_d", Cider()), ("meteor", Meteor())]:
        scored.append((name, *scorer.compute_score(references, hypotheses)))
    for name, score, of in scored:
        corpus[name] = float(score)
        for clip, value in zip(references, of):
            clips[clip][name] = float(value)
    return {"corpus": corpus, "clips": clips}


def peer_tokens(captions: list[str]) -> list[str]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokens = PTBTokenizer().tokenize({0: [{"caption": caption} for caption in captions]})[0]
    assert len(tokens) == len(captions), "the peer lost or split a caption"
    return tokens


def compare_tokens(tokenizer: Path, parts: dict) -> int:
    captions = [caption for clips in parts.values() for clip in clips.values() for caption in clip]
    theirs = peer_tokens(captions)
    given = "".join(json.dumps(caption) + "\n" for caption in captions)
    ours = subprocess.run([tokenizer], input=given, text=True, check=True, capture_output=True).stdout.split("\n")[:-1]
    assert len(ours) == len(captions), f"{len(ours)} lines for {len(captions)} captions"
    wrong = [(text, peer, own) for text, peer, own in zip(captions, theirs, ours) if peer != own]
    for text, peer, own in wrong[:20]:
        print(f"  {text!r}\n    peer {peer!r}\n    ours {own!r}", file=sys.stderr)
    print(f"tokens: {len(captions)} captions, {len(wrong)} differ", file=sys.stderr)
    return len(wrong)


def compare_scores(theirs: dict, ours: dict) -> int:
    faults = 0
    own_clips = {clip["image_id"]: clip for clip in ours["captions"]}
    assert list(own_clips) == list(theirs["clips"]), "the clips differ"
    for name in METRICS:
        corpus = abs(theirs["corpus"][name] - ours["corpus"][name])
        differences = {clip: abs(values[name] - own_clips[clip][name]) for clip, values in theirs["clips"].items()}
        worst = max(differences, key=differences.get)
        wrong = sum(not difference <= TOLERANCE[name] for difference in [corpus, *differences.values()])
        faults += wrong
        print(
            f"{name}: peer {theirs['corpus'][name]:.9f}, ours {ours['corpus'][name]:.9f}, difference {corpus:.1e}; greatest of a"
            f" clip {differences[worst]:.1e} ({worst}); {wrong} over {TOLERANCE[name]:.0e}",
            file=sys.stderr,
        )
    return faults


def write_task(clips: dict, held_out: int, folder: Path) -> tuple[Path, Path]:
    annotations, results = [], []
    for clip, captions in clips.items():
        out = held_out % len(captions)
        results.append({"image_id": clip, "caption": captions[out]})
        annotations += [{"image_id": clip, "caption": text} for place, text in enumerate(captions) if place != out]
    refs, hyps = folder / "refs.json", folder / "hyps.json"
    images = [{"id": clip} for clip in clips]
    refs.write_text(json.dumps({"images": images, "annotations": annotations}))
    hyps.write_text(json.dumps(results))
    return refs, hyps


def timed(command: list) -> tuple[float, float, str]:
    """Wall-clock and processor time of a process with its children, in ms, and what it printed."""
    start, before = time.perf_counter(), os.times()
    out = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return (time.perf_counter() - start) * 1e3, cpu * 1e3, out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--part", default="test")
    parser.add_argument("--held-out", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    parts = json.loads(arguments.captions.read_text())
    parts = {
        part: {clip: [text.translate(SEPARATORS) for text in captions] for clip, captions in clips.items()}
        for part, clips in parts.items()
    }
    faults = compare_tokens(arguments.tokenizer, parts)
    meteor = Path(importlib.util.find_spec("pycocoevalcap").submodule_search_locations[0]) / "meteor"
    with tempfile.TemporaryDirectory() as folder:
        refs, hyps = write_task(parts[arguments.part], arguments.held_out, Path(folder))
        peer = [sys.executable, __file__, "--peer", refs, hyps]
        program = [arguments.program, "score-captions", refs, hyps, "--meteor", meteor, "--json"]
        conversion = timed(program)[0]
        rounds = []
        for _ in range(arguments.rounds):
            *theirs, peer_out = timed(peer)
            *ours, out = timed(program)
            rounds.append((theirs, ours))
        faults += compare_scores(json.loads(peer_out), json.loads(out))
    print(f"first run, with the conversion of the paraphrase table unless it was done: {conversion:.0f} ms", file=sys.stderr)
    rows = []
    for place, what in enumerate(["wall clock", "processor"]):
        theirs, ours = ([sides[side][place] for sides in rounds] for side in (0, 1))
        rows.append(row(f"captions: {len(parts[arguments.part])} clips, {what}", theirs, ours))
    print(json.dumps(rows) if arguments.json else "\n".join(map(str, rows)))
    if faults:
        sys.exit(f"{faults} values differ")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        print(json.dumps(peer_scores(Path(sys.argv[2]), Path(sys.argv[3]))))
        sys.exit(0)
    main()
