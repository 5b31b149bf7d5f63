"""The report of a run folder: its figures, what stands beside them, and that nothing in it can do harm."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn import metrics as sk

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.evaluate.comparison import make_comparison
from cadx.evaluate.published import our_metric, published
from cadx.evaluate.report import WRITTEN, make_report
from cadx.evaluate.rundata import PHANTOMS, read_run
from cadx.evaluate.tables import selection_table
from cadx.study.presets import presets, read_study

from fake_run import LEAKS, write_fake_run

TITLE = "Cysts & <script>alert('x')</script> 50 % | of_all {x} $y^2$ #1 ~ \\z"
FAILED = "The network needs inputs of 224 pixels <b>or more</b> | here 96_px."
CAVEAT = "The images of one class come from another source."
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000002000154a24f5d0000000049454e44ae426082"
)


def edit(run: Path, **changes: object) -> dict:
    path = run / "study.yaml"
    study = yaml.safe_load(path.read_text(encoding="utf-8"))
    study.update(changes)
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return study


def row(model: str, printed: str) -> dict[str, str]:
    return {"model": model, "published": printed}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folds; one model finished, one with a fold to go, one that failed, one that was not run."""
    folder = tmp_path_factory.mktemp("report") / "run"
    write_fake_run(folder, models=("vit", "resnet", "alexnet", "mobile"), groups=24, folds=3, inner=2, rounds=4)
    study = yaml.safe_load((folder / "study.yaml").read_text())
    for model, title in zip(study["models"], ("ViT", "ResNet|18_b", "AlexNet", "MobileNetV2"), strict=True):
        model["title"] = title
    rows = [row("vit", "ViT"), row("resnet", "ResNet18"), row("alexnet", "AlexNet"), row("mobile", "MobileNetV2")]
    table = {"title": "Table I | nets", "published": "Table I", "metrics": ["accuracy", "precision", "recall"]}
    edit(folder, title=TITLE, published="ipmn", models=study["models"], tables=[{**table, "rows": rows}], caveat=CAVEAT)
    shutil.rmtree(folder / "mobile")
    shutil.rmtree(folder / "alexnet")
    (folder / "alexnet").mkdir()
    (folder / "alexnet" / "failed.json").write_text(json.dumps({"reason": FAILED}))
    (folder / "resnet" / "fold-2" / "predictions.csv").unlink()
    with (folder / "resnet" / "fold-2" / "settings-0" / "inner-0" / "rounds.jsonl").open("a") as file:
        file.write('{"round": 4, "los')
    record = json.loads((folder / "run.json").read_text())
    record["merged_labels"] = {"class 1": ["1"], "class 2": ["2", "invasive"]}
    (folder / "run.json").write_text(json.dumps(record))
    check = {"name": "patients", "passed": False, "text": "One patient lies in both parts <b>."}
    (folder / "audit.json").write_text(json.dumps({"schema": "cadx.audit/1", "checks": [check]}))
    add_examples(folder / "vit" / "fold-0" / "examples")
    before = digests(folder)
    notes: list[str] = []
    assert make_report(folder, notes.append) == folder / "report.html"
    after = digests(folder)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in set(after) - set(before)} == set(WRITTEN)
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    assert any("2 of 3 test parts" in note for note in notes)
    return folder


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The papers' way: a single split by image, the test part chose the epoch; the table of one class."""
    folder = tmp_path_factory.mktemp("leaky") / "run"

    def one_split(document: dict, rows: list) -> None:
        del document["outer"][1:]

    write_fake_run(folder, groups=30, folds=2, rounds=4, leak_by_design=True, edit_folds=one_split, whole=False)
    study = yaml.safe_load((folder / "study.yaml").read_text())
    study["split"] |= {"kind": "holdout", "folds": 2}
    study["classes"][1]["labels"] = ["COVID-19"]
    rows = [row("vit", "EfficientNetB7"), row("cnn", "Resnet 152")]
    by_class = {"title": "COVID-19 alone", "published": "classification report: COVID-19", "rows": rows}
    pooled = {"title": "All", "metrics": ["accuracy", "f1_macro", "loss", "dice"], "rows": [{"model": "vit"}]}
    edit(
        folder,
        preset="paper",
        published="chest-xray",
        split=study["split"],
        classes=study["classes"],
        calibration="none",
        tables=[{**by_class, "metrics": ["precision", "recall", "f1", "support"]}, pooled],
    )
    make_report(folder)
    return folder


