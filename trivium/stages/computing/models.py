"""Models in and out of a stage: the directory, its tokenizer and its chat format belong together."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from trivium.core.config import build, plain
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.run import Run
from trivium.core.types import Conversation, Example, Message, Preference, Solution
from trivium.core.world import world
from trivium.generate.engine import Engine
from trivium.generate.renderings import Prompt
from trivium.generate.sampling import Sampling
from trivium.learn.objectives.process import Process
from trivium.nn import fp8
from trivium.nn.adapter import adapt, fingerprint
from trivium.nn.io.adapter_config import base_of
from trivium.nn.io.directory import SCALAR_FILE, save_model
from trivium.nn.io.peft import load_merged
from trivium.nn.io.proxy_json import FILE as PROXY_FILE, ROLES, ProxyFile, is_proxy, read_proxy
from trivium.nn.io.tokenizer_files import tokenizer_config
from trivium.nn.lora import LoRA
from trivium.nn.model import DTYPES, Model
from trivium.nn.native.block import use, why_not_train
from trivium.nn.native.decoder import Precision, why_not_native
from trivium.nn.native.training import Products
from trivium.nn.promised import weight_of
from trivium.nn.proxy import Contrast, ProxyModel
from trivium.nn.vocabulary import with_vocabulary
from trivium.stages.base import resolve
from trivium.stages.chat_formats import CHAT_KEY, chat_format, read_tokenizer_config
from trivium.stages.machine import Machine
from trivium.stages.use.exchange import model_path
from trivium.text.chat import ChatFormat, render, stop_ids
from trivium.text.steps import answer_span, step_ends
from trivium.text.tokenizer import Tokenizer
from trivium.train.annotate import Tell, column_of, final_scores, nobody, scores


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model with the tokenizer and the chat format it was made with. base: where it was read from.

    chats: of a proxy those of its parts, if they are not all the same; `chat` is its expert's.
    """

    model: Model
    tokenizer: Tokenizer
    chat: ChatFormat
    base: Path = Path()
    chats: tuple[ChatFormat, ...] = ()

    @staticmethod
    def load(path: Path, machine: Machine, *, has_scalar: bool = False, is_later: bool = False) -> "Speaker":
        """Read a model directory onto the machine's device, or an adapter's with the model it belongs to, which it is merged into.

        Of a proxy's directory all three models. is_later: weights that a trainer spreads over ranks are read only then.

        Raises ArtefactError if one of them, the tokenizer or the chat template is missing, damaged or not understood, or if they do not
        belong together.
        """
        if is_proxy(path):
            if has_scalar:
                raise ConfigError(f"{path}: is a proxy of three models, which cannot judge or become a critic; name one model")
            return proxy_speaker(read_proxy(path), path, machine)
        base = base_of(path)
        tokenizer = Tokenizer.load(base)
        later_on = machine.place() if is_later and is_spread(machine) else None
        model = load_merged(path, compute_dtype=DTYPES[machine.precision], has_scalar=has_scalar, later_on=later_on)
        with_kernels(model, machine)
        return Speaker(model.to(machine.place()), tokenizer, chat_format(read_tokenizer_config(base), tokenizer, base), path)

    def adapt(self, lora: LoRA | None, seed: int) -> "Speaker":
        """The same, to be trained: its model frozen in place but for an adapter; without options as it is.

        Raises ConfigError for a proxy, and for a new adapter on another.
        """
        if isinstance(self.model, ProxyModel):
            raise ConfigError(f"{self.base}: is a proxy of three models, which is not trained; train its expert, or the base itself")
        if lora is not None:
            if base_of(self.base) != self.base:
                raise ConfigError(
                    f"{self.base}: is an adapter; a new one needs a whole model below it: name the model that it was merged into"
                )
            adapt(self.model, lora, seed)
            if self.model.trunk.twin is not None:
                use(self.model.trunk)  # a base in int8 has no kernels
        return self

    def with_control(self, names: Sequence[str], machine: Machine, seed: int) -> "Speaker":
        """The same with control tokens that its tokenizer may lack, and rows for them in its model (nn/vocabulary.py)."""
        tokenizer = self.tokenizer.with_control(names)
        model = with_vocabulary(self.model, tokenizer.vocab_size, seed)
        if model is not self.model:
            with_kernels(model, machine)
        return replace(self, model=model, tokenizer=tokenizer)

    def save(self, path: Path) -> None:
        """Commit the model directory."""
        config = {**tokenizer_config(self.tokenizer, self.chat), CHAT_KEY: plain(self.chat)}
        save_model(path, self.model, tokenizer_json=self.tokenizer.to_json(), tokenizer_config=config, stop_ids=self.stop_ids)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return stop_ids(self.tokenizer, self.chat)

    def prompt(self, messages: tuple[Message, ...], begun: str = "") -> np.ndarray:
        """Ids up to where the assistant begins to speak; of a proxy whose parts write turns in different ways a Prompt with all of them.

        begun: what it has said already.
        """
        main, *others = (
            render(messages, self.tokenizer, chat, for_generation=True, begun=begun).tokens for chat in (self.chat, *self.chats)
        )
        return Prompt.of(main, others) if others else main

    def prequery(self, messages: tuple[Message, ...] = ()) -> np.ndarray:
        """Ids up to where the user begins to speak, after these turns."""
        return render(messages, self.tokenizer, self.chat, for_generation=True, speaker="user").tokens

    def demonstration(self, conversation: Conversation, *, train_on: Literal["all", "last"] = "all") -> Example:
        """A conversation with its mask, weighted. train_on: which turns of the assistant count."""
        rendered = render(conversation.messages, self.tokenizer, self.chat, train_on=train_on)
        return Example(rendered.tokens, rendered.loss_mask * np.float32(conversation.weight))

    def last_answer(self, conversation: Conversation) -> Example:
        """The last answer of a conversation, as a reward model reads it."""
        messages = conversation.messages
        last = max(index for index, message in enumerate(messages) if message.role == "assistant")
        return self.answer(messages[:last], messages[last].content)

    def answer(self, prompt: tuple[Message, ...], response: str, *, is_stopped: bool = True) -> Example:
        """A prompt and one answer to it, of which that answer counts alone; one that was cut off has no end token."""
        rendered = render((*prompt, Message("assistant", response)), self.tokenizer, self.chat, train_on="last")
        end = int(np.flatnonzero(rendered.loss_mask)[-1]) + int(is_stopped)
        return Example(rendered.tokens[:end], rendered.loss_mask[:end], meta={"stopped": is_stopped})

    @staticmethod
    def of(run: Run, reference: str, *, has_scalar: bool = False, is_later: bool = False) -> "Speaker":
        """The model behind an option of a stage, as its run computes. Raises what `load` does."""
        return Speaker.load(resolve(run, reference), machine_of(run), has_scalar=has_scalar, is_later=is_later)

    @staticmethod
    def judge_of(run: Run, reference: str, *, is_later: bool = False) -> "Speaker":
        """The reward model behind an option of a stage. Raises what `load_judge` does."""
        return Speaker.load_judge(resolve(run, reference), machine_of(run), is_later=is_later)

    @staticmethod
    def load_judge(path: Path, machine: Machine, *, is_later: bool = False) -> "Speaker":
        """Read a reward model. Raises ArtefactError as `load` does, and for a model that gives every answer the same score."""
        found = Speaker.load(path, machine, has_scalar=True, is_later=is_later)
        if found.model.scalar_head is None or not weight_of(found.model, "scalar_head.weight").any():
            raise ArtefactError(f"{path}: is no reward model: every answer would get the same score; `trivium reward` makes one of it")
        return found

    def judge_by(self, process: Process | None) -> None:
        """Make the scalar head that of a process reward model, or of whole answers, whatever their length."""
        if self.model.scalar_head is None:
            raise RuntimeError("this model has no scalar head")
        self.model.scalar_head.process, self.model.scalar_head.length_slope = None if process is None else plain(process), 0.0

    @property
    def process(self) -> Process | None:
        """The options of a process reward model, which the model directory keeps; None of any other."""
        head = self.model.scalar_head
        if head is None or head.process is None:
            return None
        try:
            return build(Process, head.process)
        except ConfigError as error:
            raise ArtefactError(f"{self.base / SCALAR_FILE}: process: {error}") from None

    def step_columns(self, answers: Sequence[Example], *, rows: int, length: int) -> list[np.ndarray]:
        """Of a process reward model its log-odds at the end of each step of each answer."""
        assert self.process is not None
        ends = step_ends(answers, self.tokenizer, self.process.separator)
        columns = column_of(self.model, answers, scores, rows=rows, length=length)
        return [column[end] for column, end in zip(columns, ends, strict=True)]

    def scores(self, answers: Sequence[Example], *, rows: int, length: int, tell: Tell = nobody) -> np.ndarray:
        """What a reward model of either kind thinks of answers, (N,): the score at the last token, or what their steps make together."""
        process = self.process
        if process is None:
            head = self.model.scalar_head
            found = final_scores(self.model, answers, rows=rows, length=length, tell=tell)
            return found - head.length_slope * lengths(answers) if head is not None and head.length_slope else found
        return np.array([process.of_answer(column) for column in self.step_columns(answers, rows=rows, length=length)])

    def text_of(self, example: Example) -> str:
        """What was said in the part of an example that counts, without control tokens."""
        return self.tokenizer.decode(example.response)


