"""Messages in, answers out: the chat template and the tokenizer around a generation backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from .generator import Completion, Generator, Sampling

Message = dict[str, str]

# Renders what `Speaker` makes of messages for a tokenizer without a chat template.
PLAIN_CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] + '\\n\\n' }}{% endfor %}"


@dataclass(frozen=True)
class Turn:
    """One model call: the prompt's messages and tokens, the completion's tokens and text."""

    messages: list[Message]
    prompt_ids: list[int]
    completion: Completion
    text: str


class Speaker:
    """Answers conversations, each batch as one adapter.

    Args:
        generator: continues tokens.
        tokenizer: renders the chat template, encodes and decodes.
        chat_template_kwargs: passed to the chat template.
    """

    def __init__(
        self,
        generator: Generator,
        tokenizer: PreTrainedTokenizerBase,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ):
        self.generator = generator
        self.tokenizer = tokenizer
        self.chat_template_kwargs = dict(chat_template_kwargs or {})

    def answer(
        self,
        conversations: Sequence[list[Message]],
        adapter: str,
        sampling: Sampling,
        **chat_template_kwargs: Any,
    ) -> list[Turn]:
        """Answers each conversation once, in their order, all as one batch of `generator`.

        `chat_template_kwargs` go before the speaker's own.
        """
        if not conversations:
            return []
        prompt_ids = self.encode(conversations, **chat_template_kwargs)
        completions = self.generator.generate(prompt_ids, adapter, sampling)
        return list(map(self._turn, conversations, prompt_ids, completions))

    def submit(
        self,
        conversations: Sequence[list[Message]],
        adapter: str,
        sampling: Sampling,
        **chat_template_kwargs: Any,
    ) -> list[tuple[int, Callable[[Completion], Turn]]]:
        """Begins to answer each conversation once, where `generator` streams.

        Returns, for each in their order, the ticket that the generator's `finished` will name, and
        what makes a turn of the completion that comes with it.
        """
        prompt_ids = self.encode(conversations, **chat_template_kwargs)
        return [
            (self.generator.submit(ids, adapter, sampling), partial(self._turn, conversation, ids))
            for conversation, ids in zip(conversations, prompt_ids, strict=True)
        ]

    def _turn(self, messages: list[Message], prompt_ids: list[int], completion: Completion) -> Turn:
        return Turn(messages, prompt_ids, completion, self.decode(completion.token_ids))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a completion's tokens, without special ones."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def encode(
        self, conversations: Sequence[list[Message]], **chat_template_kwargs: Any
    ) -> list[list[int]]:
        """The tokens that each conversation's answer begins after; `chat_template_kwargs` as for
        `answer`.
        """
        kwargs = self.chat_template_kwargs | chat_template_kwargs
        encoded: dict[str, list[int]] = {}  # the M plans of a problem share one prompt
        prompt_ids = []
        for conversation in conversations:
            text = self._render(conversation, kwargs)
            if text not in encoded:
                encoded[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            prompt_ids.append(encoded[text])
        return prompt_ids

    def _render(self, messages: list[Message], kwargs: dict[str, Any]) -> str:
        if self.tokenizer.chat_template is None:  # a base model continues the plain text
            return "\n\n".join(message["content"] for message in messages) + "\n\n"
        return self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **kwargs
        )
