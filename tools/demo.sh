#!/usr/bin/env bash
# Train a small Faster R-CNN on generated scenes three times with the same images: a small batch, a
# large batch with the same optimizer, a large batch with Muon. Two processes, no GPU.
# All that is written goes to data/ and work_dirs/ of the current directory.
#
# It is one seed; docs/playbook.md has three. The learning rates were searched before on a grid of
# factor 2 until the best was inside (docs/results/miniature/tuning), with three runs for SGD and
# four for Muon, whose slowest does not change the choice: SGD 0.04 at both batches, Muon 0.006 at
# batch 16 and 0.012 at 64. --scale-rule sqrt gives Muon its best rate at 64, and SGD 0.08, which
# was 0.2 box AP below 0.04 in the search and 0.8 above it over three seeds.
#
# Expected: box AP 0.19, 0.14 and 0.28 (torch 2.13, 2026-11-29); 325 s of CPU time in all.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-python}
OUT=${1:-work_dirs/demo}
SMALL=faster-rcnn_r18_fpn_sgd_2xb8-256it_scenes
MUON=faster-rcnn_r18_fpn_muon_2xb8-256it_scenes
LARGE=(--total-batch-size 64 --scale-rule sqrt)
CHANGES=(load_from="$OUT/start/iter_256.pth" train_cfg.val_interval=64)
# Two ranks need two GPUs, and the environment may hold an mmcv without CUDA operators.
export CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1
export PYTHON AGVM_MM_DATA="$PWD/data" PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

train() {
    local name=$1 recipe=$2
    shift 2
    echo "    tools/dist_train.sh configs/miniature/$recipe.py 2 $*"
    bash "$ROOT/tools/dist_train.sh" "$ROOT/configs/miniature/$recipe.py" 2 --quiet \
        --work-dir "$OUT/$name" "$@"
}

echo '[demo 1/6] drawing 1,280 scenes'
"$PYTHON" "$ROOT/tools/dataset_converters/generate_scenes.py" data/miniature \
    --train 1024 --val 256 --size 64 64 --objects 1 4 --seed 0
echo '[demo 2/6] the weights that all three start from: 4,096 images, from random weights'
train start "$SMALL" --seed 1000 --cfg-options load_from=None
echo '[demo 3/6] small batch, SGD: 256 updates of 16 images; AGVM measures and changes nothing'
train sgd_16 "$SMALL" --cfg-options "${CHANGES[@]}" \
    optim_wrapper.type=AGVMOptimWrapper optim_wrapper.agvm.apply=False optim_wrapper.agvm.interval=4
echo '[demo 4/6] large batch, SGD: 64 updates of 64 images, the same images'
train sgd_64 "$SMALL" "${LARGE[@]}" --cfg-options "${CHANGES[@]}"
echo '[demo 5/6] large batch, Muon: 64 updates of 64 images, the same images'
train muon_64 "$MUON" "${LARGE[@]}" --cfg-options "${CHANGES[@]}"
echo '[demo 6/6] all three, with the same 4,096 images'
"$PYTHON" "$ROOT/tools/analysis_tools/compare.py" "$OUT"/{sgd_16,sgd_64,muon_64} --over images \
    --scores coco/bbox_mAP --results-only --out "$OUT/demo"
echo
echo 'This is one seed: two points of box AP (0.02) mean nothing. Three seeds: docs/playbook.md'
