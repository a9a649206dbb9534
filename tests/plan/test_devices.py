import pytest

from trivium.core.errors import ConfigError
from trivium.plan.devices import Cluster, device, device_called, devices, network_of


@pytest.mark.parametrize("name", ["h100", "H100", "NVIDIA H100"])
def test_a_gpu_is_found_by_what_people_call_it(name):
    assert device(name).name == "H100"


@pytest.mark.parametrize("name", ["rtx4090", "RTX 4090", "rtx-4090"])
def test_spaces_and_dashes_do_not_matter(name):
    assert device(name).name == "RTX 4090"


@pytest.mark.parametrize(("name", "suggested"), [("h10", "h100"), ("a1000", "a100"), ("mi300", "mi300x")])
def test_an_unknown_gpu_gets_a_suggestion(name, suggested):
    with pytest.raises(ConfigError, match=f"no GPU '{name}' is known; did you mean '{suggested}'?"):
        device(name)


def test_a_device_is_found_by_its_own_name_the_longer_one_first():
    assert device_called("NVIDIA H100 PCIe").name == "H100 PCIe"
    assert device_called("NVIDIA H100 80GB HBM3").name == "H100"
    assert device_called("AMD EPYC") is None


def test_every_row_of_the_table_is_plausible():
    for each in devices().values():
        assert each.fp8 in (0, pytest.approx(2 * each.bf16, rel=0.02))
        assert 10 <= each.memory_gib <= 300
        assert 0.2e12 <= each.bandwidth <= 10e12
        assert each.price > 0


def test_collectives_get_300_gigabytes_of_a_link_and_40_of_a_400_gigabit_port():
    cluster = Cluster(device("h100"), 64, network_of("400G"))
    assert (cluster.bytes_per_s(8), cluster.bytes_per_s(16)) == (pytest.approx(300e9), pytest.approx(40e9))
    assert (cluster.nodes, cluster.per_node) == (8, 8)


def test_gpus_come_in_whole_nodes():
    with pytest.raises(ConfigError, match="--gpus is 12; from 8 on whole nodes are planned, of 8 each"):
        Cluster(device("h100"), 12)
    with pytest.raises(ConfigError, match="--gpus is 0; it is a number from 1 to 131,072"):
        Cluster(device("h100"), 0)


@pytest.mark.parametrize("text", ["fast", "400", "0G", "-1G"])
def test_a_network_is_given_in_gigabits(text):
    with pytest.raises(ConfigError, match="it is the network's speed for each GPU, such as 100G, 200G, 400G, 800G"):
        network_of(text)
