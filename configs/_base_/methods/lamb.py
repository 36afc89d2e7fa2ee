# LAMB: the rate is 0.005 at batch 512 and follows the square root of the batch. It is not clipped,
# because its steps have a length of their own. Neither rate nor weight decay is tuned.
optim_wrapper = dict(
    type='PartsOptimWrapper',
    optimizer=dict(
        type='LAMBOptimizer', lr=0.005 * (16 / 512) ** 0.5, weight_decay=0.01))
