"""Token generation behind one small interface: prompts, a role and sampling in; completions out.

`Speaker` is what stands between messages and tokens, for any backend.
"""

from .adapter_sync import AdapterSync, AdapterVersion
from .continuous_batching_generator import ContinuousBatchingGenerator
from .generator import Completion, Generator, Sampling, StreamingGenerator
from .speaker import Message, Speaker, Turn
from .transformers_generator import TransformersGenerator
from .vllm_generator import VLLMGenerator
from .vllm_server import VLLMServerError, VLLMServerGenerator

__all__ = [
    "AdapterSync",
    "AdapterVersion",
    "Completion",
    "ContinuousBatchingGenerator",
    "Generator",
    "Message",
    "Sampling",
    "Speaker",
    "StreamingGenerator",
    "TransformersGenerator",
    "Turn",
    "VLLMGenerator",
    "VLLMServerError",
    "VLLMServerGenerator",
]