def lengths(answers: Sequence[Example]) -> np.ndarray:
    """Tokens of each answer that count, without its prompt, 0 of one of which none does; (N,)."""
    spans = [answer_span(answer.loss_mask) if answer.loss_mask.any() else slice(0, 0) for answer in answers]
    return np.array([span.stop - span.start for span in spans], np.float64)


def proxy_speaker(described: ProxyFile, path: Path, machine: Machine) -> Speaker:
    """The three models of a proxy as one speaker, with the chat format of its expert; one that is there twice is read once.

    path: of its directory, which need not be there yet.

    Raises ArtefactError if they have different tokenizers, or if the weights are others than those that the proxy was made of.
    """
    parts = {source: Speaker.load(model_path(source), machine) for source in dict.fromkeys(described.parts.values())}
    base, expert, anti_expert = (parts[described.parts[role]] for role in ROLES)
    for role, part in zip(ROLES, (base, expert, anti_expert), strict=True):
        if part.tokenizer.fingerprint != expert.tokenizer.fingerprint:
            raise ArtefactError(
                f"{path}: {role} ({part.tokenizer.vocab_size:,} ids) and expert ({expert.tokenizer.vocab_size:,} ids) have different"
                " tokenizers; a proxy adds word to word, so take three models with one tokenizer"
            )
        if described.weights.get(role, found := fingerprint(part.model)) != found:
            raise ArtefactError(f"{path / PROXY_FILE}: {role} has other weights than when the proxy was made; run `trivium proxy` again")
    model = ProxyModel(base.model, expert.model, anti_expert.model, Contrast(described.alpha, described.top_k))
    chats = (base.chat, expert.chat, anti_expert.chat)
    return Speaker(model, expert.tokenizer, expert.chat, path, () if base.chat == expert.chat == anti_expert.chat else chats)


