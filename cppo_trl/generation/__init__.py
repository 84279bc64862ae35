"""Token generation behind one small interface: prompts, a role and sampling in; completions out."""

from .generator import Completion, Generator, Sampling
from .transformers_generator import TransformersGenerator

__all__ = ["Completion", "Generator", "Sampling", "TransformersGenerator"]
