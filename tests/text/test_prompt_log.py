"""Logs of prompts: templates, busy users, long prompts and personal data, and a split that users do not cross."""

import json
from collections import Counter

import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Message
from trivium.text.prompt_log import SAME_BEGINNING, TOO_LONG, TOO_MANY, LoggedPrompt, PromptHygiene, split_of
from trivium.text.read import read_prompt_log


def sent(text, user="u"):
    return LoggedPrompt((Message("user", text),), user)


def cleaned(prompts, **options):
    dropped = Counter()
    kept = list(PromptHygiene(**options)(prompts, lambda text: len(text.split()), dropped))
    return [prompt.messages[-1].content for prompt in kept], dropped


def test_prompts_with_a_long_common_beginning_are_one():
    template = "Summarize this text for a child of seven: " * 6
    kept, dropped = cleaned(
        [sent(template + "one"), sent("hi"), sent("hi there"), sent("hi"), sent(template.replace(" ", "\n") + "two", "v")]
    )
    assert kept == [template + "one", "hi", "hi there"]
    assert dropped == {SAME_BEGINNING: 2}


@pytest.mark.parametrize(("prefix_chars", "num_kept"), [(9, 1), (14, 1), (15, 1), (16, 2)])
def test_the_beginning_is_counted_in_characters_after_the_role(prefix_chars, num_kept):
    assert len("user 0123456789") == 15
    assert len(cleaned([sent("0123456789a"), sent("0123456789b")], prefix_chars=prefix_chars)[0]) == num_kept


def test_a_user_gives_at_most_200_and_duplicates_do_not_count():
    prompts = [sent(f"prompt {index // 2}") for index in range(500)] + [sent("mine", "v")]
    kept, dropped = cleaned(prompts)
    assert (len(kept), kept[-1], dropped) == (201, "mine", {SAME_BEGINNING: 200, TOO_MANY: 100})


def test_a_prompt_has_at_most_1000_tokens_in_all_its_turns():
    fits = LoggedPrompt((Message("user", "w " * 500), Message("assistant", "v " * 500)), "u")
    long = LoggedPrompt((*fits.messages, Message("user", "more")), "u")
    kept, dropped = cleaned([fits, long])
    assert (len(kept), dropped) == (1, {TOO_LONG: 1})


def test_personal_data_is_replaced_unless_asked_not_to():
    text = "write to jane.doe@example.com"
    assert cleaned([sent(text)])[0] == ["write to <EMAIL>"]
    assert cleaned([sent(text)], pii=())[0] == [text]


def test_a_user_is_in_one_split_and_the_shares_are_met():
    shares = {"train": 0.8, "valid": 0.1, "test": 0.1}
    splits = [split_of(f"user {index}", 0, shares) for index in range(5000)]
    assert splits == [split_of(f"user {index}", 0, shares) for index in range(5000)]
    assert splits != [split_of(f"user {index}", 1, shares) for index in range(5000)]
    for name, share in shares.items():
        assert abs(splits.count(name) / 5000 - share) < 4 * (share * (1 - share) / 5000) ** 0.5


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_shares_that_are_no_shares_are_refused(shares):
    with pytest.raises(ConfigError, match="at least 0 and together 1"):
        split_of("u", 0, shares)


def test_a_log_is_read_with_its_users(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"prompt": "q", "user_id": user}) + "\n" for user in ("u", 7, None)))
    skipped = []
    assert [prompt.user for prompt in read_prompt_log(path, on_skip=skipped.append)] == ["u", "7"]
    with pytest.raises(DataError, match="line 3: 'user_id' is null"):
        list(read_prompt_log(path))
    with pytest.raises(DataError, match=r"line 1: 'ip' is missing \(found: prompt, user_id\)"):
        list(read_prompt_log(path, "ip"))