def with_kernels(model: Model, machine: Machine, products: Products | None = None) -> str | None:
    """Let native kernels compute the model's blocks where the machine is to use them; else the reason in one line. products: see `use`."""
    return use(model.trunk, products) if machine.kernels == "native" else "machine.kernels is torch"


def with_products(model: Model, machine: Machine, seq_len: int) -> None:
    """Let the model be computed in pre-training as the machine is to, on rows of seq_len positions.

    There its head rounds as its blocks do: no log-prob of pre-training is compared with another model's, so speed comes first.

    Raises ConfigError if a size does not suit products in fp8.
    """
    if machine.products == "fp8":
        fp8.use(model.trunk, seq_len)
    else:
        model.is_head_rounded = with_kernels(model, machine, "int8" if machine.products == "int8" else None) is None


def say_what_is_slower(run: Run, model: Model) -> None:
    """Log once a run why a model is trained or read without the kernels that the machine has."""
    if model.device.type != "cpu" and (reason := next(filter(None, (part.why_masks() for part in model.parts)), None)):
        run.log_once(f"packed rows go through fused attention with a mask, which is slower: {reason}")
    for part in model.parts:
        spread = "the weights are spread over ranks" if is_spread(machine_of(run)) else None
        if machine_of(run).kernels == "native" and (reason := why_not_train(part.trunk) or spread):
            run.log_once(f"no native kernels, which is slower: {reason}")


