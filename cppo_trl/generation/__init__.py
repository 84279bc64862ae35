"""Token generation behind one small interface: prompts, a role and sampling in; completions out.

`Speaker` is what stands between messages and tokens, for any backend.
"""

from .generator import Completion, Generator, Sampling
from .speaker import Message, Speaker, Turn
from .transformers_generator import TransformersGenerator

__all__ = [
    "Completion",
    "Generator",
    "Message",
    "Sampling",
    "Speaker",
    "TransformersGenerator",
    "Turn",
]
