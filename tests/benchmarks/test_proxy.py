import json

from benchmarks import proxy
from benchmarks.proxy import GOAL


def test_it_compares_the_three_together_with_the_three_apart(monkeypatch, capsys):
    monkeypatch.setattr(proxy, "SIZES", {"tiny": ((1, 64), (1, 64))})
    facts = proxy.main(["--quick", "--kernels", "torch"])
    said = capsys.readouterr().out.splitlines()
    assert facts == json.loads(said[-1])
    assert facts["peers"].keys() == {"three apart"}
    assert facts["ratio"] > 0
    assert f"the goal is {GOAL}" in "\n".join(said)
