#!/bin/bash
# What a GPU has to show, on a machine without Cargo, in some ten minutes:
#
#     run.sh PROGRAM BENCH FOLDER [PART…]
#
# PROGRAM is `gru-rcn` and BENCH the example `bench_device`, both built with the feature cuda-nvrtc (with
# CUDARC_CUDA_VERSION=13000 for the driver of CUDA 13.0); FOLDER takes the results. The machine needs the driver, a CUDA
# toolkit and python3 with torch. Parts, all by default, in this order:
#
#     warm      everything below once, all at the same time: CubeCL compiles its candidate kernels one after the other on
#               one core of a process, which takes minutes. The kernels and choices are kept in FOLDER/kernels.tar.gz,
#               for a later call that is given the file in KERNELS.
#     doctor    the card, the toolkit, `doctor`
#     tiny      the recipe motion-tiny on the CPU, and on the GPU in float32 and in bfloat16
#     compare   losses of one training on the CPU and on the GPU, step by step
#     speed     tests/peers/device_bench.py, for the workloads in SPEED_ONLY or all
#     motion    the recipe motion on the GPU, stopped and resumed
#     cpu       with OPS and MODEL, the examples `bench_ops` and `bench_model`: tests/peers/ops_bench.py on the processor, for
#               the cases in OPS_ONLY or all; and before it each program in TESTS, such as the tests of gru-rcn-ops
#
# The folder KEEP, if it is given, holds what is compiled and the runs; a second call with it goes on from there.
set -u
program=$(realpath "$1") bench=$(realpath "$2") out=$(realpath "$3")
shift 3
parts=${*:-warm doctor tiny compare speed motion}
peers=$(cd "$(dirname "$0")/../peers" && pwd)
peer=$peers/device_bench.py
work=${KEEP:-$(mktemp -d)}
mkdir -p "$work"
[ -n "${KERNELS:-}" ] && tar -xzf "$KERNELS" -C "$work"
if [ -z "${CUDA_PATH:-}" ]; then
  header=$(find /usr/local/cuda/ /usr /opt -name cuda_runtime.h -not -path '*/triton/*' 2>/dev/null | head -1)
  export CUDA_PATH=$(dirname "$(dirname "$header")")
fi
export LD_LIBRARY_PATH=$CUDA_PATH/lib64:$CUDA_PATH/lib:${LD_LIBRARY_PATH:-}

run() { # run NAME SECONDS COMMAND…: in a folder of its own, where CubeCL keeps what it compiles.
  local name=$1 limit=$2 started=$SECONDS
  shift 2
  mkdir -p "$work/$name"
  printf '[compilation]\ncache = true\n' >"$work/$name/cubecl.toml"
  (cd "$work/$name" && HOME=$work/$name timeout -k 5 "$limit" "$@") >"$out/$name.log" 2>&1
  echo "== $name: exit $?, $((SECONDS - started)) s"
}
show() { # show NAME LINES
  tail -n "$2" "$out/$1.log" | cut -c1-400
}
train() { # train NAME SECONDS ARGUMENTS…: a run of motion-tiny; the name of the run is new each time.
  local name=$1 limit=$2
  shift 2
  run "$name" "$limit" "$program" train motion-tiny --run "$work/$name/run-$SECONDS" "$@"
}

keep() { # Kernels and choices, without the runs.
  (cd "$work" && tar -czf "$out/kernels.tar.gz" --exclude 'run*' .)
}

for part in $parts; do
  case $part in
    warm)
      limit=${WARM_SECONDS:-240}
      run doctor "$limit" "$program" doctor --backend cuda &
      train tiny-cuda "$limit" --backend cuda &
      train tiny-bf16 "$limit" --backend cuda --dtype bf16 &
      run compare "$limit" "$program" compare-backends --backends cpu,cuda --steps 2 &
      run motion "$limit" "$program" train motion --backend cuda --run "$work/motion/warm" --set backbone.pretrain.epochs=1 \
        --set training.epochs=1 &
      run speed "$((limit + 60))" python3 "$peer" "$bench" --warm --limit "$limit" --only "${SPEED_ONLY:-}" --folder "$work" &
      wait
      show speed 20
      keep
      ;;
    doctor)
      echo "CUDA_PATH $CUDA_PATH; $(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader)"
      run doctor 60 "$program" doctor --backend cuda
      show doctor 8
      ;;
    tiny)
      train tiny-cpu 60
      train tiny-cuda 60 --backend cuda
      train tiny-bf16 60 --backend cuda --dtype bf16
      for name in tiny-cpu tiny-cuda tiny-bf16; do
        show "$name" 6
        cat "$work/$name"/run-*/metrics.jsonl >"$out/$name.jsonl"
      done
      ;;
    compare)
      run compare 60 "$program" compare-backends --backends cpu,cuda
      show compare 26
      ;;
    speed)
      run speed "${SPEED_SECONDS:-240}" python3 "$peer" "$bench" --limit "${SPEED_LIMIT:-40}" --only "${SPEED_ONLY:-}" \
        --folder "$work" --out "$out/speed.json"
      show speed 20
      ;;
    motion)
      # Stopped as Ctrl-C does, then resumed.
      run motion 60 timeout -s INT 30 "$program" train motion --backend cuda --run "$work/motion/run"
      show motion 4
      run motion 120 "$program" train --resume --backend cuda --run "$work/motion/run"
      show motion 16
      cp "$work/motion/run/run.json" "$out/motion.json"
      ;;
    cpu)
      for program_of_tests in ${TESTS:-}; do
        run "$(basename "$program_of_tests")" 120 "$(realpath "$program_of_tests")"
        show "$(basename "$program_of_tests")" 3
      done
      grep -m1 'model name' /proc/cpuinfo
      run ops "${OPS_SECONDS:-200}" python3 "$peers/ops_bench.py" "$OPS" "$MODEL" --rounds 2 ${OPS_ONLY:+--only "$OPS_ONLY"}
      show ops 24
      ;;
    *) echo "$part: no such part" ;;
  esac
done
keep
