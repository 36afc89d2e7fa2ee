# Sourced by dist_train.sh and dist_test.sh: sets TORCHRUN, what starts the ranks, and RENDEZVOUS, its
# options for where they meet.
NNODES=${NNODES:-1}
TORCHRUN=(-m torch.distributed.run)
if ((NNODES == 1)); then
    TORCHRUN=("$TOOLS/torchrun_loopback.py")
fi
if ((NNODES == 1)) && [[ -z ${PORT:-} ]]; then
    # Port 0: torchrun takes a free one, so that two launches on a machine never meet.
    RENDEZVOUS=(
        --nnodes=1 --rdzv_backend=c10d --rdzv_endpoint=127.0.0.1:0
        --rdzv_id="agvm-$$" --local_addr=127.0.0.1
    )
else
    if ((NNODES > 1)) && [[ -z ${MASTER_ADDR:-} || -z ${NODE_RANK:-} ]]; then
        echo "error: NNODES=$NNODES needs MASTER_ADDR, the address of node 0, and NODE_RANK." >&2
        exit 2
    fi
    RENDEZVOUS=(
        --nnodes="$NNODES" --node_rank="${NODE_RANK:-0}"
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}"
    )
fi
