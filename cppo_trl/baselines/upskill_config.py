"""UpSkillConfig: what UpSkill adds to TRL's GRPOConfig."""

from __future__ import annotations

from dataclasses import dataclass, field

from cppo_trl.methods.direct import LATENT_TEMPLATE
from cppo_trl.methods.method import check_method_template

from .solver_config import SolverConfig, is_whole, refuse_values


@dataclass
class UpSkillConfig(SolverConfig):
    """Configuration of `UpSkillTrainer` (arXiv 2602.22296).

    `num_generations` is the number of attempts at a problem, `num_generations / num_latents` for
    each value of z; all of them are one group.

    Raises:
        ValueError: at construction, for a value that cannot work, with what would.
    """

    num_latents: int = field(
        default=4, metadata={"help": "K: values of the latent number z that a prompt names."}
    )
    mi_weight: float = field(
        default=5.0,
        metadata={"help": "Weight of the mutual-information reward; other rewards have theirs."},
    )
    latent_template: str | None = field(
        default=None,
        metadata={
            "help": "Prompt with {statement} and {z}; None is that of cppo_trl.methods.Latent."
        },
    )

    def __post_init__(self) -> None:
        refuse_values(
            self,
            {
                "num_latents": (lambda k: is_whole(k, 2), "a whole number of 2 or more"),
                "mi_weight": (lambda weight: weight >= 0, "a number of 0 or more"),
            },
        )
        super().__post_init__()
        n, k = self.num_generations, self.num_latents
        if n % k:
            nearest = f"{n // k * k} or {n // k * k + k}" if n > k else f"{k}"
            raise ValueError(
                f"num_generations={n} is not a multiple of num_latents={k}, so some values of z "
                f"would get more attempts than others; allowed: {nearest}."
            )
        check_method_template("latent", self.template)

    @property
    def template(self) -> str:
        """The prompt of this run."""
        return self.latent_template or LATENT_TEMPLATE
