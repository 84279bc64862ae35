"""A large model behind an OpenAI-compatible endpoint, and the file of its answers."""

from .endpoint import Answer, AnswerError, Endpoint, EndpointError, Question

__all__ = ["Answer", "AnswerError", "Endpoint", "EndpointError", "Question"]
