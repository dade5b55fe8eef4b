#!/bin/bash
# What a GPU has to show, on a machine without Cargo, in at most some ten minutes:
#
#     run.sh PROGRAM BENCH FOLDER [PART…]
#
# PROGRAM is `gru-rcn` and BENCH the example `bench_device`, both built with the feature cuda-nvrtc; FOLDER takes the
# results. The machine needs the driver, a CUDA toolkit and python3 with torch. Parts, all by default, in this order:
#
#     look      the card, the toolkit, `doctor`
#     compare   losses of one training on the CPU and on the GPU, step by step
#     tiny      the recipe motion-tiny on both, in float32, and on the GPU in bfloat16
#     speed     tests/peers/device_bench.py
#     motion    the recipe motion on the GPU, stopped and resumed
set -u
program=$(realpath "$1") bench=$(realpath "$2") out=$(realpath "$3")
shift 3
parts=${*:-look compare tiny speed motion}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
# Kernels found by tuning are kept in FOLDER/kernels.tar.gz; a later call that is given that file in KERNELS need not
# search again.
export HOME=$work
mkdir -p "$work/.cache"
[ -n "${KERNELS:-}" ] && tar -xzf "$KERNELS" -C "$work"

# The folder of the toolkit, with its headers, and NVRTC where the program finds it.
if [ -z "${CUDA_PATH:-}" ]; then
  header=$(find /usr /opt -name cuda_runtime.h -not -path '*/triton/*' 2>/dev/null | head -1)
  export CUDA_PATH=$(dirname "$(dirname "$header")")
fi
nvrtc=$(find "$CUDA_PATH" /usr /opt -name 'libnvrtc.so*' 2>/dev/null | head -1)
export LD_LIBRARY_PATH=$(dirname "$nvrtc"):${LD_LIBRARY_PATH:-}

stage() { # stage NAME SECONDS COMMAND…: runs it in `work`, shows its last lines and its time.
  local name=$1 limit=$2 started=$SECONDS
  shift 2
  (cd "$work" && timeout "$limit" "$@") >"$out/$name.log" 2>&1
  local code=$?
  echo "== $name: exit $code, $((SECONDS - started)) s"
  tail -n "${lines:-12}" "$out/$name.log" | cut -c1-600
}

for part in $parts; do
  case $part in
    look)
      echo "CUDA_PATH $CUDA_PATH, NVRTC $nvrtc"
      lines=20 stage card 20 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
      lines=40 stage doctor 90 "$program" doctor --backend cuda
      grep -q "^cuda.*works" "$out/doctor.log" || { echo "the GPU does not compute; no more is tried"; exit 1; }
      ;;
    compare)
      stage compare 120 "$program" compare-backends --backends cpu,cuda
      ;;
    tiny)
      stage tiny-cpu 60 "$program" train motion-tiny --run "$work/tiny-cpu"
      stage tiny-cuda 120 "$program" train motion-tiny --backend cuda --run "$work/tiny-cuda"
      stage tiny-bf16 120 "$program" train motion-tiny --backend cuda --dtype bf16 --run "$work/tiny-bf16"
      for run in tiny-cpu tiny-cuda tiny-bf16; do
        [ -f "$work/$run/metrics.jsonl" ] && cp "$work/$run/metrics.jsonl" "$out/$run.jsonl"
      done
      ;;
    speed)
      lines=40 stage speed "${SPEED_SECONDS:-400}" \
        python3 "$here/../peers/device_bench.py" "$bench" --rounds 10 --limit "${SPEED_LIMIT:-60}" \
        --only "${SPEED_ONLY:-}" --out "$out/speed.json"
      ;;
    motion)
      # Stopped as Ctrl-C does, then resumed.
      stage motion-stopped 60 timeout -s INT 20 "$program" train motion --backend cuda --run "$work/motion"
      lines=25 stage motion 150 "$program" train --resume --backend cuda --run "$work/motion"
      [ -f "$work/motion/run.json" ] && cp "$work/motion/run.json" "$out/motion.json"
      ;;
    *) echo "$part: no such part" ;;
  esac
done
tar -czf "$out/kernels.tar.gz" -C "$work" .cache
