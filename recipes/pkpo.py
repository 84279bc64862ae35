"""Train a solver for max@k of its attempts with PKPO (arXiv 2505.15201).

    accelerate launch recipes/pkpo.py --problems problems.jsonl --output_dir runs/pkpo

Without `--config` the settings are those of
`recipes/configs/qwen3.5-4b-base/pkpo.yaml`. Every option of `PKPOConfig`, of TRL's
`ModelConfig` and of `BaselineArguments` can stand in the YAML file or on the command line, which
wins; an unknown one is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trl import ModelConfig

from cppo_trl import PKPOConfig, PKPOTrainer
from cppo_trl.baselines.recipe import BaselineArguments, train
from cppo_trl.recipe_arguments import parse_recipe

ARGUMENTS = (BaselineArguments, PKPOConfig, ModelConfig)
DEFAULT_CONFIG = Path(__file__).parent / "configs" / "qwen3.5-4b-base" / "pkpo.yaml"

if __name__ == "__main__":
    train(PKPOTrainer, *parse_recipe(sys.argv[1:], ARGUMENTS, DEFAULT_CONFIG))
