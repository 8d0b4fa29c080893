"""CSV and Parquet as sources, with the line of whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from corpus.builders import valid
from eyeline.errors import EyelineError
from eyeline.images import read_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for name in "abcdefgh":
        (tmp_path / "img" / f"{name}.png").write_bytes(valid("PNG"))
    return tmp_path


def write(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path: Path, **options: str) -> EyelineError:
    with pytest.raises(EyelineError) as caught:
        read_images(path, **options)
    assert caught.value.path is not None
    assert caught.value.path.startswith(str(path))
    return caught.value


FOUR = "path,label\nimg/a.png,good\nimg/b.png,good\nimg/c.png,bad\nimg/d.png,bad\n"


def test_plain(folder: Path) -> None:
    table = read_images(write(folder, FOUR))
    assert table.name == "list"
    assert table.paths == tuple(str(folder / f"img/{name}.png") for name in "abcd")
    assert table.labels == ("good", "good", "bad", "bad")
    assert table.classes == ("good", "bad")
    assert (table.splits, table.groups, table.masks, table.weights) == (None,) * 4
    assert table.slices == {}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + FOUR.replace("\n", "\r\n"),  # as Excel writes it
        FOUR.replace(",", ";"),
        FOUR.replace(",", "\t"),
        FOUR.replace("path,label", "Path , LABEL"),
        FOUR.replace("\n", "\n\n").rstrip(),  # blank lines, no newline at the end
        FOUR.replace("img/a.png", '"img/a.png"').replace("good", " good "),
        FOUR.replace("\n", "\r"),  # old Macintosh
    ],
    ids=["bom-crlf", "semicolon", "tab", "case", "blank", "quotes", "cr"],
)
def test_dialects(folder: Path, text: str) -> None:
    table = read_images(write(folder, text))
    assert table.paths == tuple(str(folder / f"img/{name}.png") for name in "abcd")
    assert table.labels == ("good", "good", "bad", "bad")


def test_all_columns(folder: Path) -> None:
    text = """path,label,split,group,mask,weight,line,serial
img/a.png,good,train,w1,,1,north,1
img/b.png,good,Validation,w2,,2.5,south,2
img/c.png,bad,TEST,w3,img/g.png,1e-3,north,3
img/d.png,bad,dev,w2,img/h.png,1,south,4
"""
    table = read_images(write(folder, text))
    assert table.splits == ("train", "val", "test", "val")
    assert table.groups == ("w1", "w2", "w3", "w2")
    assert table.group_source == "given: column group"
    assert table.masks == (None, None, str(folder / "img/g.png"), str(folder / "img/h.png"))
    assert table.weights == (1.0, 2.5, 0.001, 1.0)
    assert table.slices == {"line": ("north", "south", "north", "south")}  # a serial number is no slice
    by_line = read_images(folder / "list.csv", group_by="line")
    assert by_line.groups == table.slices["line"]
    assert by_line.group_source == "given: column line"
    assert read_images(folder / "list.csv", group_by="serial").groups == ("1", "2", "3", "4")
    assert read_images(folder / "list.csv", group_by="folder").groups == ("img",) * 4
    assert read_images(folder / "list.csv", group_by="img/(.)").groups == ("a", "b", "c", "d")
    with pytest.raises(EyelineError, match="did you mean line"):
        read_images(folder / "list.csv", group_by="lin")


def test_parquet_gives_the_same(folder: Path) -> None:
    columns = {
        "path": [f"img/{name}.png" for name in "abcd"],
        "label": pyarrow.array(["good", "good", "bad", "bad"]).dictionary_encode(),
        "group": [1, 1, 2, 2],
        "weight": [1.0, 2.0, 1.0, 1.0],
        "mask": [None, None, "img/g.png", None],
    }
    path = folder / "list.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    table = read_images(path)
    assert table.labels == ("good", "good", "bad", "bad")
    assert table.groups == ("1", "1", "2", "2")
    assert table.weights == (1.0, 2.0, 1.0, 1.0)
    assert table.masks == (None, None, str(folder / "img/g.png"), None)
    pyarrow.parquet.write_table(pyarrow.table({**columns, "label": ["good", None, "bad", "bad"]}), path)
    assert "row 2: the label is empty" in str(refused(path))
    assert refused(write(folder, b"PAR1 no", "broken.parquet")).code == "unreadable"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'path'"),
        ("file,label\n", "no column 'path'"),
        ("path,lable\nimg/a.png,good\n", "no column 'label' (did you mean lable?)"),
        ("path,label\n", "no images found"),
        (FOUR + "img/none.png,bad\n", "line 6: "),
        (FOUR + "img,bad\n", "is not a regular file"),
        (FOUR + "img/e.png,\n", "line 6: the label is empty"),
        (FOUR + ",bad\n", "line 6: the path is empty"),
        (FOUR + "img/e.png\n", "line 6: 1 cells, but the header has 2"),
        (FOUR + "img/e.png,bad,extra\n", "line 6: 3 cells"),
        (FOUR + "img/a.png,bad\n", "line 6: "),
        (FOUR + "img/../img/b.png,good\n", "stands on line 3 already"),
        (FOUR + '"img/e.png,bad\n', "after line 5"),
        ("path,label,path\nimg/a.png,good,img/a.png\n", "the column 'path' stands twice"),
        (
            "path,label,split\nimg/a.png,good,trian\n",
            "line 2: split 'trian' is not one of train, val, test (did",
        ),
        ("path,label,split\nimg/a.png,good,\n", "line 2: the split is empty"),
        ("path,label,group\nimg/a.png,good,1\n\nimg/b.png,good,\n", "line 4: the group is empty"),
        ("path,label,weight\nimg/a.png,good,heavy\n", "line 2: weight 'heavy' is not a positive number"),
        ("path,label,weight\nimg/a.png,good,0\n", "weight '0'"),
        ("path,label,weight\nimg/a.png,good,inf\n", "weight 'inf'"),
        ("path,label,mask\nimg/a.png,good,img/none.png\n", "line 2: the mask"),
        ("path,label\nimg/a.png,good\nimg/b.png,good\n", "only one class, 'good'"),
        (FOUR + "img/e.png,void\n", "class 'void' has only 1 image"),
        (FOUR.replace("good", "fine"), "--good"),
    ],
)
def test_what_is_wrong_and_where(folder: Path, text: str, words: str) -> None:
    assert words in str(refused(write(folder, text)))


def test_not_utf8(folder: Path) -> None:
    error = refused(write(folder, FOUR.encode() + "img/e.png,Läufer\n".encode("latin-1")))
    assert error.code == "bad_encoding"
    assert "line 6" in error.message


def test_a_long_csv_is_read_quickly(folder: Path) -> None:
    """Row 18: many rows; a missing file far down is found with its line."""
    names = [f"img/{number}.png" for number in range(20_000)]
    (folder / "img" / "0.png").write_bytes(valid("PNG"))
    for name in names[1:]:
        (folder / name).hardlink_to(folder / "img/0.png")
    text = "path,label\n" + "".join(f"{name},{'bad' if i % 3 else 'good'}\n" for i, name in enumerate(names))
    assert len(read_images(write(folder, text))) == 20_000
    (folder / names[-1]).unlink()
    assert "line 20001" in str(refused(folder / "list.csv"))