def engine_of(
    run: Run, speaker: Speaker, *, rows: int, precision: Precision | None = None, weight: float = 1.0,
    others: Sequence[tuple[Model, float]] = (),
) -> Engine:  # fmt: skip
    """What samples from a speaker's model in a run; logs once why it does so without the kernels that the machine has.

    precision: of the kernels' weights, as the option `sampler` asks for it, None: the trainer's. weight, others: see Engine. Raises
    ConfigError for a sampler in fewer bits where there are no kernels.
    """
    machine = machine_of(run)
    reason = "machine.kernels is 'torch'" if machine.sampler == "torch" else _why_not_sampled(speaker.model)
    if precision not in (None, "float32") and reason is not None:
        raise ConfigError(f"sampler is '{precision}', which only the C++ kernels have, but {reason}; use sampler=auto")
    engine = Engine(
        speaker.model, stop_ids=speaker.stop_ids, rows=rows, precision=precision or sampling_precision(machine, speaker.model),
        kernels=machine.sampler, log=run.log_once, weight=weight, others=others,
    )  # fmt: skip
    if machine.kernels == "native" and (line := slower_sampling(engine)):
        run.log_once(line)
    return engine


def sampling_precision(machine: Machine, model: Model) -> Precision:
    """What kernels sample in: as the trainer multiplies, so that both round the same weights in the same way."""
    is_native = machine.sampler == "native" and _why_not_sampled(model) is None
    return machine.precision if is_native and machine.precision != "auto" else "float32"


def _why_not_sampled(model: Model) -> str | None:
    """Why kernels do not sample from a model, or from a part of it; None if they do."""
    return next(filter(None, (why_not_native(part.trunk) for part in model.parts)), None)


def slower_sampling(engine: Engine) -> str | None:
    """One line why an engine on a CPU samples without kernels; None if it has them, and on other devices, which have none."""
    is_slower = engine.why_not_native and engine.model.device.type == "cpu"
    return f"no native kernels for sampling, which is slower: {engine.why_not_native}" if is_slower else None


def ranked_group(speaker: Speaker, preference: Preference, needs: Collection[str] = ()) -> tuple[Example, ...]:
    """The answers of a preference as one group with the column `rank`, best first.

    needs: columns that are read; of `margin`, `prob` and `score` those among them are there if the record states them, and no others.
    """
    order = np.argsort(preference.ranks, kind="stable").tolist()
    stated = {name: values for name, values in _judgement(preference, is_swapped=order[0] != 0).items() if name in needs}
    group = []
    for i in order:
        item = speaker.answer(preference.prompt, preference.responses[i], is_stopped=preference.is_stopped[i])
        values = {"rank": preference.ranks[i], **{name: each[i] for name, each in stated.items()}}
        group.append(item.with_columns(**{name: np.full(len(item.tokens), value, np.float32) for name, value in values.items()}))
    return tuple(group)


