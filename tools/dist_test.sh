#!/usr/bin/env bash
# Test on several GPUs (CPU processes where there is none): dist_test.sh CONFIG CHECKPOINT GPUS [arguments]
# On several machines run it on each with NNODES, NODE_RANK, MASTER_ADDR and, if 29500 is taken, PORT.
set -euo pipefail

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if (($# < 3)); then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of test.py]" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
shift 3

source "$TOOLS/rendezvous.sh"

export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" "${TORCHRUN[@]}" "${RENDEZVOUS[@]}" --nproc_per_node="$GPUS" \
    "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
