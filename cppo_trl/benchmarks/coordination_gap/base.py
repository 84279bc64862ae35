"""A tiny model that plays the coordination gap, trained from nothing in minutes on a CPU.

`train_base` makes a tokenizer and a Qwen3 of under a million parameters and teaches it four tasks
on the statements of the training split: DIRECT (statement -> a program of any admissible reading),
SOLVE (statement and strategy -> that program), PLAN (statement -> K strategies) and STEP (statement
and notes -> one strategy, out of the notes if there are any), by which methods without tuples plan.
With `latents` there is a fifth, LATENT: as DIRECT, with a number in the prompt that means nothing
yet, so that a method may give it a meaning.
The strategies of its plans are drawn independently of each other, but for a share
`distinct_fraction`, so that the planner it gives reinforcement learning to start from does no
better than independent sampling.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from cppo_trl.plans import format_plan, strategy_labels

from .world import (
    LAYOUTS,
    NUM_READINGS,
    READINGS,
    RULES,
    SPLITS,
    Wording,
    split_wordings,
)

# The base knows these prompts only; they are as short as they can be, since every token costs time.
DIRECT_TEMPLATE = "{statement}\nCODE\n"
PLAN_TEMPLATE = "{statement}\nPLAN\n"
SOLVE_TEMPLATE = "{statement}\nIDEA {strategy}\nCODE\n"
STEP_TEMPLATE = "{statement}\nNOTES\n{notes}\nSTEP\n"
LATENT_TEMPLATE = "{statement}\n{label}: {z}\nCODE\n"
NO_NOTES = "- none"
TASKS = ("direct", "solve", "plan", "step")

# A role's message is the prompt as it stands: no turns, no system prompt.
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
EOS, PAD = "<eos>", "<pad>"
# Words, labels and operators are tokens. A fence and the line that reads the input are one token
# each, because every program has them and every token is one more step of generation.
_TOKEN_PATTERN = (
    r"```python\n[^\n]*input\(\)[^\n]*\nprint\(|\)\n```"
    r"| ?[A-Za-z]+[:(]?| ?[0-9]+|\n|\)| ?[^\sA-Za-z0-9)]+"
)

_RECIPE_VERSION = 2  # raise it when the training below changes: cached checkpoints are then rebuilt


@dataclass(frozen=True)
class BaseSettings:
    """What determines the base model; a cached checkpoint is used when all of it is the same.

    `distinct_fraction` is the share of plan examples without a repeated strategy (the method's
    stage 1 trains on such tuples); in the rest the K strategies are independent draws. `batch_size`
    counts examples of each task. `latents` is how many latent numbers a prompt may name; 0 leaves
    that task out.
    """

    seed: int = 0
    steps: int = 600
    batch_size: int = 12
    learning_rate: float = 4e-3
    distinct_fraction: float = 0.2
    num_strategies: int = NUM_READINGS
    hidden_size: int = 128
    num_layers: int = 3
    latents: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.distinct_fraction <= 1:
            raise ValueError(f"distinct_fraction is {self.distinct_fraction}; it must be 0 to 1")
        if not 2 <= self.num_strategies <= 26:
            raise ValueError(f"num_strategies is {self.num_strategies}; it must be 2 to 26")
        if self.latents != 0 and not 2 <= self.latents <= 26:
            raise ValueError(f"latents is {self.latents}; it must be 0, or 2 to 26")
        if self.distinct_fraction and self.num_strategies > NUM_READINGS:
            raise ValueError(
                f"num_strategies is {self.num_strategies}, but only {NUM_READINGS} strategies of a "
                f"problem differ; use at most {NUM_READINGS}, or distinct_fraction=0"
            )
        for name in (
            "steps",
            "batch_size",
            "learning_rate",
            "hidden_size",
            "num_layers",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")

    def digest(self) -> str:
        """A fingerprint of the settings and of everything that the model is taught."""
        settings = asdict(self)
        if not self.latents:  # a base without that task is what it was before there was one
            del settings["latents"]
        taught = [
            settings,
            _RECIPE_VERSION,
            _TOKEN_PATTERN,
            _vocabulary(),
            READINGS,
        ]
        return hashlib.sha256(json.dumps(taught).encode()).hexdigest()


def fenced(program: str) -> str:
    """A program as a completion: one fenced python block."""
    return f"```python\n{program}\n```"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each word of the world; bytes stand in for all other text.

    Any text survives encoding and decoding. The chat template concatenates the messages.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_TOKEN_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=[PAD, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_vocabulary(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def train_base(
    output_dir: str | Path,
    settings: BaseSettings | None = None,
    *,
    progress: bool = True,
) -> Path:
    """Trains the base and saves it as an ordinary checkpoint, or finds it from an earlier run.

    A run with other settings, or one that was cut off, is replaced. The result depends on the
    settings alone (up to rounding): it uses its own random streams and leaves torch's as they were.
    """
    output_dir = Path(output_dir)
    settings = settings or BaseSettings()
    marker = output_dir / "coordination_gap.json"
    if marker.is_file() and json.loads(marker.read_text())["digest"] == settings.digest():
        return output_dir
    marker.unlink(missing_ok=True)
    tokenizer = make_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = _train(_new_model(tokenizer, settings), tokenizer, settings, progress)
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    # Written last: a checkpoint with a marker is complete.
    marker.write_text(json.dumps({"digest": settings.digest(), **asdict(settings)}, indent=2))
    return output_dir


def _vocabulary() -> list[str]:
    """Texts with every word that the base is taught: what the tokenizer is trained on."""
    texts = [wording.statement for split in SPLITS for wording in split_wordings(split)]
    templates = (DIRECT_TEMPLATE, PLAN_TEMPLATE, SOLVE_TEMPLATE, STEP_TEMPLATE)
    texts += [t.format(statement="", strategy="", notes=NO_NOTES) for t in templates]
    texts += [format_plan([f" {rule.strategy}"] * NUM_READINGS) for rule in RULES.values()]
    texts += [fenced(rule.program(layout)) for rule in RULES.values() for layout in LAYOUTS]
    return texts


def _new_model(tokenizer: PreTrainedTokenizerFast, settings: BaseSettings) -> Qwen3ForCausalLM:
    heads = settings.hidden_size // 32
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=3 * settings.hidden_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=32,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.5 / math.sqrt(settings.hidden_size),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Qwen3ForCausalLM(config)


def _example(task: str, wording: Wording, settings: BaseSettings, draw: random.Random):
    """One (prompt, completion) pair of a task."""
    rules = [RULES[name] for name in READINGS[wording.noun]]
    rule = draw.choice(rules)
    if task == "direct":
        prompt = DIRECT_TEMPLATE.format(statement=wording.statement)
        return prompt, fenced(rule.program(wording.layout))
    if task == "latent":
        z = draw.randrange(settings.latents)
        label = strategy_labels(settings.latents)[z]
        prompt = LATENT_TEMPLATE.format(statement=wording.statement, label=label, z=z + 1)
        return prompt, fenced(rule.program(wording.layout))
    if task == "solve":
        prompt = SOLVE_TEMPLATE.format(statement=wording.statement, strategy=rule.strategy)
        return prompt, fenced(rule.program(wording.layout))
    if task == "step":
        noted = draw.choices(rules, k=draw.randrange(4))
        notes = "\n".join(f"- {noted_rule.strategy}" for noted_rule in noted) or NO_NOTES
        prompt = STEP_TEMPLATE.format(statement=wording.statement, notes=notes)
        return prompt, draw.choice(noted or rules).strategy
    if draw.random() < settings.distinct_fraction:
        plan = draw.sample(rules, settings.num_strategies)
    else:
        plan = draw.choices(rules, k=settings.num_strategies)
    prompt = PLAN_TEMPLATE.format(statement=wording.statement)
    return prompt, format_plan([rule.strategy for rule in plan])


def _batch(
    examples: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and labels of a batch, both (rows, length); labels are -100 off the completion."""
    prompts = tokenizer([prompt for prompt, _ in examples])["input_ids"]
    completions = tokenizer([completion for _, completion in examples])["input_ids"]
    length = max(len(p) + len(c) for p, c in zip(prompts, completions, strict=True)) + 1
    tokens = torch.full((len(examples), length), tokenizer.pad_token_id)
    labels = torch.full_like(tokens, -100)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        target = torch.tensor([*completion, tokenizer.eos_token_id])
        tokens[row, : len(prompt)] = torch.tensor(prompt)
        tokens[row, len(prompt) : len(prompt) + len(target)] = target
        labels[row, len(prompt) : len(prompt) + len(target)] = target
    return tokens, labels


def _train(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    settings: BaseSettings,
    progress: bool,
) -> Qwen3ForCausalLM:
    """Trains on the tasks in equal parts; the loss is the mean over completion tokens."""
    draw = random.Random(settings.seed)
    wordings = split_wordings("train")
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    warmup = max(1, settings.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min((step + 1) / warmup, 1) * (1 + math.cos(math.pi * step / settings.steps)) / 2
        ),
    )
    model.train()
    tasks = (*TASKS, "latent") if settings.latents else TASKS
    steps = tqdm(range(settings.steps), desc="training the base", disable=not progress)
    for _ in steps:
        examples = [
            _example(task, draw.choice(wordings), settings, draw)
            for task in tasks
            for _ in range(settings.batch_size)
        ]
        tokens, labels = _batch(examples, tokenizer)
        # Padding stands on the right, where causal attention does not look: no mask is needed.
        hidden = model.model(input_ids=tokens[:, :-1]).last_hidden_state
        counted = labels[:, 1:] != -100
        logits = model.lm_head(hidden[counted])
        loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:][counted])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        steps.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval()
