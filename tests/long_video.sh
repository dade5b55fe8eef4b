#!/usr/bin/env bash
# Trains a run on generated motions and pauses over SqueezeNet's maps, composes a film of ten minutes,
# and prints what `watch` finds in it: `tests/long_video.sh FOLDER WEIGHTS [KEY=VALUE …]`.
# WEIGHTS are torchvision's of SqueezeNet 1.0; the rest are changes of the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 2 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
folder=$1 weights=$2
shift 2
program=${GRU_RCN_PROGRAM:-target/release/gru-rcn}
tool=${GRU_RCN_LONG_VIDEO:-target/release/examples/long_video}
if [ ! -d "$folder/run" ]; then
  changes=(data.motion.size=96 data.motion.frames=24 data.motion.background=true
    data.motion.train=2160 data.motion.validation=360 data.motion.test=360
    'clip.temporal={every="0.2 s",frames=8}' clip.frame_size=[96,96] clip.input_size=[96,96]
    backbone.network=squeezenet backbone.taps='["pool4","pool8"]' 'model.hidden=[24,24]'
    model.norm.rule=difference model.context=2 training.epochs=6 training.batch=24 training.patience=6 baselines.frame=false 'baselines.top_rnn=0' "$@")
  "$program" train motion --weights "$weights" --run "$folder/run" $(printf -- '--set %s ' "${changes[@]// /}")
fi
[ -f "$folder/film.mp4" ] || "$tool" compose "$folder" 96
for by in frames windows; do
  name=events-$by
  "$program" watch "$folder/film.mp4" --run "$folder/run" --by $by \
    --csv "$folder/$name.csv" --html "$folder/$name.html" --answers "$folder/$name.answers.csv" >"$folder/$name.txt"
  "$tool" compare "$folder" "$folder/$name.csv"
done
