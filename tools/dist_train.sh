#!/usr/bin/env bash
# Train on several GPUs (CPU processes where there is none): dist_train.sh CONFIG GPUS [arguments]
# On several machines run it on each with NNODES, NODE_RANK, MASTER_ADDR and, if 29500 is taken, PORT.
set -euo pipefail

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if (($# < 2)); then
    echo "usage: $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
shift 2

source "$TOOLS/rendezvous.sh"

export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" "${TORCHRUN[@]}" "${RENDEZVOUS[@]}" --nproc_per_node="$GPUS" \
    "$TOOLS/train.py" "$CONFIG" --launcher pytorch "$@"
