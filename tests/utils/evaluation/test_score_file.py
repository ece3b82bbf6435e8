import csv
import sys
from pathlib import Path

import pytest

from models.errors import UserError
from tests.contract.runs import ROOT, needs_linux
from tests.processes import run
from utils.evaluation.inference import Score
from utils.evaluation.score_file import ScoreFile, read_scores

HEADER = b"image,score,error,model,percentile\r\n"


def add(
    path: Path, *results: Score, images: list[Path] | None = None, datasets: tuple[str, ...] = ("d",)
) -> list[Path]:
    with ScoreFile(path, "m", datasets) as file:
        todo = list(file.todo(images or [result.path for result in results]))
        file.add(results)
        return todo


def test_scores_stay_and_errors_are_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    a, b, c = (Path(f"{name}.png") for name in "abc")
    add(path, Score(a, (0.5,), (None,)), Score(b, error="broken"), Score(c, error="broken"))
    before = HEADER + b"a.png,0.500000,,m,\r\n"
    errors = b"b.png,,broken,m,\r\nc.png,,broken,m,\r\n"
    assert add(path, images=[a, b, a, b]) == [b]  # twice in the list
    assert path.read_bytes() == before + errors  # not lost before another row is there
    strange = Path("\udcff.png")  # not UTF-8
    assert add(path, Score(b, (0.5,), (None,)), Score(strange, error="cut"), images=[a, b, strange]) == [b, strange]
    after = b"c.png,,broken,m,\r\nb.png,0.500000,,m,\r\n\xff.png,,cut,m,\r\n"
    assert path.read_bytes() == before + after
    add(path, Score(strange, error="cut again"), images=[strange])
    assert path.read_bytes() == before + after.replace(b"cut", b"cut again")
    assert add(path, images=[strange, b]) == [strange]


def test_after_a_kill_the_replaced_errors_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    rows = b"b.png,0.5,,m,\r\na.png,0.5,,m,\r\nb.png,,again,m,\r\nb.png,0.5,,m,\r\n"
    path.write_bytes(HEADER + b"a.png,,broken,m,\r\n" + rows + b"c.png,0.5,")
    assert add(path, images=[Path("a.png"), Path("c.png")]) == [Path("c.png")]
    assert path.read_bytes() == HEADER + rows.replace(b"b.png,,again,m,\r\n", b"")


def test_a_file_that_is_cut_anywhere_is_continued(tmp_path: Path) -> None:
    """Names and errors may have quotes and line breaks."""
    path = tmp_path / "scores.csv"
    results = [
        Score(Path("a.png"), (0.5,), (1.0,)),
        Score(Path('b"\n\r\n"".png'), (0.5,), (None,)),
        Score(Path('"c\n'), error='"c\n: not "readable",\r\n\n'),
        Score(Path("d.png"), (0.5,), (1.0,)),
    ]
    add(path, *results)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with ScoreFile(path, "m", ["d"]) as file:
            todo = set(file.todo(result.path for result in results))
            file.add([result for result in results if result.path in todo])
        assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines()), whole[:size]


def test_a_score_stays_when_an_error_of_the_image_follows(tmp_path: Path) -> None:
    """Two files of scores may have been joined."""
    path = tmp_path / "scores.csv"
    path.write_bytes(HEADER + b"a.png,0.5,,m,\r\na.png,,broken,m,\r\n")
    assert add(path, images=[Path("a.png")]) == []
    assert path.read_bytes() == HEADER + b"a.png,0.5,,m,\r\n"


def test_all_rows_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    earlier = [
        Score(Path("=1.png"), (0.25,), (None,)),
        Score(Path("sub/\udcff.png"), error="sub/\udcff.png: broken, cut"),
    ]
    add(path, *earlier)
    now = Score(Path("b.png"), (-0.5,), (12.5,))
    with ScoreFile(path, "m", ["d"]) as file:
        assert list(file.todo([earlier[1].path, now.path])) == [earlier[1].path, now.path]
        file.add([now])
        assert file.results() == [Score(Path("./=1.png"), (0.25,), (None,)), earlier[1], now]
        again = Score(earlier[1].path, error="again")
        file.add([again])
        assert file.results()[1:] == [now, again]
        assert (file.skipped, file.added, file.failed) == (0, 2, 1)


