"""The table of the method beside its baselines, every row at the same budget (METHOD: section 7).

`rows`, `config` and `read` say what a table is told, `budget` what a row may spend, `cells` turns
rows into stages with commands, `plan` says what they will take, `run` runs those that are not done
yet, `tuning` chooses among what was tried, `results` reads what came out, `report` writes it down.
"""

from .config import TableConfig
from .plan import Planned, planned_cells
from .read import read_table
from .rows import Budget, Row
from .run import reproduce

__all__ = [
    "Budget",
    "Planned",
    "Row",
    "TableConfig",
    "planned_cells",
    "read_table",
    "reproduce",
]
