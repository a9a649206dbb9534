"""TRL's own loss functions on log-probs that it is given: the loss of a request, and its slope by every log-prob.

The methods of TRL's trainers are called on a stand-in that has the attributes they read, with a model that answers what the request
says. So masks, sums and divisions are TRL's; model, data and optimizer do not matter.
"""

from collections import defaultdict
from contextlib import nullcontext
from types import SimpleNamespace

import torch
from rounds import Rounds, options, versions
from torch.nn.utils.rnn import pad_sequence
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, RewardTrainer, RLOOTrainer, SFTTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.gkd import GKDTrainer
from trl.experimental.orpo import ORPOTrainer


class Rows:
    """Answers of several lengths, padded: values (N, T), which are leaves, and mask (N, T). A prompt of one token stands before them."""

    def __init__(self, rows, dtype):
        self.values = pad_sequence([torch.tensor(row, dtype=dtype) for row in rows], batch_first=True).requires_grad_()
        self.mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
        self.lengths = [len(row) for row in rows]

    def masked(self):
        """What a head gives: 0 where no label is."""
        return self.values * self.mask

    def with_prompt(self, first):
        """The mask with the prompt's token before it, (N, T + 1)."""
        return torch.cat([torch.full((len(self.mask), 1), first), self.mask], dim=1)

    def outputs(self, **more):
        """What TRL's fused head says about these rows."""
        zeros, mask = torch.zeros_like(self.values), self.mask.bool()
        fields = {"entropy": zeros, "log_sum_sq_probs": zeros, "mean_logits": zeros, "is_top1": mask, "label_mask": mask}
        return SimpleNamespace(**{"log_probs": self.masked(), **fields, **more})

    def inputs(self):
        """What a padded batch has."""
        attention, completion = self.with_prompt(1), self.with_prompt(0)
        return {"input_ids": torch.zeros_like(attention), "attention_mask": attention, "completion_mask": completion}

    def slopes(self):
        """Of each answer, as a list of lists."""
        return [row[:length].tolist() for row, length in zip(self.values.grad, self.lengths, strict=True)]


def stand_in(**attributes):
    """A trainer that has what every loss function reads."""
    accelerator = SimpleNamespace(
        device=torch.device("cpu"), num_processes=1, sync_gradients=True, parallelism_config=None, gather=lambda x: x,
        gather_for_metrics=lambda x: x, reduce=lambda x, reduction: x, autocast=nullcontext,
    )  # fmt: skip
    args = SimpleNamespace(gradient_checkpointing_kwargs=None, average_tokens_across_devices=False, **attributes.pop("args", {}))
    common = {"aux_loss_enabled": False, "_metrics": defaultdict(lambda: defaultdict(list)), "_total_train_tokens": 0, "_tp_size": 1}
    model = torch.nn.Module()
    model.is_gradient_checkpointing = False
    return SimpleNamespace(accelerator=accelerator, args=args, model=model, **common, **attributes)


def dpo(request, dtype):
    """DPOTrainer: chosen answers first, then the rejected ones."""
    rows, reference = Rows(request["logprobs"], dtype), Rows(request["ref"], dtype)
    settings = {
        "loss_types": ["sigmoid"], "loss_weights": None, "f_divergence_type": "reverse_kl", "f_alpha_divergence_coef": 0.5,
        "ld_alpha": None, "use_weighting": False, "label_smoothing": 0.0, "beta": 0.1, "args": {"discopop_tau": 0.05},
    } | request["options"]  # fmt: skip
    settings["loss_weights"] = settings["loss_weights"] or [1.0] * len(settings["loss_types"])
    trainer = stand_in(precompute_ref_logps=False, ref_model=lambda **_: reference.outputs(), **settings)
    return rows, DPOTrainer._compute_loss(trainer, lambda **_: rows.outputs(), rows.inputs(), False)


def kto(request, dtype):
    """KTOTrainer: answers with a label, and what decides its estimate of the KL."""
    rows, ref = Rows(request["logprobs"], dtype), [sum(row) for row in request["ref"]]
    settings = {"loss_type": "kto", "beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0} | request["options"]
    others = [torch.tensor([sum(row) for row in request.get(name, [])], dtype=dtype) for name in ("others", "others_ref")]
    trainer = stand_in(precompute_ref_logps=True, calculate_KL="others" in request, _compute_kl_logps=lambda *_: others[0], **settings)
    inputs = rows.inputs() | {
        "label": torch.tensor(request["labels"]),
        "ref_logps": torch.tensor(ref, dtype=dtype),
        "ref_KL_logps": others[1],
    }
    return rows, KTOTrainer._compute_loss(trainer, lambda **_: rows.outputs(), inputs, False)


def two_words(values):
    """Logits of two words, so that the answer's has the log-prob that is asked for; nothing is read after the last token."""
    logits = torch.stack([values, torch.log(-torch.expm1(values.clamp(max=-1e-9)))], dim=-1)
    return torch.cat([logits, torch.zeros_like(logits[:, :1])], dim=1)


def with_logits(trainer_class, request, dtype, **settings):
    """CPO and ORPO read logits."""
    rows = Rows(request["logprobs"], dtype)
    logits = two_words(rows.values)
    inputs, half = rows.inputs(), len(rows.values) // 2
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    fields = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "labels": labels}
    batch = {f"concatenated_{name}": value for name, value in fields.items()} | {"chosen_labels": labels[:half]}
    names = ("concatenated_forward", "get_batch_logps", "cpo_loss", "odds_ratio_loss")
    trainer = stand_in(
        is_encoder_decoder=False, pad_token_id=0, padding_value=0, concatenated_inputs=lambda given, **_: given, label_smoothing=0.0,
        **(settings | request["options"]),
    )  # fmt: skip
    for name in names:
        if hasattr(trainer_class, name):
            function = trainer_class.__dict__[name]
            setattr(trainer, name, function.__func__ if isinstance(function, staticmethod) else function.__get__(trainer))
    loss, _ = trainer_class.get_batch_loss_metrics(trainer, lambda *_, **__: SimpleNamespace(logits=logits), batch)
    return rows, loss


