"""reinforce: the policy learns from the scores of its own answers, on a leash to where it started."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.core.types import Example
from trivium.generate.sampling import Sampling
from trivium.learn.credit import GAE, GroupMean
from trivium.learn.objectives.policy_gradient import PolicyGradient
from trivium.learn.objectives.value import Value
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.flops import flops_per_token
from trivium.nn.lora import LoRA
from trivium.score.answers import AnswerRule
from trivium.stages.base import Foresight, Work, check_model, known_model, resolve
from trivium.stages.training import foresee_training, save
from trivium.text.read import check_head, read_field, read_prompts


@component
class Reinforce:
    """PPO (credit gae: a critic, one answer a prompt) or GRPO (credit group_mean: several answers a prompt); leaves `@reinforce/model`.

    Ouyang et al. 2022, section 3.5, without the pre-training term. kl_coef: price of one nat from the starting model, taken
    off the reward. An update is one minibatch; a phase samples prompts_per_phase prompts and makes passes x minibatches updates.
    truth: the rule behind the preferences where it is known; its score is reported, never trained on. lora: see finetune; policy
    and reference share their frozen weights then, and so do critic and judge.
    """

    kind: Literal["reinforce"] = "reinforce"
    model: str
    reward_model: str
    prompts: str
    phases: int = Field(gt=0)
    prompts_per_phase: int = Field(default=64, gt=0)
    answers: int = Field(default=1, gt=0)
    passes: int = Field(default=2, gt=0)
    minibatches: int = Field(default=2, gt=0)
    credit: Annotated[GAE | GroupMean, Field(discriminator="kind")] = GAE()
    objective: PolicyGradient = PolicyGradient()
    value: Value = Value()
    kl_coef: float = Field(default=0.05, ge=0)
    missing_end_penalty: float = -1.0
    sampling: Sampling = Sampling(max_new_tokens=40)
    optimizer: AdamW = AdamW(lr=1e-4, eps=1e-5)
    critic_optimizer: AdamW = AdamW(lr=3e-4, eps=1e-5)
    schedule: Schedule = Schedule()
    max_grad_norm: float = Field(default=1.0, gt=0)
    seq_len: int = Field(default=128, ge=8)
    micro_batch_rows: int = Field(default=16, gt=0)
    truth: AnswerRule | None = None
    lora: LoRA | None = None

    def check(self) -> None:
        if not self.sampling.is_whole:
            raise ConfigError(
                "sampling: reinforcement learning needs the whole distribution; set temperature above 0, top_k=0, top_p=1, min_p=0"
                " and repetition_penalty=1"
            )
        if isinstance(self.credit, GroupMean) and self.answers < 2:
            raise ConfigError(
                "'answers' is 1, but credit group_mean compares answers to one prompt; set answers to 4 or more, or credit=gae"
            )
        check_model(self.model)
        check_model(self.reward_model)
        if not self.prompts.startswith("@"):
            check_head(self.prompts, "prompts", field="asked" if self.truth else "")

    def foresee(self, name: str, known: Foresight) -> Work:
        config = known_model(known, self.model)
        sampled = self.phases * self.prompts_per_phase * self.answers * known.sequence_tokens
        networks = 2 if isinstance(self.credit, GAE) else 1
        work = foresee_training(self, name, config, known, tokens=sampled * self.passes * networks, lora=self.lora)
        reading = sampled * (networks + 1) / 3 * flops_per_token(config, self.seq_len)  # the judge, the reference, the critic: forward only
        return replace(
            work,
            tokens_generated=sampled,
            parameters_sampled=work.parameters,
            flops=work.flops + reading,
            memory_bytes=networks * work.memory_bytes,
        )

    @property
    def steps(self) -> int:
        """Updates of each trainer."""
        return self.phases * self.passes * self.minibatches

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.nn.adapter import frozen_reference
        from trivium.stages.models import Speaker, check_reader, check_room, engine_of, machine_of, same_tokenizer, say_what_is_slower
        from trivium.stages.rollouts import Rollouts
        from trivium.train.annotate import column_of, final_scores, logprobs, values
        from trivium.train.checkpoint import Checkpoints
        from trivium.train.fit import Layout, fit
        from trivium.train.trainer import Trainer

        machine, has_critic = machine_of(run), isinstance(self.credit, GAE)
        policy = Speaker.load(resolve(run, self.model), machine).adapt(self.lora, run.seed)
        scorer = Speaker.load(resolve(run, self.reward_model), machine, has_scalar=True).adapt(self.lora, run.seed)
        same_tokenizer(policy, scorer)
        for speaker in (policy, scorer):
            say_what_is_slower(run, speaker.model)
        critic, reference = scorer.model, frozen_reference(policy.model)
        judge = frozen_reference(critic) if has_critic else critic
        temperature, prompts = self.sampling.temperature, resolve(run, self.prompts)
        prompt_ids = [policy.prompt(messages) for messages in read_prompts(prompts)]
        check_room(prompt_ids, self.sampling, self.seq_len)
        check_reader(prompt_ids, self.sampling, policy, scorer)
        size = {"rows": self.micro_batch_rows, "length": self.seq_len}
        rollouts = Rollouts(
            options=self,
            engine=engine_of(run, policy, rows=self.prompts_per_phase * self.answers),
            prompts=prompt_ids,
            seed=run.seed,
            score=lambda answers, _: final_scores(judge, answers, **size),
            reference=lambda answers: column_of(reference, answers, logprobs, temperature=temperature, **size),
            values=(lambda answers: column_of(critic, answers, values, **size)) if has_critic else None,
            truth=self._truth(policy, prompts),
        )
        common = {"schedule": self.schedule, "steps": self.steps, "max_grad_norm": self.max_grad_norm}
        longest = self.sampling.max_new_tokens
        trainers = [
            Trainer(
                "policy", policy.model, self.objective, self.optimizer(policy.model), temperature=temperature, max_length=longest, **common
            )
        ]
        if has_critic:
            trainers.append(Trainer("critic", critic, self.value, self.critic_optimizer(critic), **common))
        fit(
            run, rollouts, trainers, steps=self.steps, layout=Layout(**size), checkpoints=Checkpoints(run),
            hooks=[rollouts.report], save_multiple=rollouts.steps_per_phase,
        )  # fmt: skip
        save(run, policy, self.lora)
        episodes = self.phases * self.prompts_per_phase * self.answers
        return {"parameters": policy.model.num_parameters, "episodes": episodes, "updates": self.steps}

    def _truth(self, policy: Any, prompts: Any) -> Any:
        """The true score of answers, where the rule behind the preferences is known."""
        if self.truth is None:
            return None
        rule, asked = self.truth, read_field(prompts, "asked")

        def score(answers: Sequence[Example], owners: Sequence[int]) -> np.ndarray:
            return np.array(
                [rule(asked[i], policy.text_of(answer), bool(answer.meta["stopped"])) for answer, i in zip(answers, owners, strict=True)]
            )

        return score
