"""Methods that train one solver on its own attempts: what CPPO is compared with.

| trainer           | what it changes against GRPO                                | arXiv      |
|-------------------|-------------------------------------------------------------|------------|
| TRL's GRPOTrainer | nothing                                                     | 2402.03300 |
| `PKPOTrainer`     | advantages whose sum estimates the gradient of max@k        | 2505.15201 |
| `PassAtKTrainer`  | advantages of the pass@k of groups of attempts              | 2508.10751 |
| `UpSkillTrainer`  | a latent number in the prompt, which an attempt has to show | 2602.22296 |

All of them train on `attempt_rows` with `of_problems(verifier)` as the reward.
"""

from .attempts import attempt_rows, of_problems
from .pass_at_k_config import PassAtKConfig
from .pass_at_k_trainer import PassAtKTrainer
from .pkpo_config import PKPOConfig
from .pkpo_trainer import PKPOTrainer
from .upskill_config import UpSkillConfig
from .upskill_trainer import UpSkillTrainer

__all__ = [
    "PKPOConfig",
    "PKPOTrainer",
    "PassAtKConfig",
    "PassAtKTrainer",
    "UpSkillConfig",
    "UpSkillTrainer",
    "attempt_rows",
    "of_problems",
]
