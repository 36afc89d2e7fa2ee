#!/usr/bin/env bash
# Try everything on a machine with one GPU, 16 cores and no network, in 15 minutes:
#   lab/gpu/run.sh [--dry] [WHEELS [OUT]]
# WHEELS is the folder of lab/gpu/prepare.sh. Every stage has a time limit, a log and a line in
# OUT/summary.jsonl; a stage that fails does not end the run. --dry does the same in small on the CPU,
# with the Python in PYTHON and without installing anything.
set -uo pipefail

DRY=0
if [[ ${1:-} == --dry ]]; then
    DRY=1
    shift
fi
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$ROOT" || exit 1
WHEELS=${1:-work_dirs/gpu_wheels}
OUT=${2:-work_dirs/gpu}
CONFIG=configs/faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb4-10e_scenes.py
PYTHON=${PYTHON:-python3}
failed=0
mkdir -p "$OUT"
: >"$OUT/summary.jsonl"
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" AGVM_MM_DATA="$OUT/data" OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}

stage() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 code start=$SECONDS
    shift 2
    limit=$((DRY ? 3 * limit : limit)) # a CPU is slow
    timeout --kill-after=10 "$limit" "$@" >"$OUT/$name.log" 2>&1
    code=$?
    ((code == 0)) || failed=$((failed + 1))
    printf '{"stage": "%s", "code": %d, "seconds": %d}\n' "$name" "$code" $((SECONDS - start)) \
        >>"$OUT/summary.jsonl"
    printf '%-18s %-8s %4d s  %s\n' "$name" "$( ((code == 0)) && echo passed || echo "code $code")" \
        $((SECONDS - start)) "$(tail -n 1 "$OUT/$name.log" | cut -c1-90)"
}

install_all() {
    set -e
    mkdir -p "$OUT/wheels"
    tar -xJf "$WHEELS/wheels.tar.xz" -C "$OUT/wheels"
    python3 -m venv --system-site-packages "$OUT/venv"
    local pip=("$OUT/venv/bin/python" -m pip install -q --no-index --no-deps --find-links "$OUT/wheels")
    find "$OUT/wheels" -name '*.whl' -print0 | xargs -0 "${pip[@]}"
    # Without a wheel mmcv is compiled, for this GPU alone.
    find "$OUT/wheels" -name '*.tar.gz' -print0 |
        MMCV_WITH_OPS=1 FORCE_CUDA=1 MAX_JOBS=16 PATH="$OUT/venv/bin:$PATH" \
            xargs -0 -r "${pip[@]}" --no-build-isolation
    "$OUT/venv/bin/python" -c 'import mmcv._ext, mmengine, mmdet, torch; assert torch.cuda.is_available()'
}
export -f install_all
export OUT WHEELS

if ((DRY)); then
    export CUDA_VISIBLE_DEVICES=
    MARK='not slow' MODEL=(--model tiny --size 64 --rounds 1) DRAWN=(--train 16 --val 4 --size 64 64) LOADER=0
    amp='' AMP_ARMS=() SUITE=tests/device/test_gpu.py LIMIT=400
else
    stage install 420 bash -c install_all
    PYTHON=$OUT/venv/bin/python
    MARK=gpu MODEL=(--model faster-rcnn_r50 --size 800 --rounds 10) DRAWN=(--train 400 --val 100 --size 96 96) LOADER=4
    amp=--amp AMP_ARMS=(--amp) SUITE=tests/device LIMIT=180
fi
SHORT=(--cfg-options train_dataloader.batch_size=4 train_dataloader.num_workers="$LOADER"
    train_dataloader.persistent_workers=False val_dataloader.num_workers="$LOADER" val_dataloader.persistent_workers=False)
TRAIN=("$PYTHON" tools/train.py "$CONFIG" --work-dir "$OUT/training" --total-batch-size 8 $amp)

stage suite "$LIMIT" "$PYTHON" -m pytest -q -p no:cacheprovider "$SUITE" -m "$MARK" --durations=10
stage cost_float32 120 "$PYTHON" -m lab.device_cost "${MODEL[@]}" --out "$OUT/cost_float32.json"
((DRY)) || stage cost_float16 120 "$PYTHON" -m lab.device_cost "${MODEL[@]}" "${AMP_ARMS[@]}" --out "$OUT/cost_float16.json"
stage draw 60 "$PYTHON" tools/dataset_converters/generate_scenes.py "$AGVM_MM_DATA/scenes" "${DRAWN[@]}" --seed 0
stage train 180 "${TRAIN[@]}" "${SHORT[@]}" train_cfg.max_epochs=1
stage resume 180 "${TRAIN[@]}" --resume "${SHORT[@]}" train_cfg.max_epochs=2
stage test 60 "$PYTHON" tools/test.py "$CONFIG" "$OUT/training/epoch_2.pth" --work-dir "$OUT/test"
stage plot 60 "$PYTHON" tools/analysis_tools/plot_variance.py "$OUT/training" --quantities phi scale --out "$OUT/variance"

echo "$failed stages failed; logs and numbers are in $OUT"
((failed == 0))