def test_several_regressors_have_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    results = [
        Score(Path("a.png"), (0.5, 0.25, -1.0), (30.0, None, 60.5)),
        Score(Path("b.png"), error="broken"),
        Score(Path("c.png"), (0.5, 0.25, 0.125), (None, None, None)),
    ]
    datasets = ("live", "koniq10k", "mine")
    add(path, *results, datasets=datasets)
    with path.open(newline="", encoding="utf-8") as file:
        first, second, third = csv.DictReader(file)
    assert ",".join(first) == (
        "image,score_live,percentile_live,score_koniq10k,percentile_koniq10k,score_mine,percentile_mine,"
        "percentile_mean,percentile_low,percentile_high,error,model"
    )
    assert [first[name] for name in ("score_mine", "percentile_live", "percentile_koniq10k")] == [
        "-1.000000",
        "30.00",
        "",
    ]
    assert [first[f"percentile_{name}"] for name in ("mean", "low", "high")] == ["45.25", "30.00", "60.50"]
    assert {name for name, value in second.items() if value} == {"image", "error", "model"}
    assert {name for name in third if name.startswith("percentile") and third[name]} == set()
    with ScoreFile(path, "m", datasets) as file:
        assert file.results() == results
    before = path.read_bytes()
    for others in (("live",), ("live", "mine"), ("koniq10k", "live", "mine")):
        with pytest.raises(
            UserError, match=r"not a file of scores of .*its columns are image,score_live.*another --output"
        ):
            add(path, datasets=others)
    with pytest.raises(UserError, match="of one regressor"):
        read_scores(path)
    with pytest.raises(UserError, match="--output: two columns would be called percentile_mean"):
        add(tmp_path / "other.csv", datasets=("mine", "mean"))
    assert path.read_bytes() == before


QUOTED = b"\xef\xbb\xbf" + b",".join(b'"%s"' % name for name in HEADER.strip().split(b",")) + b"\n"


@pytest.mark.parametrize("start", [b"", b"ima", HEADER[:-1], HEADER, b"\xef\xbb\xbf" + HEADER, QUOTED])
def test_a_cut_header_and_a_byte_order_mark_are_no_obstacle(tmp_path: Path, start: bytes) -> None:
    """A spreadsheet program adds the mark when it saves the file again."""
    path = tmp_path / "scores.csv"
    path.write_bytes(start)
    add(path, Score(Path("a.png"), (0.5,), (None,)))
    assert path.read_bytes() == (start if start.startswith(b"\xef") else HEADER) + b"a.png,0.500000,,m,\r\n"


@pytest.mark.parametrize(
    "content",
    [b"other,file\r\n1,2", b"a note", HEADER + b"a.png,0.5,,another model,\r\nb.png", HEADER + b"a.png,0.5\r\n"],
)
def test_another_file_is_refused_and_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match="give another --output"):
        add(path, Score(Path("a.png"), (0.5,), (None,)))
    assert path.read_bytes() == content


ROWS = b"".join(b"%d.png,0.5,,m,\r\n" % i for i in range(9))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"a.png,half,,m,\r\n", "'half'"),
        (b"a.png,nan,,m,\r\n", "nan is not finite"),
        (ROWS + b"a.png,0,5,,m,\r\n", "row 10 has 6 values"),
        (ROWS.replace(b"3.png", b'3".png'), "a quotation mark is not closed after row 3"),
        (ROWS.replace(b"8.png", b'8".png'), "a quotation mark is not closed after row 8"),
        (b'a".png,0.5,,m,\r\n' + 10_000 * ROWS, "a quotation mark is not closed at byte"),
    ],
)
def test_a_damaged_row_is_an_error_and_nothing_is_lost(tmp_path: Path, rows: bytes, message: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(HEADER + rows)
    with pytest.raises(UserError, match=f"not a file of scores .*{message}"):
        add(path, Score(Path("b.png"), (0.5,), (None,)))
    assert path.read_bytes() == HEADER + rows


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(HEADER + b"\r\n" + ROWS + b"\n")
    assert add(path, images=[Path("0.png"), Path("9.png")]) == [Path("9.png")]


@pytest.mark.parametrize("name", ["=cmd()+1.png", "-1.png", "\t=1.png", "\uff1d1.png"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(tmp_path: Path, name: str) -> None:
    path, image, broken = tmp_path / "scores.csv", Path(name), Path(f"{name}.jpg")
    add(path, Score(image, (0.5,), (None,)), Score(broken, error=f"{broken}: not a readable image"))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == [f"./{name}", f"./{name}.jpg"]
    assert rows[1][2] == f"./{name}.jpg: not a readable image"
    assert Path(rows[0][0]) == image  # a script finds the same file
    assert add(path, images=[image, broken]) == [broken]


MEMORY = """
import resource, sys
from pathlib import Path
from utils.evaluation.score_file import ScoreFile

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = (Path(f"{folder}/{i:08d}.png") for folder in ("folder", "other") for i in range(300_000))
with ScoreFile(Path(sys.argv[1]), "m", ["d"]) as scores:
    assert sum(1 for _ in scores.todo(images)) == scores.skipped == 300_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@needs_linux
@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="pathlib of Python 3.12 keeps all names")
def test_memory_grows_neither_with_the_list_nor_with_the_file(tmp_path: Path) -> None:
    """600,000 names take 25 MB in SQLite, and 60 MB in a set."""
    path = tmp_path / "scores.csv"
    with path.open("wb") as file:
        file.write(HEADER)
        file.writelines(b"folder/%08d.png,0.500000,,m,50.00\r\n" % i for i in range(300_000))
    ended = run([sys.executable, "-c", MEMORY, str(path)], cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) < 18
