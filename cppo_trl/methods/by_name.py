"""The methods that an evaluation is asked for by name, and what each of them is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from cppo_trl.generation import Sampling, Speaker
from cppo_trl.prompts import DEFAULT_PLAN, DEFAULT_SOLVE, Prompts
from cppo_trl.roles import PLANNER, SOLVER
from cppo_trl.rollouts import RolloutPolicy
from cppo_trl.routing import BASE

from . import plan_and_solve, plan_search
from .direct import DIRECT_TEMPLATE, LATENT_TEMPLATE, Direct, Latent
from .method import Method, Voice, check_method_template
from .plan_and_solve import PlanAndSolve
from .plan_search import PlanSearch
from .planned_tuple import PlannedTuple


@dataclass(frozen=True)
class Templates:
    """The prompts of all methods; each class says which fields its own may use.

    Attributes:
        direct: of `Direct`.
        latent: of `Latent`.
        plan_and_solve: the plan of `PlanAndSolve`.
        observe, derive, plan_search: of `PlanSearch`; the last one is its plan.
        plan: of the planner of a tuple.
        solve: of every solver that follows a plan or a strategy.

    Raises:
        ValueError: a template is malformed, has an unknown field, or lacks a required one.
    """

    direct: str = DIRECT_TEMPLATE
    latent: str = LATENT_TEMPLATE
    plan_and_solve: str = plan_and_solve.PLAN_TEMPLATE
    observe: str = plan_search.OBSERVE_TEMPLATE
    derive: str = plan_search.DERIVE_TEMPLATE
    plan_search: str = plan_search.PLAN_TEMPLATE
    plan: str = DEFAULT_PLAN
    solve: str = DEFAULT_SOLVE

    def __post_init__(self) -> None:
        Prompts(self.plan, self.solve)  # checks these two
        for item in fields(self):
            if item.name not in ("plan", "solve"):
                check_method_template(item.name, getattr(self, item.name))


@dataclass(frozen=True)
class Setup:
    """What all methods of an evaluation share, so that only the method differs.

    Attributes:
        speaker: answers as the base and as the adapters.
        num_attempts: K.
        planner, solver: how the tokens of plans, and of programs, are drawn.
        templates: the prompts.
        adapters: role -> the name of its trained adapter, where there is one.
    """

    speaker: Speaker
    num_attempts: int
    planner: Sampling
    solver: Sampling
    templates: Templates = field(default_factory=Templates)
    adapters: Mapping[str, str] = field(default_factory=dict)

    def base_planner(self) -> Voice:
        """The bare base as a planner, which never thinks (METHOD: section 4)."""
        return Voice(self.speaker, BASE, self.planner, {"enable_thinking": False})

    def base_solver(self) -> Voice:
        """The bare base as a solver."""
        return Voice(self.speaker, BASE, self.solver)

    def trained_solver(self) -> Voice:
        """The trained solver."""
        return Voice(self.speaker, self.adapters[SOLVER], self.solver)


@dataclass(frozen=True)
class NamedMethod:
    """A method, made from a setup.

    Attributes:
        make: makes it.
        templates: those that it uses.
        plans: whether it plans before it solves.
        is_tuple: whether a plan is one tuple of K strategies, from 2 to 26.
        trained: the roles whose trained adapters it needs.
        planner_calls: K -> answers about a problem that are no attempts at it.
    """

    make: Callable[[Setup], Method]
    templates: tuple[str, ...]
    plans: bool = True
    is_tuple: bool = False
    trained: tuple[str, ...] = ()
    planner_calls: Callable[[int], int] = field(default=lambda k: 0)


def _direct(setup: Setup) -> Method:
    return Direct(setup.base_solver(), setup.num_attempts, setup.templates.direct)


def _latent(setup: Setup) -> Method:
    return Latent(setup.base_solver(), setup.num_attempts, setup.templates.latent)


def _trained_direct(setup: Setup) -> Method:
    return Direct(setup.trained_solver(), setup.num_attempts, setup.templates.direct)


def _trained_latent(setup: Setup) -> Method:
    return Latent(setup.trained_solver(), setup.num_attempts, setup.templates.latent)


def _plan_and_solve(setup: Setup) -> Method:
    return PlanAndSolve(
        setup.base_planner(),
        setup.base_solver(),
        setup.num_attempts,
        setup.templates.plan_and_solve,
        setup.templates.solve,
    )


def _plan_search(setup: Setup) -> Method:
    return PlanSearch(
        setup.base_planner(),
        setup.base_solver(),
        setup.num_attempts,
        observe_template=setup.templates.observe,
        derive_template=setup.templates.derive,
        plan_template=setup.templates.plan_search,
        solve_template=setup.templates.solve,
    )


def _planned(*trained: str) -> NamedMethod:
    def make(setup: Setup) -> Method:
        templates = setup.templates
        return PlannedTuple(
            RolloutPolicy(
                setup.speaker,
                Prompts(templates.plan, templates.solve),
                setup.num_attempts,
                setup.planner,
                setup.solver,
                {
                    role: setup.adapters[role] if role in trained else BASE
                    for role in (PLANNER, SOLVER)
                },
            )
        )

    return NamedMethod(
        make, ("plan", "solve"), is_tuple=True, trained=trained, planner_calls=lambda k: 1
    )


METHODS: Mapping[str, NamedMethod] = {
    "direct": NamedMethod(_direct, ("direct",), plans=False),
    "latent": NamedMethod(_latent, ("latent",), plans=False),
    "trained-direct": NamedMethod(_trained_direct, ("direct",), plans=False, trained=(SOLVER,)),
    "trained-latent": NamedMethod(_trained_latent, ("latent",), plans=False, trained=(SOLVER,)),
    "plan-and-solve": NamedMethod(
        _plan_and_solve, ("plan_and_solve", "solve"), planner_calls=lambda k: k
    ),
    "plansearch": NamedMethod(
        _plan_search,
        ("observe", "derive", "plan_search", "solve"),
        planner_calls=lambda k: 1 + 2 * k,
    ),
    "untrained-planner": _planned(),
    "planner": _planned(PLANNER),
    "solver": _planned(SOLVER),
    "cppo": _planned(PLANNER, SOLVER),
}
