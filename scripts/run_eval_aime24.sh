#!/usr/bin/env bash
# AIME 2024 as papers report it: one greedy run, then Avg@32. A run cut short goes on where it was.
#
#   scripts/run_eval_aime24.sh [MODEL] [OUTPUT_DIR] [further srl-eval flags…]
set -euo pipefail

model=${1:-Qwen/Qwen2.5-7B-Instruct}
output=${2:-results/$(basename "$model")}
shift $(($# < 2 ? $# : 2))

for mode in greedy avg32; do
  uv run srl-eval aime24 --model "$model" --mode "$mode" --output-dir "$output/aime24_$mode" "$@"
done
