"""Data sets of the hub: the package is played by a few lines, since a test asks nobody on the network."""

import sys
from types import SimpleNamespace

import pytest

from trivium.core.errors import ConfigError, ResourceError
from trivium.text.hub import parse
from trivium.text.read import check_head, read_conversations, read_documents


@pytest.fixture
def datasets(monkeypatch):
    """A stand-in for the package that notes what it was asked for."""

    class DatasetsError(Exception):
        pass

    def load_dataset(name, subset, *, revision, split, streaming):
        fake.asked = (name, subset, revision, split, streaming)
        if name == "nobody/nothing":
            raise DatasetsError("Dataset 'nobody/nothing' doesn't exist\non the Hub")
        return iter(fake.rows)

    fake = SimpleNamespace(__version__="4.1.0", load_dataset=load_dataset, exceptions=SimpleNamespace(DatasetsError=DatasetsError), rows=[])
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


def test_rows_are_streamed_from_the_split_that_was_named(datasets):
    datasets.rows = [{"text": "one"}, {"text": "two", "id": "b"}]
    found = list(read_documents("hf:owner/name[en]@refs/convert#test"))
    assert datasets.asked == ("owner/name", "en", "refs/convert", "test", True)
    assert [(document.text, document.id) for document in found] == [("one", "hf:owner/name[en]@refs/convert#test row 0"), ("two", "b")]
    datasets.rows = [{"instruction": "hi", "output": "hello"}]
    assert len(list(read_conversations("hf:name"))) == 1
    assert datasets.asked == ("name", None, None, "train", True)


def test_only_the_first_rows_are_read_where_a_number_is_named(datasets):
    datasets.rows = iter([{"text": "one"}, {"text": "two"}, {"text": "three"}])
    assert [document.text for document in read_documents("hf:owner/name#train[:2]")] == ["one", "two"]
    assert next(datasets.rows) == {"text": "three"}
    assert datasets.asked[3] == "train"


@pytest.mark.parametrize("source", ["hf:", "hf:a/b/c", "hf:a/b#", "hf:a b", "hf:a/b#x@y z", "hf:a/b#x[:0]", "hf:a/b#x[2:3]"])
def test_what_is_no_reference_is_refused_before_the_network(source):
    with pytest.raises(ConfigError, match="the form is hf:owner/name"):
        check_head(source, "documents")
    with pytest.raises(ConfigError):
        parse(source)


def test_what_the_hub_does_not_have_is_one_line(datasets):
    with pytest.raises(
        ResourceError, match=r"^hf:nobody/nothing: cannot be read from the hub \(Dataset 'nobody/nothing' doesn't exist on the Hub\)$"
    ):
        list(read_documents("hf:nobody/nothing"))


def test_releases_that_run_code_of_data_sets_are_refused(datasets):
    datasets.__version__ = "3.6.0"
    with pytest.raises(ConfigError, match="may run code of a data set"):
        list(read_documents("hf:owner/name"))


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'trivium\[hub\]'"):
        list(read_documents("hf:owner/name"))
