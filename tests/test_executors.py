"""The executors of datatrove run our cleaning: opt-in, where datatrove (and ray) are installed; the core never imports them."""

import pytest

from scripts.executors import main


@pytest.mark.slow
@pytest.mark.parametrize("name", ["local", "ray"])
def test_an_executor_of_datatrove_leaves_the_bytes_of_one_process(name, capsys):
    pytest.importorskip("datatrove.executor", reason="datatrove is not installed: pip install 'datatrove[processing]'")
    if name == "ray":
        pytest.importorskip("ray", reason="ray is not installed: pip install ray")
    assert main([name]) == 0
    assert "the corpus has the same bytes" in capsys.readouterr().out