def judged_steps(speaker: Speaker, solution: Solution, process: Process) -> Example:
    """A solution with the column `correct`, of which only the ends of the steps that were judged count.

    Raises DataError if its text does not read as its steps, because one of them holds the separator.
    """
    item = speaker.answer(solution.prompt, process.separator.join(solution.steps))
    [ends] = step_ends([item], speaker.tokenizer, process.separator)
    if len(ends) != len(solution.steps):
        raise DataError(
            f"a solution of {len(solution.steps)} steps reads as {len(ends)}: steps hold the separator {process.separator!r} between them;"
            f" set objective.separator to what they do not hold, such as '\\n\\n' (the prompt begins: {solution.prompt[0].content[:60]!r})"
        )
    correct, mask = np.zeros(len(item.tokens), np.float32), np.zeros(len(item.tokens), np.float32)
    judged = {int(end): label for end, label in zip(ends, solution.labels, strict=True) if label is not None}
    judged = {end: label for end, label in judged.items() if process.score != "last" or end == ends[-1]}
    mask[list(judged)], correct[list(judged)] = 1.0, list(judged.values())
    return Example(item.tokens, mask, {"correct": correct}, item.meta)


def _judgement(preference: Preference, *, is_swapped: bool) -> dict[str, Sequence[float]]:
    """What the record says of each response: `margin` and `prob`, that the first one as it is listed is the better, of all; its `score`."""
    meta, count = preference.meta, len(preference.responses)
    found: dict[str, Sequence[float]] = {"score": meta["scores"]} if isinstance(meta.get("scores"), list) else {}
    if meta.get("margin") is not None:
        found["margin"] = [meta["margin"]] * count
    if meta.get("prob") is not None:
        found["prob"] = [1 - meta["prob"] if is_swapped else meta["prob"]] * count
    return found


def one_chat(speaker: Speaker) -> Speaker:
    """The speaker, to be asked in ids of one chat format. Raises ConfigError for a proxy whose models write turns in different ways."""
    if speaker.chats:
        raise ConfigError(f"{speaker.base}: is a proxy whose models write turns in different ways, which cannot do this; name one model")
    return speaker


def same_tokenizer(speaker: Speaker, *others: Speaker) -> None:
    """Raise ArtefactError if a model that reads another's ids was made with another tokenizer: they would mean something else."""
    for other in others:
        if other.tokenizer.fingerprint != speaker.tokenizer.fingerprint:
            raise ArtefactError(
                "these models were made with different tokenizers"
                f" ({speaker.tokenizer.vocab_size:,} and {other.tokenizer.vocab_size:,} ids);"
                " a reward model, critic or reference must have that of the model it reads"
            )


def check_room(prompts: Sequence[np.ndarray], sampling: Sampling, seq_len: int) -> None:
    """Raise DataError if a prompt and the longest answer to it may not fit in the rows that read them."""
    longest = max(map(len, prompts))
    if longest + sampling.max_new_tokens > seq_len:
        raise DataError(
            f"a prompt has {longest:,} tokens, and an answer may have {sampling.max_new_tokens:,}: more than seq_len, which is {seq_len:,};"
            " raise seq_len, lower sampling.max_new_tokens, or drop long prompts"
        )


def check_reader(prompts: Sequence[np.ndarray], sampling: Sampling, speaker: Speaker, reader: Speaker) -> None:
    """Raise DataError if an answer of one model, its prompt included, may be longer than what another that reads it can."""
    longest = min(max(map(len, prompts)) + sampling.max_new_tokens, speaker.model.config.max_seq_len)
    reads = reader.model.config.max_seq_len
    if longest > reads:
        raise DataError(
            f"{reader.base}: reads {reads:,} tokens, but a prompt with its answer may have {longest:,};"
            " lower sampling.max_new_tokens, drop long prompts, or take a model with a longer context"
        )


def is_spread(machine: Machine) -> bool:
    """Whether several ranks train weights of which each has a part."""
    return world().size > 1 and not machine.exact


def machine_of(run: Run) -> Machine:
    """The machine settings this run was started with."""
    return build(Machine, run.machine)