def cpo(request, dtype):
    """CPOTrainer, which is SimPO's too."""
    return with_logits(CPOTrainer, request, dtype, **{"alpha": 0.0, "simpo_gamma": 0.5})


def orpo(request, dtype):
    """ORPOTrainer; it computes the odds in float32."""
    return with_logits(ORPOTrainer, request, dtype)


def gkd(request, dtype):
    """GKDTrainer: the whole distribution of a teacher, whose log-probs are those of `ref`."""
    rows, taught = Rows(request["logprobs"], dtype), Rows(request["ref"], dtype)
    inputs = rows.inputs()
    labels = inputs["input_ids"].masked_fill(inputs.pop("completion_mask") == 0, -100)

    class Teacher(torch.nn.Module):
        def forward(self, **_):
            return SimpleNamespace(logits=two_words(taught.values.detach()))

    trainer = stand_in(teacher_model=Teacher(), generalized_jsd_loss=GKDTrainer.generalized_jsd_loss, **request["options"])
    policy, count = lambda **_: SimpleNamespace(logits=two_words(rows.values)), torch.tensor(sum(rows.lengths))
    return rows, GKDTrainer.compute_loss(trainer, policy, inputs | {"labels": labels}, num_items_in_batch=count)


def reward(request, dtype):
    """RewardTrainer: scores of the chosen answers, then of the rejected ones."""
    rows = Rows([[score] for score in request["logprobs"]], dtype)
    inputs = {"attention_mask": rows.mask}
    if "margin" in request:
        inputs["margin"] = torch.tensor(request["margin"], dtype=dtype)
    trainer = stand_in(args={"center_rewards_coefficient": None} | request["options"])
    return rows, RewardTrainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=rows.values), inputs)


def sft(request, dtype):
    """SFTTrainer."""
    rows = Rows(request["logprobs"], dtype)
    inputs = rows.inputs()
    labels = inputs["input_ids"].masked_fill(inputs.pop("completion_mask") == 0, -100)
    trainer = stand_in(args={"loss_type": "nll"} | request["options"], compute_loss_func=None, label_smoother=None)
    count = torch.tensor(sum(rows.lengths))
    return rows, SFTTrainer.compute_loss(trainer, lambda **_: rows.outputs(), inputs | {"labels": labels}, num_items_in_batch=count)


def policy(trainer_class, request, dtype, **more):
    """GRPOTrainer and RLOOTrainer: answers with an advantage each."""
    rows = Rows(request["logprobs"], dtype)
    entropy = pad_sequence([torch.tensor(row, dtype=dtype) for row in request["entropy"]], batch_first=True)
    settings = {
        "loss_type": "dapo", "importance_sampling_level": "token", "epsilon_low": 0.2, "epsilon_high": 0.2, "beta": 0.0,
        "max_completion_length": 16, "entropy_coef": 0.0, "args": {},
    } | request["options"]  # fmt: skip
    settings["args"] = {
        "delta": None, "use_bias_correction_kl": False, "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05,
        "steps_per_generation": 1,
    } | settings["args"]  # fmt: skip
    trainer = stand_in(
        _get_per_token_logps_and_entropies=lambda *_, **__: (rows.masked(), entropy, None), top_entropy_quantile=1.0,
        off_policy_mask_threshold=None, use_vllm=False, vllm_importance_sampling_correction=False, use_adaptive_entropy=False,
        _entropy_bonus_enabled=settings["entropy_coef"] > 0, current_gradient_accumulation_steps=1, **settings,
    )  # fmt: skip
    mask, prompt = rows.mask, torch.ones(len(rows.mask), 1, dtype=torch.long)
    old, reference = (Rows(request[name], dtype).masked().detach() for name in ("old", "ref"))
    inputs = {
        "prompt_ids": prompt, "prompt_mask": prompt, "completion_ids": torch.zeros_like(mask), "completion_mask": mask,
        "advantages": torch.tensor(request["advantages"], dtype=dtype), "num_items_in_batch": mask.sum(),
        "old_per_token_logps": old, "ref_per_token_logps": reference, "old_logps": old.sum(1),
    }  # fmt: skip
    return rows, trainer_class._compute_loss(trainer, None, inputs)


LOSSES = {
    "dpo": dpo, "kto": kto, "cpo": cpo, "orpo": orpo, "gkd": gkd, "reward": reward, "sft": sft,
    "grpo": lambda request, dtype: policy(GRPOTrainer, request, dtype),
    "rloo": lambda request, dtype: policy(RLOOTrainer, request, dtype),
}  # fmt: skip


def main():
    """Answer until nothing more is wanted."""
    options()
    rounds = Rounds(versions=versions("torch", "transformers", "trl"))
    while True:
        request = rounds.tick()
        rows, loss = LOSSES[request["trainer"]](request, getattr(torch, request["precision"]))
        loss.backward()
        rounds.facts = {"loss": float(loss.detach()), "slopes": rows.slopes()}


if __name__ == "__main__":
    main()
