"""Which tokens of a plan are those of which strategy, and what advantage each of them has."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from .plans import strategy_spans


def strategy_tokens(
    text: str, k: int, token_ids: Sequence[int], decode: Callable[[Sequence[int]], str]
) -> list[range] | None:
    """The places of each strategy's tokens in a plan, in the order of the labels.

    A token belongs to the strategy in whose lines its first character is; one of several tokens
    that make up a character, to that character's. No token belongs to two strategies.

    Args:
        text: of the plan.
        k: strategies in the plan.
        token_ids: the tokens that were sampled, which need not be those that encoding `text` gives.
        decode: as `text` was decoded from them.

    Returns:
        None where the plan does not parse (`plans.parse_plan`).
    """
    spans = strategy_spans(text, k)
    if spans is None:
        return None

    def characters_before(token: int) -> int:
        prefix = decode(token_ids[:token])
        while not text.startswith(prefix):  # tokens that end within a character
            prefix = prefix[:-1]
        return len(prefix)

    def first_at(place: int) -> int:
        return bisect_left(range(len(token_ids)), place, key=characters_before)

    return [range(first_at(start), first_at(end)) for start, end in spans]


def token_advantages(
    advantage: float,
    credits_K: Sequence[float],
    text: str,
    token_ids: Sequence[int],
    decode: Callable[[Sequence[int]], str],
) -> float | list[float]:
    """The advantage of each token of a plan: the tuple's, and on top its strategy's credit.

    Thoughts, what surrounds the strategies, and the end of the sequence get the tuple's alone.

    Args:
        advantage: of the tuple.
        credits_K: of each strategy, of `advantages.strategy_advantages`.
        text, token_ids, decode: as for `strategy_tokens`.

    Returns:
        One number where no strategy has credit, else one for each token.
    """
    tokens_K = strategy_tokens(text, len(credits_K), token_ids, decode) if any(credits_K) else None
    if tokens_K is None:
        return advantage
    advantages = [advantage] * len(token_ids)
    for tokens, credit in zip(tokens_K, credits_K, strict=True):
        for place in tokens:
            advantages[place] += credit
    return advantages
