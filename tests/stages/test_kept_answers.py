"""Whose answers in a folder are an input of a stage, and whose are what it leaves."""

import shutil
from pathlib import Path

import pytest

from trivium.core.commit import commit, fingerprint
from trivium.core.errors import ArtefactError
from trivium.stages.kept_answers import KIND, MAKER, with_kept


def identity(folder: Path, **engine: object) -> dict[str, object]:
    return {"options": {"rollouts": str(folder), "engine": {"kind": "native", **engine}}, "seed": 1, "inputs": {"model": "abc"}}


def leave(folder: Path, phase: int, content: str, mark: str | None) -> None:
    """Answers of a phase, by the stage with this mark; None: of a time before there were marks."""
    meta = {} if mark is None else {MAKER: mark}
    commit(folder / f"{phase:06d}-rollout", lambda place: (place / "answers.safetensors").write_text(content), kind=KIND, meta=meta)


def test_without_a_folder_or_answers_in_it_nothing_is_added(tmp_path):
    none = {"options": {"kind": "finetune"}, "inputs": {}}
    assert with_kept(none) == none
    assert with_kept(identity(tmp_path / "new")) == identity(tmp_path / "new")


def test_what_a_stage_has_left_itself_is_no_input_however_much_it_is(tmp_path):
    mark = fingerprint(with_kept(identity(tmp_path)))
    for phase in range(3):
        leave(tmp_path, phase, f"answers {phase}", mark)
        assert with_kept(identity(tmp_path)) == identity(tmp_path)
    shutil.rmtree(tmp_path / "000001-rollout")
    assert with_kept(identity(tmp_path)) == identity(tmp_path)


@pytest.mark.parametrize("mark", ["somebody", "", None])
def test_what_others_have_left_is_an_input_by_its_content(tmp_path, mark):
    leave(tmp_path, 0, "one", mark)
    before = with_kept(identity(tmp_path))
    assert before["inputs"].keys() == {"model", str(tmp_path)}
    assert with_kept(identity(tmp_path)) == before
    leave(tmp_path, 0, "two", mark)
    assert with_kept(identity(tmp_path)) != before


def test_what_a_stage_adds_to_the_answers_of_others_is_its_own_until_theirs_change(tmp_path):
    leave(tmp_path, 0, "one", "somebody")
    before = with_kept(identity(tmp_path))
    for phase in (1, 2):
        leave(tmp_path, phase, "mine", fingerprint(before))
    assert with_kept(identity(tmp_path)) == before
    leave(tmp_path, 0, "two", "somebody")
    after = with_kept(identity(tmp_path))
    assert after["inputs"][str(tmp_path)].keys() == {"000000-rollout", "000001-rollout", "000002-rollout"}


def test_with_a_lag_answers_are_left_and_none_is_taken(tmp_path):
    leave(tmp_path, 0, "one", "somebody")
    assert with_kept(identity(tmp_path, max_lag=1)) == identity(tmp_path, max_lag=1)
    assert with_kept(identity(tmp_path, max_lag=0)) != identity(tmp_path, max_lag=0)


def test_a_damaged_manifest_is_said_before_anything_is_learned(tmp_path):
    leave(tmp_path, 0, "one", "somebody")
    (tmp_path / "000000-rollout/manifest.json").write_text("{}")
    with pytest.raises(ArtefactError, match="000000-rollout/manifest.json: damaged"):
        with_kept(identity(tmp_path))
