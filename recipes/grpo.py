"""Train a solver on its own attempts with GRPO (arXiv 2402.03300), TRL's as it is.

    accelerate launch recipes/grpo.py --problems problems.jsonl --output_dir runs/grpo

Without `--config` the settings are those of
`recipes/configs/qwen3.5-4b-base/grpo.yaml`. Every option of `GRPOConfig`, of TRL's
`ModelConfig` and of `BaselineArguments` can stand in the YAML file or on the command line, which
wins; an unknown one is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trl import GRPOConfig, GRPOTrainer, ModelConfig

from cppo_trl.baselines.recipe import BaselineArguments, train
from cppo_trl.recipe_arguments import parse_recipe

ARGUMENTS = (BaselineArguments, GRPOConfig, ModelConfig)
DEFAULT_CONFIG = Path(__file__).parent / "configs" / "qwen3.5-4b-base" / "grpo.yaml"

if __name__ == "__main__":
    train(GRPOTrainer, *parse_recipe(sys.argv[1:], ARGUMENTS, DEFAULT_CONFIG))