def add_examples(folder: Path) -> None:
    folder.mkdir()
    (folder / "right.png").write_bytes(PIXEL)
    (folder / "wrong.png").write_bytes(PIXEL)
    (folder.parent / "elsewhere.png").write_bytes(PIXEL)
    (folder / "text.png").write_text("<svg onload=alert(1)>")
    said = {"class": "class 0", "method": "Grad-CAM <i>"}
    listed = [
        {"file": "right.png", "name": "Jane Doe", "predicted": "class 0", "right": True, **said},
        {"file": "wrong.png", "predicted": "class 2", "right": False, **said},
        {"file": "text.png", "predicted": "class 0", "right": True, **said},
        {"file": "../elsewhere.png", "predicted": "class 0", "right": True, **said},
    ]
    (folder / "examples.json").write_text(json.dumps(listed))


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def predictions(fold: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Truth, probabilities, logits, names; read without the program."""
    with (fold / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [f"class {c}" for c in range(3)]
    truth = np.array([names.index(r["class"]) for r in rows])
    p, z = (np.array([[float(r[f"{kind}:{n}"]) for n in names] for r in rows]) for kind in ("p", "logit"))
    return truth, p, z, [r["name"] for r in rows]


def table(run: Path, key: str) -> dict:
    return {one["key"]: one for one in document(run)["tables"]}[key]


def document(run: Path) -> dict:
    return json.loads((run / "report.json").read_text(encoding="utf-8"))


def cells(made: dict, *labels: str) -> list[dict]:
    return next(one["cells"] for one in made["rows"] if tuple(one["labels"]) == labels)


def test_the_papers_table_is_mean_and_deviation_over_folds_beside_the_printed_figure(run, repository):
    folds = [predictions(run / "vit" / f"fold-{k}") for k in range(3)]
    accuracy = [sk.accuracy_score(truth, p.argmax(1)) for truth, p, _, _ in folds]
    recall = [sk.recall_score(truth, p.argmax(1), average="macro") for truth, p, _, _ in folds]
    found = cells(table(run, "paper-1"), "ViT")
    assert found[0]["value"] == pytest.approx(np.mean(accuracy))
    assert found[0]["sd"] == pytest.approx(np.std(accuracy, ddof=1))
    assert found[0]["text"] == f"{np.mean(accuracy):.2f} ± {np.std(accuracy, ddof=1):.2f}"
    assert found[4]["value"] == pytest.approx(np.mean(recall))
    with (repository / "Training/cadx/evaluate/published.csv").open() as file:
        printed = {(r["table"], r["model"], r["metric"]): r for r in csv.DictReader(file) if r["study"] == "ipmn"}
    for place, metric in ((1, "accuracy"), (3, "precision"), (5, "recall")):
        reference = printed["Table I", "ViT", metric]
        assert found[place]["text"] == f"{reference['value']} ± {reference['sd']}"
    assert [one["labels"][0] for one in table(run, "paper-1")["rows"]][-2:] == ["DenseNet-121", "EfficientNet-B5"]


def test_pooled_figures_are_those_of_all_test_predictions(run):
    parts = [predictions(run / "vit" / f"fold-{k}") for k in range(3)]
    truth, p = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    z = np.concatenate([part[2] for part in parts])
    names = [c["name"] for c in table(run, "pooled")["columns"]]
    found = dict(zip(names, cells(table(run, "pooled"), "ViT"), strict=True))
    assert found["Cases"]["value"] == len(truth)
    assert found["Accuracy"]["value"] == pytest.approx((p.argmax(1) == truth).mean())
    assert found["AUROC"]["value"] == pytest.approx(sk.roc_auc_score(truth, p, multi_class="ovr"))
    assert found["Top-2 accuracy"]["value"] == pytest.approx(sk.top_k_accuracy_score(truth, p, k=2))
    for name in names[1:]:
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    loss, _, _, before, _ = cells(table(run, "probabilities"), "ViT")[1:]
    assert loss["value"] == pytest.approx(sk.log_loss(truth, p))
    plain = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert before["value"] == pytest.approx(sk.log_loss(truth, plain))


def test_classes_confusion_and_centres(run):
    parts = [predictions(run / "vit" / f"fold-{k}") for k in range(3)]
    truth, p = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    found = [[c["value"] for c in one["cells"]] for one in table(run, "confusion-vit")["rows"]]
    assert found == sk.confusion_matrix(truth, p.argmax(1)).tolist()
    recall = sk.recall_score(truth, p.argmax(1), average=None)
    assert [cells(table(run, "classes"), "ViT", f"class {c}")[1]["value"] for c in range(3)] == pytest.approx(recall)
    with (run / "samples.csv").open() as file:
        centre = {r["name"]: r["centre"] for r in csv.DictReader(file)}
    own = np.array([centre[name] == "c1" for part in parts for name in part[3]])
    assert cells(table(run, "centres"), "ViT", "c1")[1]["value"] == pytest.approx((p.argmax(1) == truth)[own].mean())


def test_selection_data_and_split_are_as_the_run_says(run):
    chosen = [json.loads((run / "vit" / f"fold-{k}" / "selection.json").read_text()) for k in range(3)]
    found = cells(table(run, "selection"), "ViT")
    assert found[1]["text"] == ", ".join(str(one["chosen"]["round"] + 1) for one in chosen)
    assert found[4]["text"] == ", ".join(f"{one['temperature']:.2f}" for one in chosen)
    with (run / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert cells(table(run, "data"), "class 1")[2]["value"] == sum(r["class"] == "class 1" for r in rows)
    assert cells(table(run, "data"), "class 1")[0]["text"] == f"CLASS 1 ({sum(r['class'] == 'class 1' for r in rows)})"
    assert "Merged into class 2: 2, invasive." in table(run, "data")["notes"]
    assert cells(table(run, "split"), "fold-0")[2]["value"] == len(predictions(run / "vit" / "fold-0")[0])


def test_empty_cells_carry_their_reason_in_every_form(run):
    for one in document(run)["tables"]:
        for line in one["rows"]:
            assert all(cell["reason"] or cell["text"] not in ("", "–") for cell in line["cells"]), line
    assert cells(table(run, "paper-1"), "AlexNet")[0]["reason"] == FAILED.rstrip(".")
    assert cells(table(run, "paper-1"), "MobileNetV2")[0]["reason"] == "not run"
    assert cells(table(run, "paper-1"), "DenseNet-121")[0]["reason"] == "not among this study's models"
    assert "– (a)" in block(run, "tables.md", "Table I")
    assert "(a) The network needs" in block(run, "tables.md", "Table I")
    assert r"--\textsuperscript{a}" in block(run, "tables.tex", "Table I")
    assert "<sup>a</sup> The network needs inputs of 224 pixels &lt;b&gt;or more" in block(
        run, "report.html", "Table I"
    )
    with (run / "tables.csv").open(encoding="utf-8", newline="") as file:
        empty = {(r["table"], r["row"], r["group"], r["column"]): r["empty_because"] for r in csv.DictReader(file)}
    assert empty["Table I | nets", "MobileNetV2", "Accuracy", "this run"] == "not run"
    assert empty["Table I | nets", "MobileNetV2", "Accuracy", "paper"] == ""


def test_what_an_audit_found_is_told(run):
    found = [cell["text"] for cell in cells(table(run, "audit"), "patients")]
    assert found == ["failed", "One patient lies in both parts <b>."]


def test_an_unfinished_model_says_over_how_many_test_parts(run):
    sentence = "ResNet|18_b: 2 of 3 test parts, the others are not finished."
    assert sentence in table(run, "paper-1")["notes"]
    assert sentence in table(run, "pooled")["notes"]
    found = cells(table(run, "paper-1"), "ResNet|18_b")[0]
    accuracy = [np.mean(p.argmax(1) == t) for t, p, _, _ in (predictions(run / "resnet" / f"fold-{k}") for k in (0, 1))]
    assert found["sd"] == pytest.approx(np.std(accuracy, ddof=1))


def blocks(folder: Path, name: str) -> list[str]:
    """The tables of a file, each with what stands below it."""
    text = (folder / name).read_text(encoding="utf-8")
    start = {"tables.md": r"^## ", "tables.tex": r"^\\begin\{table\}", "report.html": r'^<div class="table'}[name]
    return re.split(start, text, flags=re.MULTILINE)[1:]


def block(folder: Path, name: str, title: str) -> str:
    return next(one for one in blocks(folder, name) if title in one)


def statements(folder: Path) -> tuple[str, ...]:
    return (*(LEAKS if folder.parent.name.startswith("leaky") else (CAVEAT,)), PHANTOMS, DISCLAIMER)


@pytest.mark.parametrize("which", ["run", "leaky"])
def test_leaks_phantoms_caveat_and_disclaimer_stand_beside_every_table(which, request):
    folder = request.getfixturevalue(which)
    made = document(folder)
    assert made["statements"] == list(statements(folder))
    for name in ("tables.md", "tables.tex", "report.html"):
        found = blocks(folder, name)
        assert len(found) >= 8
        for one in found:
            assert all(sentence in one for sentence in statements(folder)), (name, one[:200])
    with (folder / "tables.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            assert all(sentence in line["notes"] for sentence in statements(folder))
    page = (folder / "report.html").read_text(encoding="utf-8")
    drawn = re.findall(r'<img style="width[^>]*>', page)
    assert len(drawn) == len(made["pictures"]) >= 7
    assert all(sentence in image for image in drawn for sentence in statements(folder))


class _Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.data: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.data.append(data)


def test_the_page_is_whole_self_contained_and_escaped(run):
    page = _Page()
    page.feed((run / "report.html").read_text(encoding="utf-8"))
    assert not page.open
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "svg", "b", "i", "base"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
        assert (attributes.get("href") or "#").startswith("#")
        assert tag != "img" or attributes["alt"]
    assert TITLE in page.data
    assert "url(" not in (run / "report.html").read_text(encoding="utf-8")
    keys = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(keys) == len(set(keys))
    linked = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert linked <= {f"#{key}" for key in keys}


def test_explanations_are_png_files_from_beside_their_list_only(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure><img") == 2
    assert "class 0, graded as class 2 (fold-0)" in page
    assert "Grad-CAM &lt;i&gt;" in page
    assert "Jane Doe" not in page


def test_latex_is_escaped_and_balanced(run):
    text = (run / "tables.tex").read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\[&%$#_{}\\]", "", body)
    assert plain.count("{") == plain.count("}")
    assert not re.search(r"[#_]", plain)
    # the one unescaped per cent sign ends the line of \resizebox
    assert all(line.endswith("{!}{%") for line in plain.splitlines() if "%" in line)
    # how and where it was run is on the page alone
    assert body.count(r"\begin{table}") == body.count(r"\end{table}") == len(document(run)["tables"]) - 1
    assert r"\toprule" in body
    for one in blocks(run, "tables.tex"):
        sides = re.search(r"\\begin\{tabular\}\{([lr]+)\}", one)
        inside = one[one.index(r"\midrule") : one.index(r"\bottomrule")]
        for line in inside.splitlines()[1:]:
            assert len(re.findall(r"(?<!\\)&", line)) + 1 == len(sides[1])


def test_markdown_rows_have_as_many_cells_as_their_heading(run):
    for one in blocks(run, "tables.md"):
        rows = [line for line in one.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1
    assert "ResNet\\|18\\_b" in (run / "tables.md").read_text(encoding="utf-8")
    assert "<script" not in (run / "tables.md").read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    before = {name: value for name, value in digests(run).items() if name.split("/")[0] in WRITTEN}
    assert sum(name.endswith(".png") for name in before) >= 8
    again = tmp_path / "another name"
    shutil.copytree(run, again, ignore=shutil.ignore_patterns("figures"))
    (again / "report.html").write_text("of an earlier report")
    make_report(again)
    assert {name: value for name, value in digests(again).items() if name.split("/")[0] in WRITTEN} == before


def test_figures_are_listed_with_their_hashes(run):
    listed = {one["file"]: one["sha256"] for one in document(run)["pictures"]}
    assert listed == {
        name.removeprefix("figures/"): value for name, value in digests(run).items() if name.startswith("figures/")
    }
    assert {"confusion.png", "roc.png", "losses.png", "reliability.png", "classes.png", "centres.png"} <= set(listed)


def test_one_split_gives_the_number_alone_and_the_mean_of_batches(leaky):
    truth, p, _, _ = predictions(leaky / "vit" / "fold-0")
    made = table(leaky, "paper-2")
    assert [c["name"] for c in made["columns"]] == ["Accuracy", "F1", "F1, mean of batches", "Loss", "dice"]
    accuracy, f1, by_batch, loss, dice = cells(made, "VIT")
    assert accuracy["text"] == f"{(p.argmax(1) == truth).mean():.3f}"
    assert accuracy["sd"] is None
    assert f1["value"] == pytest.approx(sk.f1_score(truth, p.argmax(1), average="macro"))
    assert loss["value"] == pytest.approx(sk.log_loss(truth, p))
    parts = [slice(k, k + 32) for k in range(0, len(truth), 32)]
    batches = [sk.f1_score(truth[part], p.argmax(1)[part], average="macro") for part in parts]
    assert by_batch["value"] == pytest.approx(np.mean(batches))
    assert dice["reason"] == "no metric of this program is called dice"


def test_a_classification_report_is_of_its_class(leaky):
    truth, p, _, _ = predictions(leaky / "vit" / "fold-0")
    each = sk.precision_recall_fscore_support(truth, p.argmax(1), labels=[1])
    found = cells(table(leaky, "paper-1"), "VIT")
    assert [cell["value"] for cell in found[::2]] == pytest.approx([float(values[0]) for values in each])
    assert found[7]["text"] == "41"
    assert "Figures of the class class 1 alone." in table(leaky, "paper-1")["notes"]


def test_a_run_that_has_just_begun_gives_a_report(run, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("run.json", "study.yaml"):
        shutil.copy(run / name, begun)
    make_report(begun)
    assert cells(table(begun, "paper-1"), "ViT")[0]["reason"] == "not run"
    assert "not run" in (begun / "report.html").read_text(encoding="utf-8")


def test_a_bundle_on_a_cohort_of_its_own(leaky, tmp_path):
    """``cadx evaluate``: no folds, no leak, whatever the study's own protocol was."""
    run = tmp_path / "external"
    (run / "vit" / "external").mkdir(parents=True)
    shutil.copy(leaky / "vit" / "fold-0" / "predictions.csv", run / "vit" / "external")
    for name in ("samples.csv", "study.yaml"):
        shutil.copy(leaky / name, run)
    study = yaml.safe_load((run / "study.yaml").read_text())
    edit(run, models=study["models"][:1], tables=[])
    record = json.loads((leaky / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "kind": "evaluate", "leaks": []}))
    make_report(run)
    truth, p, _, _ = predictions(run / "vit" / "external")
    assert cells(table(run, "pooled"), "VIT")[1]["value"] == pytest.approx((p.argmax(1) == truth).mean())
    assert document(run)["leaks"] == []
    assert {one["key"] for one in document(run)["tables"]}.isdisjoint({"selection", "split", "folds"})
    assert "nothing was trained or chosen on it" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name, preset", [(n, p) for n, own in presets().items() for p in own])
