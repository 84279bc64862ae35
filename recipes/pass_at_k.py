"""Train a solver on the pass@k of its attempts with Pass@k Training (arXiv 2508.10751).

    accelerate launch recipes/pass_at_k.py --problems problems.jsonl --output_dir runs/pass_at_k

Without `--config` the settings are those of
`recipes/configs/qwen3.5-4b-base/pass_at_k.yaml`. Every option of `PassAtKConfig`, of TRL's
`ModelConfig` and of `BaselineArguments` can stand in the YAML file or on the command line, which
wins; an unknown one is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trl import ModelConfig

from cppo_trl import PassAtKConfig, PassAtKTrainer
from cppo_trl.baselines.recipe import BaselineArguments, train
from cppo_trl.recipe_arguments import parse_recipe

ARGUMENTS = (BaselineArguments, PassAtKConfig, ModelConfig)
DEFAULT_CONFIG = Path(__file__).parent / "configs" / "qwen3.5-4b-base" / "pass_at_k.yaml"

if __name__ == "__main__":
    train(PassAtKTrainer, *parse_recipe(sys.argv[1:], ARGUMENTS, DEFAULT_CONFIG))
