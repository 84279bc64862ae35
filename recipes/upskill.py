"""Train a solver on prompts that name a latent number with UpSkill (arXiv 2602.22296).

    accelerate launch recipes/upskill.py --problems problems.jsonl --output_dir runs/upskill

Without `--config` the settings are those of
`recipes/configs/qwen3.5-4b-base/upskill.yaml`. Every option of `UpSkillConfig`, of TRL's
`ModelConfig` and of `BaselineArguments` can stand in the YAML file or on the command line, which
wins; an unknown one is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trl import ModelConfig

from cppo_trl import UpSkillConfig, UpSkillTrainer
from cppo_trl.baselines.recipe import BaselineArguments, train
from cppo_trl.recipe_arguments import parse_recipe

ARGUMENTS = (BaselineArguments, UpSkillConfig, ModelConfig)
DEFAULT_CONFIG = Path(__file__).parent / "configs" / "qwen3.5-4b-base" / "upskill.yaml"

if __name__ == "__main__":
    train(UpSkillTrainer, *parse_recipe(sys.argv[1:], ARGUMENTS, DEFAULT_CONFIG))