def test_what_the_shipped_studies_say_was_printed_was_printed(name, preset):
    study = read_study(name, preset)
    printed = published(study.published)
    for one in study.tables:
        assert all(our_metric(metric) for metric in one.metrics)
        if one.published:
            assert {entry.published for entry in one.rows} <= set(printed.models(one.published))


def bad_runs(run: Path) -> Iterator[tuple[str, str, str]]:
    text = (run / "vit" / "fold-0" / "predictions.csv").read_text()
    yield "run.json", "{}", "holds no run.json"
    yield "study.yaml", "title: [", "cannot be read as YAML"
    yield "study.yaml", "title: x", "is not allowed as it stands"
    yield "vit/fold-0/predictions.csv", text.replace("p:class 0", "q:class 0"), "no column 'p:class 0'"
    yield "vit/fold-0/predictions.csv", text + "s1,fold-0,class 0\n", "is no prediction"
    yield "vit/fold-0/predictions.csv", re.sub(r",[\d.e-]+\n", ",nan\n", text), "not finite"


def test_what_cannot_be_read_is_said_in_a_sentence(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    for name, content, sentence in bad_runs(run):
        before = (copy / name).read_text(encoding="utf-8")
        (copy / name).write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=re.escape(sentence)) as caught:
            make_report(copy)
        assert str(tmp_path) not in str(caught.value)
        (copy / name).write_text(before, encoding="utf-8")
    assert digests(copy) == digests(run)
    with pytest.raises(InputError, match=r"holds no run\.json"):
        make_report(tmp_path)


