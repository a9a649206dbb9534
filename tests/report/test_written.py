"""The section on conversations that models wrote: counts, a table of a hundred, and nothing in them that a browser would run."""

import json

from trivium.report.reading import read_record
from trivium.report.written import written


def section(tmp_path, told):
    (tmp_path / "magpie").mkdir()
    (tmp_path / "magpie/written.json").write_text(json.dumps(told))
    return written(read_record(tmp_path))


def test_verdicts_and_samples_are_shown(tmp_path):
    rows = [{"query": f"query {number}", "answer": "<b>bold</b>", "verdict": "valid"} for number in range(100)]
    text = section(tmp_path, {"verdicts": {"valid": 990, "asks for nothing": 10}, "shown": rows})
    assert "990 (99.0 %)" in text
    assert "asks for nothing" in text
    assert "the first 100 of 1,000" in text
    assert text.count("<tr>") == 101
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    assert "<b>bold" not in text


def test_a_file_without_what_is_expected_is_shown_as_far_as_it_goes(tmp_path):
    assert "magpie" in section(tmp_path, {"verdicts": {"valid": "many"}, "shown": [3, {"query": None}]})


def test_without_a_file_the_section_says_so(tmp_path):
    assert "no stage of this run left a written.json" in written(read_record(tmp_path))
