"""Methods that turn a problem into K attempts, and say what they spent.

| method         | K attempts are                                               | source           |
|----------------|--------------------------------------------------------------|------------------|
| `Direct`       | K samples from the statement alone                           |                  |
| `Latent`       | one sample for each z = 1..K, which the prompt names         | arXiv 2602.22296 |
| `PlanAndSolve` | K times a plan, and a program that follows it                | arXiv 2305.04091 |
| `PlanSearch`   | K plans from different sets of observations, a program each  | arXiv 2409.03733 |
| `PlannedTuple` | one plan of K strategies, a program each: the method of CPPO | arXiv 2605.27000 |

Each gets K solver attempts for a problem; what it spends on plans is counted as well. All of them
tell the solver the same contract. `METHODS` has them by name; "trained-direct" and "trained-latent"
are `Direct` and `Latent` with the adapter of a trained solver (`cppo_trl.baselines`).
"""

from .by_name import METHODS, NamedMethod, Setup, Templates
from .direct import Direct, Latent
from .method import Attempted, Method, Spent, Voice
from .plan_and_solve import PlanAndSolve
from .plan_search import PlanSearch
from .planned_tuple import PlannedTuple

__all__ = [
    "METHODS",
    "Attempted",
    "Direct",
    "Latent",
    "Method",
    "NamedMethod",
    "PlanAndSolve",
    "PlanSearch",
    "PlannedTuple",
    "Setup",
    "Spent",
    "Templates",
    "Voice",
]