def test_trainings_that_two_folds_share_are_read_for_both_and_counted_once(tmp_path):
    folder = write_fake_run(tmp_path / "run", models=("vit",), groups=24, folds=4, rounds=4, shared=True)
    run = read_run(folder)
    (model,) = run.models
    assert len(model.fits) == 6 + 4
    for fold in model.folds:
        assert [fit.book for fit in fold.inner] == [other.name for other in model.folds if other is not fold]
        curves = [[line["validation_loss"] for line in fit.rounds] for fit in fold.inner]
        assert np.mean(curves, axis=0) == pytest.approx(fold.selection["candidates"][0]["curve"])
        assert len(fold.fits) == 3 + 1
    rows = [row for row in selection_table(run).rows if row.cells[-1].text == "10"]
    assert len(rows) == 1
    for part in folder.glob("vit/fold-*"):
        shutil.rmtree(part)
    assert read_run(folder).models[0].reason.startswith("not finished")


def test_two_protocols_side_by_side(leaky, tmp_path):
    honest = tmp_path / "honest"
    shutil.copytree(leaky, honest)
    study = yaml.safe_load((honest / "study.yaml").read_text())
    study["split"] |= {"unit": "patient", "inner": {"kind": "holdout"}}
    edit(honest, preset="recommended", split=study["split"])
    record = json.loads((honest / "run.json").read_text())
    (honest / "run.json").write_text(json.dumps({**record, "leaks": []}))
    lines = (honest / "vit/fold-0/predictions.csv").read_text().splitlines()
    (honest / "vit/fold-0/predictions.csv").write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    page = make_comparison([leaky, honest], tmp_path / "both")
    made = json.loads((tmp_path / "both" / "comparison.json").read_text(encoding="utf-8"))
    accuracy = [np.mean(p.argmax(1) == t) for t, p, _, _ in (predictions(f / "vit/fold-0") for f in (leaky, honest))]
    found = cells(made["tables"][0], "VIT")
    assert [cell["value"] for cell in found] == pytest.approx([*accuracy, accuracy[1] - accuracy[0]])
    for sentence in (f"paper leaks: {LEAKS[0]}", f"paper leaks: {LEAKS[1]}", PHANTOMS, DISCLAIMER):
        assert sentence in page.read_text(encoding="utf-8")
    assert "recommended leaks" not in page.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="two runs or more"):
        make_comparison([leaky], tmp_path / "one")
