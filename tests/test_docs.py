"""README and docs/ tell the truth where a program can check it."""

import ast
import csv
import re
from pathlib import Path

import caffe
import pytest
from caffe.proto import caffe_pb2

from two_stream_fusion import metrics
from two_stream_fusion.io import images
from two_stream_fusion.methods import models

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
}
CARDS = {  # of folders: only their links are checked
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for folder in ("caffe_torch", "data_prep", "eval", "experiments", "models", "prototxt", "solver", "tests")
    for path in sorted((ROOT / folder).rglob("*.md"))
}
README, TRAINING, RESULTS = PAGES["README.md"], PAGES["docs/training.md"], PAGES["docs/results.md"]
TEXT = "\n".join(PAGES.values())


def rows(*first):
    """Cells of the table rows whose first cell holds one of the names."""
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in TRAINING.splitlines() if "|" in line
    ]
    return {name: row for row in table for name in first if name in re.split(r"[,\s\[\]]+", row[0])}


NETS = sorted(path.parent.name for path in (ROOT / "prototxt").glob("*/deploy.prototxt"))


@pytest.mark.parametrize("name", NETS)
def test_parameters_of_the_nets(name):
    cells = rows(name)[name]
    position = cells[0].split(", ").index(name)
    stated = int(cells[2].split(", ")[position].replace(" ", ""))
    net = caffe.Net(str(ROOT / "prototxt" / name / "deploy.prototxt"), caffe.TEST)
    assert stated == sum(blob.count for blob in net.learnable_params)


@pytest.mark.parametrize("name", models.names())
def test_models_have_the_psnr_of_their_cards(name):
    card = (ROOT / "models" / name / "readme.md").read_text(encoding="utf-8")
    for page, column in ((README, 3), (TRAINING, 5)):
        row = next(line for line in page.splitlines() if f"models/{name}/readme.md)" in line)
        assert f"that is {row.split('|')[column].strip()} (" in card


RELEASES = sorted(path.parents[1].name for path in (ROOT / "models").glob("*/training/solver.prototxt"))


@pytest.mark.parametrize("name", RELEASES)
def test_the_table_of_releases_has_the_settings_of_their_files(name):
    folder = ROOT / "models" / name / "training"
    solver = models.read_prototxt(folder / "solver.prototxt", caffe_pb2.SolverParameter())
    net = models.read_prototxt(folder / "train_val.prototxt", caffe_pb2.NetParameter())
    data = next(layer.hdf5_data_param for layer in net.layer if layer.type == "HDF5Data")
    options = (folder / "database.txt").read_text().split()
    section = TRAINING.split("\n## Release\n")[1].split("\n## ")[0]
    row = next(line for line in section.splitlines() if line.startswith(f"| {name} |"))
    _, recipe, batch, iterations, _ = [cell.strip() for cell in row.strip("|").split("|")]
    recoloured = ", recoloured" if "--recolour" in options else ""
    assert recipe == f"`{options[options.index('--recipe') + 1]}`{recoloured}"
    assert int(batch) == data.batch_size
    assert int(iterations.replace(" ", "")) == solver.max_iter


def test_readme_is_short():
    assert len(README) <= 9000
    assert len(re.findall(r"\d\.\d", README)) <= 30


def anchors(page):
    """What the headings of a page are linked by."""
    headings = re.findall(r"^#+ (.*)$", page, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*PAGES, *CARDS])
def test_links_lead_somewhere(name):
    for path, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)]+)?\)", {**PAGES, **CARDS}[name]):
        if path.startswith("https://"):
            continue
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), path
        if anchor:
            assert anchor[1:] in anchors(target.read_text(encoding="utf-8")), anchor


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"python ((?:tools|eval|data_prep|experiments|docs)/[\w/]+\.py)", TEXT)))
)
def test_commands_exist(command):
    assert (ROOT / command).is_file()


def test_paths_named_in_pages_exist():
    paths = set(re.findall(r"(?<![\w/.~*-])((?:[\w-]+/)+[\w.-]+\.(?:py|md|prototxt|csv|sh|ipynb))\b", TEXT))
    examples = {path for path in paths if path.startswith("build/") or "NAME" in path}
    assert not [
        path
        for path in sorted(paths - examples)
        if not (ROOT / path).exists() and not (ROOT / "docs" / path).exists()
    ]


COMMANDS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("tools", "eval", "data_prep", "experiments", "docs")
    for path in (ROOT / folder).rglob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_three_examples(command):
    text = (ROOT / command).read_text(encoding="utf-8")
    (examples,) = re.findall(r"^(?:.*\"{3})?examples:\n((?: +\S.*\n)+)", text, re.M)
    assert len(re.findall(r"^  \S", examples, re.M)) >= 3


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", TEXT, re.M))))
def test_make_targets_exist(target):
    name = target[0] or target[1]
    assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("name", ["README.md", "docs/fusing.md"])
def test_the_example_in_python_runs_anywhere(name, tmp_path, rendered_pair, monkeypatch, capsys):
    a, b, _ = (image[:60, :80] for image in rendered_pair)
    images.write(tmp_path / "near.png", a)
    images.write(tmp_path / "far.png", b)
    (example,) = re.findall(r"```python\n(.*?)```", PAGES[name], re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, name, "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    if printed:
        assert list(ast.literal_eval(printed)) == list(metrics.METRICS)
    assert images.read(tmp_path / "sharp.png").shape == a.shape


@pytest.mark.parametrize("name", ["fig5a", "fig5b", "fig5c", "fig5d"])
def test_the_analysis_has_the_kept_numbers(name):
    with open(ROOT / "experiments" / name / "summary.csv", newline="") as file:
        for row in csv.DictReader(file):
            columns = ("PSNR", "parameters", "s per iteration", "s per megapixel")
            numbers = " | ".join(row[column] for column in columns)
            assert f"| {row['label']} | {numbers} |" in RESULTS


@pytest.mark.parametrize(("row", "name"), [("Camera", "camera"), ("the colour pair", "colour")])
def test_the_ground_truth_has_the_kept_scores(row, name):
    kept_table = (ROOT / f"experiments/tables/truth_{name}.md").read_text(encoding="utf-8")
    scores = re.search(r"^\| ground truth \|(.*)\|$", kept_table, re.M)[1].split("|")
    counts = re.search(r"^\| of \d+ rows score more \|(.*)\|$", kept_table, re.M)[1].split("|")
    cells = " | ".join(f"{score.strip()} ({n.strip()})" for score, n in zip(scores, counts))
    assert f"| {row} | {cells} |" in RESULTS


def test_the_tables_have_the_kept_numbers():
    kept_tables = {"13 Lytro pairs": ROOT / "experiments/tables/lytro.md"}
    for number, pair in ((1, "Clock"), (2, "Pepsi")):
        kept_tables[pair] = ROOT / f"experiments/tables/table{number}.md"
    titles = {"ours": "Ours", "ours + select": "Ours+select", "the paper's own": "Ours"}
    lines = re.findall(r"^\| ([\w ]+), ([^|]+?) \|((?: [\d.]+ \|){6})$", RESULTS, re.M)
    assert {pair for pair, *_ in lines} == set(kept_tables)
    for pair, title, cells in lines:
        table = kept_tables[pair].read_text(encoding="utf-8").replace("*", "")
        row = re.search(rf"^\| {re.escape(titles.get(title, title))} \|(.*)\|$", table, re.M)[1].split("|")
        position = 1 if title == "the paper's own" else 0  # theirs are in brackets
        assert [cell.split()[position].strip("()") for cell in row] == re.findall(r"[\d.]+", cells), (
            pair,
            title,
        )
