#!/bin/bash
# Fuses two folders on a Slurm cluster: 64 processes, each with its share of the pairs.
#
#     sbatch --export=ALL,A=$PWD/infrared,B=$PWD/visible,OUT=$PWD/fused examples/slurm.sh
#
# Then, when all have ended, one manifest of theirs, and what is missing:
#
#     ddfm merge fused/
#
# To go on after a failure, send it again: what is done is skipped.
#SBATCH --job-name=ddfm
#SBATCH --array=1-64
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue

set -euo pipefail
: "${A:?is the folder of the first sources}" "${B:?is the folder of the second}" "${OUT:?is where to}"

export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
exec ddfm fuse "$A" "$B" -o "$OUT" --shard auto --quiet
