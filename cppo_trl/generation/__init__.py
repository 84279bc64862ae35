"""Token generation behind one small interface: prompts, a role and sampling in; completions out.

`Speaker` is what stands between messages and tokens, for any backend.
"""

from .continuous_batching_generator import ContinuousBatchingGenerator
from .generator import Completion, Generator, Sampling, StreamingGenerator
from .speaker import Message, Speaker, Turn
from .transformers_generator import TransformersGenerator

__all__ = [
    "Completion",
    "ContinuousBatchingGenerator",
    "Generator",
    "Message",
    "Sampling",
    "Speaker",
    "StreamingGenerator",
    "TransformersGenerator",
    "Turn",
]
