#!/usr/bin/env bash
# Draw scenes, train a small Faster R-CNN with AGVM on two processes, show what was measured.
# All that is written goes to data/ and work_dirs/ of the current directory.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-python}
OUT=${1:-work_dirs/demo}
CONFIG=$ROOT/configs/faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb4-10e_scenes.py
# Two ranks need two GPUs, and the environment may hold an mmcv without CUDA operators.
export CUDA_VISIBLE_DEVICES=
export PYTHON AGVM_MM_DATA="$PWD/data" PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

echo '[demo 1/3] drawing 500 scenes: some seconds'
"$PYTHON" "$ROOT/tools/dataset_converters/generate_scenes.py" data/scenes \
    --train 400 --val 100 --size 96 96 --seed 0
echo "[demo 2/3] training on two processes: two to five minutes; the log is in $OUT"
bash "$ROOT/tools/dist_train.sh" "$CONFIG" 2 --work-dir "$OUT"
echo '[demo 3/3] drawing the curves'
"$PYTHON" "$ROOT/tools/analysis_tools/plot_variance.py" "$OUT" \
    --quantities phi scale --out "$OUT/variance"
