"""Files that are cut off or damaged: what stands before the damage is kept on request, in every format."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from trivium.core.errors import DamagedError, DataError
from trivium.text.read import read_documents

ROWS = b"".join(b'{"text": "%d of many"}\n' % number for number in range(100))


def damaged(name, folder):
    """A file of 100 records (parquet: 1,000, which are read in batches) without its end, or with other bytes there."""
    lines = ROWS.splitlines()
    if name == "a.parquet":
        pq.write_table(pa.table({"text": list(map(str, range(1000)))}), folder / name, row_group_size=100)
        content = bytearray((folder / name).read_bytes())
        page = pq.ParquetFile(folder / name).metadata.row_group(9).column(0).data_page_offset
        content[page : page + 20] = bytes(20)
        return bytes(content)
    return {
        "a.jsonl.gz": gzip.compress(ROWS)[:-10],
        "b.jsonl.gz": gzip.compress(ROWS) + b"no member",
        "a.jsonl.zst": zstandard.ZstdCompressor().compress(ROWS) + zstandard.ZstdCompressor().compress(ROWS)[:-5],
        "a.csv": b"text\n" + b"".join(b"%d\n" % number for number in range(100)) + b"x,y\n",
        "a.csv.gz": gzip.compress(b"text\n" + b"\n".join(b"word %d" % number for number in range(100)))[:-9],
        "a.json": b"[" + b",\n".join(lines) + b",",
        "a.json.gz": gzip.compress(b"[" + b",".join(lines) + b"]")[:-12],
        "a.txt": b"a\xff",
        "a.txt.gz": gzip.compress(b"a text")[:-3],
    }[name]


DAMAGED = {
    "a.jsonl.gz": 95, "b.jsonl.gz": 100, "a.jsonl.zst": 100, "a.csv": 100, "a.csv.gz": 95, "a.json": 100, "a.json.gz": 95, "a.parquet": 768,
    "a.txt": 0, "a.txt.gz": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_what_stands_before_damage_is_kept_on_skip_the_file_is_named_and_the_next_one_read(tmp_path, name):
    (tmp_path / name).write_bytes(damaged(name, tmp_path))
    (tmp_path / "z.jsonl").write_text(json.dumps({"text": "the next file"}))
    skipped = []
    texts = [document.text for document in read_documents(tmp_path, skipped.append)]
    assert DAMAGED[name] <= len(texts) - 1 <= max(100, DAMAGED[name])
    assert texts[-1] == "the next file"
    [error] = skipped
    assert isinstance(error, DamagedError)
    assert str(error).startswith(str(tmp_path / name))
    with pytest.raises(DataError, match=name) as caught:
        list(read_documents(tmp_path))
    assert "\n" not in str(caught.value)


def test_members_of_gzip_one_after_another_are_one_file_with_zeros_behind_it(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(ROWS) * 3 + bytes(5000))
    assert len(list(read_documents(tmp_path / "a.jsonl.gz"))) == 300
