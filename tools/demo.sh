#!/usr/bin/env bash
# Draw scenes, train a small Faster R-CNN with AGVM on two processes, show what was measured.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python}
OUT=${1:-work_dirs/demo}
CONFIG=configs/faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb4-10e_scenes.py
export PYTHON AGVM_MM_DATA="$PWD/data" PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

echo '[demo 1/3] drawing 500 scenes: some seconds'
"$PYTHON" tools/dataset_converters/generate_scenes.py data/scenes \
    --train 400 --val 100 --size 96 96 --seed 0
echo "[demo 2/3] training on two processes: about five minutes; the log is in $OUT"
bash tools/dist_train.sh "$CONFIG" 2 --work-dir "$OUT"
echo '[demo 3/3] drawing the curves'
"$PYTHON" tools/analysis_tools/plot_variance.py "$OUT" --quantities phi factor --out "$OUT/variance"
