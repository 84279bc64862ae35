"""All stages of the method in a row, resumable, with one report (METHOD: section 6).

`config` says what a run is told, `stages` turns it into commands, `run` runs those that are not
done yet, `record` keeps what was done with what, `report` shows what came out of each.
"""

from .config import PipelineConfig, PipelineError, read_config
from .run import run_pipeline
from .run_stage import StageFailed
from .stage import Stage
from .stages import stages_of

__all__ = [
    "PipelineConfig",
    "PipelineError",
    "Stage",
    "StageFailed",
    "read_config",
    "run_pipeline",
    "stages_of",
]
