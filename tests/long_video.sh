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
  changes=()
  for change in "$@"; do changes+=(--set "$change"); done
  "$program" train actions --weights "$weights" --run "$folder/run" "${changes[@]}"
fi
[ -f "$folder/film.mp4" ] || "$tool" compose "$folder" 96
for by in frames windows; do
  name=events-$by
  "$program" watch "$folder/film.mp4" --run "$folder/run" --by $by \
    --csv "$folder/$name.csv" --html "$folder/$name.html" --answers "$folder/$name.answers.csv" >"$folder/$name.txt"
  "$tool" compare "$folder" "$folder/$name.csv"
done
