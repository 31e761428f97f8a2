#!/bin/bash
# 64 shards of one night as a Slurm job array; DIR and OUT are on a disk that all nodes share, or
# in a bucket.
#   array=$(sbatch --parsable slurm-array.sh photos/ results/)
#   sbatch --dependency=afterok:"$array" --wrap 'boatinfer results results/ --finish'
# A shard that failed is repeated alone: sbatch --array=17 slurm-array.sh photos/ results/
#SBATCH --job-name=boatinfer
#SBATCH --array=1-64
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
# SIGTERM a minute before the time is over, to this shell, whose place boatinfer takes: what is done
# is written, and the next run goes on.
#SBATCH --signal=B:TERM@60
set -euo pipefail
shards=${BOATINFER_SHARDS:-64}
exec boatinfer run "$1" -o "$2" --shard "$SLURM_ARRAY_TASK_ID/$shards" --quiet
