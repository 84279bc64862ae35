"""pass@k as a metric of `evaluate`: `evaluate.load(path of this file)`."""

import datasets
import evaluate
import numpy as np

from cppo_trl.evaluation import pass_at_k

_DESCRIPTION = """\
Unbiased pass@k from the outcomes of n >= k attempts at each problem, averaged over the problems."""

_INPUTS = """\
Args:
    predictions: for each problem, whether each of its attempts passed.
    k: numbers of attempts that are allowed, one or a list of them (default: 1).
Returns:
    {"pass@1": ..., ...}, one mean for each k.
"""

_CITATION = """\
@article{chen2021evaluating,
  title={Evaluating Large Language Models Trained on Code},
  author={Mark Chen and others},
  journal={arXiv preprint arXiv:2107.03374},
  year={2021}
}"""


class PassAtK(evaluate.Metric):
    """Unbiased pass@k."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Sequence(datasets.Value("bool"))}),
            reference_urls=["https://arxiv.org/abs/2107.03374"],
        )

    def _compute(self, predictions: list[list[bool]], k: int | list[int] = 1) -> dict[str, float]:
        n, c = (np.array([f(outcomes) for outcomes in predictions]) for f in (len, sum))
        allowed = [k] if isinstance(k, int) else k
        return {f"pass@{each}": float(np.mean(pass_at_k(n, c, each))) for each in allowed}
