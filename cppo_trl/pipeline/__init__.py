"""All stages of the method in a row, resumable, with one report (METHOD: section 6).

`config` says what a run is told, `stages` turns it into commands, `run` runs those that are not
done yet, `report` shows what came out of each.
"""

from .config import PipelineConfig, PipelineError, read_config
from .run import StageFailed, run_pipeline
from .stages import Stage, stages_of

__all__ = [
    "PipelineConfig",
    "PipelineError",
    "Stage",
    "StageFailed",
    "read_config",
    "run_pipeline",
    "stages_of",
]
