#!/usr/bin/env bash
# Trains the models that come with the program and packs them:
# `tests/built_in_models.sh FOLDER FIGHTS WEIGHTS`, with a new folder for the runs, the Surveillance
# Camera Fight Dataset (its folders fight and noFight) and SqueezeNet 1.0 in torchvision's layout.
# Packing needs python3 with numpy and safetensors.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -eq 3 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
folder=$1 fights=$2 weights=$3 models=crates/gru-rcn-trainer/assets/models lists=docs/splits/fight-surv
program=${GRU_RCN_PROGRAM:-target/release/gru-rcn}
clips=$folder/clips
if [ ! -d "$clips" ]; then
  # In `watch` the class without fights is the background.
  mkdir -p "$clips/fight" "$clips/background"
  for part in train test; do
    grep . "$lists/$part.txt" | while read -r clip; do cp "$fights/$clip" "$clips/${clip/noFight/background}"; done
    sed s/noFight/background/ "$lists/$part.txt" >"$clips/$part.txt"
  done
  cp "$lists/sources.json" "$clips"
fi
train() { [ -f "$folder/$1/report.html" ] || "$program" train "$@" --weights "$weights" --run "$folder/$1"; }
train fights --data "$clips"
train actions
python3 - "$folder" "$models" <<'PYTHON'
import json, pathlib, sys
from safetensors import safe_open
from safetensors.numpy import save_file

runs, models = map(pathlib.Path, sys.argv[1:])

def pack(file, packed, one_class=()):
    """In half precision; the program computes with it in single precision."""
    with safe_open(file, "numpy") as weights:
        tensors = {key: weights.get_tensor(key).astype("float16") for key in weights.keys()}
        tensors |= {key: tensors[key][:1].copy() for key in one_class}
        save_file(tensors, packed, weights.metadata())
    packed.chmod(0o644)

# Both runs have the CNN as it was. Of ImageNet's classes, which nothing needs here, the first is kept.
cnns = [(runs / name / "backbone.safetensors").read_bytes() for name in ["fights", "actions"]]
assert cnns[0] == cnns[1], "the runs are over different weights"
classifier = ["classifier.1.weight", "classifier.1.bias"]
pack(runs / "fights/backbone.safetensors", models / "squeezenet.safetensors", classifier)
for name in ["fights", "actions"]:
    (models / name).mkdir(parents=True, exist_ok=True)
    pack(runs / name / "model.safetensors", models / name / "model.safetensors")
    card = json.loads((runs / name / "run.json").read_text())
    card["cnn_classes"] = 1
    for system in card["systems"]:
        system.pop("curve")
    (models / name / "run.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
# By the names of its training clips `evaluate` knows them.
(models / "fights/clips.json").write_text((runs / "fights/clips.json").read_text())
PYTHON
(cd "$models" && LC_ALL=C sha256sum */*.* *.safetensors >SHA256SUMS)
