import csv
from pathlib import Path

import pytest

from models.errors import UserError
from utils.evaluation.inference import Score
from utils.evaluation.score_file import ScoreFile

HEADER = b"image,score,error,model,percentile\r\n"


def add(path: Path, *results: Score, images: list[Path] | None = None) -> list[Path]:
    with ScoreFile(path, "m", images or [result.path for result in results]) as file:
        for result in results:
            file.add(result)
        return file.todo


def test_scores_stay_and_errors_are_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    a, b, c = (Path(f"{name}.png") for name in "abc")
    add(path, Score(a, 0.5), Score(b, error="broken"))
    assert add(path, images=[a, b, c]) == [b, c]
    assert path.read_bytes() == HEADER + b"a.png,0.500000,,m,\r\n"
    strange = Path("\udcff.png")  # not UTF-8
    add(path, Score(strange, 0.5), images=[a, strange])
    assert path.read_bytes() == HEADER + b"a.png,0.500000,,m,\r\n\xff.png,0.500000,,m,\r\n"
    assert add(path, images=[strange, b]) == [b]


def test_all_rows_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    earlier = [Score(Path("=1.png"), 0.25), Score(Path("sub/\udcff.png"), error="sub/\udcff.png: broken, cut")]
    add(path, *earlier)
    now = Score(Path("b.png"), -0.5, percentile=12.5)
    with ScoreFile(path, "m", [now.path]) as file:
        file.add(now)
        assert file.results() == [*earlier, now]
    path.write_bytes(HEADER + b"a.png,half,,m,\r\n")
    with ScoreFile(path, "m", [now.path]) as file, pytest.raises(UserError, match=r"not a file of scores .*'half'"):
        file.results()


@pytest.mark.parametrize("start", [b"", b"ima", HEADER[:-1], b"\xef\xbb\xbf" + HEADER])
def test_a_cut_header_and_a_byte_order_mark_are_no_obstacle(tmp_path: Path, start: bytes) -> None:
    """A spreadsheet program adds the mark when it saves the file again."""
    path = tmp_path / "scores.csv"
    path.write_bytes(start)
    add(path, Score(Path("a.png"), 0.5))
    assert path.read_bytes().removeprefix(b"\xef\xbb\xbf") == HEADER + b"a.png,0.500000,,m,\r\n"


@pytest.mark.parametrize("content", [b"other,file\r\n1,2\r\n", HEADER + b"a.png,0.5,,another model,\r\n"])
def test_another_file_is_refused_and_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match="give another --output"):
        add(path, Score(Path("a.png"), 0.5))
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["=cmd()+1.png", "-1.png", "\t=1.png", "\uff1d1.png"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(tmp_path: Path, name: str) -> None:
    path, image, broken = tmp_path / "scores.csv", Path(name), Path(f"{name}.jpg")
    add(path, Score(image, 0.5), Score(broken, error=f"{broken}: not a readable image"))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == [f"./{name}", f"./{name}.jpg"]
    assert rows[1][2] == f"./{name}.jpg: not a readable image"
    assert Path(rows[0][0]) == image  # a script finds the same file
    assert add(path, images=[image, broken]) == [broken]
