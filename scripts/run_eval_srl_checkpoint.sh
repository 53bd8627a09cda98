#!/usr/bin/env bash
# A trained checkpoint on AIME 2024, AIME 2025 and AMC 2023: greedy and Avg@32 on each. The prompt
# template is the one that the checkpoint records. A run cut short goes on where it was.
#
#   scripts/run_eval_srl_checkpoint.sh CHECKPOINT [OUTPUT_DIR] [further srl-eval flags…]
set -euo pipefail

checkpoint=${1:?usage: scripts/run_eval_srl_checkpoint.sh CHECKPOINT [OUTPUT_DIR] [flags…]}
output=${2:-results/$(basename "$(dirname "$checkpoint")")_$(basename "$checkpoint")}
shift $(($# < 2 ? $# : 2))

for task in ${SRL_EVAL_TASKS:-aime24 aime25 amc23}; do
  for mode in greedy avg32; do
    uv run srl-eval "$task" --model-path "$checkpoint" --mode "$mode" \
      --output-dir "$output/${task}_$mode" "$@"
  done
done
