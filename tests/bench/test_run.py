"""The benchmark: which pairs it finds, what its tables hold, and what happens to bad pairs."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import ddfm_run, refused
from ddfm.bench import find_dataset
from ddfm.bench.results import Row
from ddfm.bench.sheets import ranked
from ddfm.metrics import evaluate
from ddfm.pipeline.unloaded import Unloaded
from ddfm.priors.checkpoints import save_checkpoint
from ddfm.priors.unet import UNet, UNetConfig
from ddfm.storage.checksum import sha256_of
from packages import install

QUICK = ["--prior", "gaussian", "--steps", "2"]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("ir", "vi"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for name in ("one", "two"):
            small = Image.fromarray(rng.integers(0, 256, (8, 9), dtype=np.uint8))
            small.resize((56, 48), Image.Resampling.BICUBIC).save(
                tmp_path / "set" / folder / f"{name}.png"
            )
    return tmp_path / "set"


def bench(*arguments: object):
    return ddfm_run("bench", *arguments)


def test_tables_hold_the_values_of_the_metrics(pairs, tmp_path):
    out = tmp_path / "out"
    result = bench(pairs, "--out", out, *QUICK, "--baselines", "--degrade", "noise=20")
    assert result.exit_code == 0, result.output
    with open(out / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((out / "summary.json").read_text())
    assert {row["configuration"] for row in rows} == set(summary)
    for row in rows:
        files = [out / "fused" / row["configuration"] / "set" / f"{row['pair']}.png"]
        files += [pairs / folder / f"{row['pair']}.png" for folder in ("ir", "vi")]
        expected = evaluate(*files)
        for name in ("EN", "MI", "VIF", "Qabf", "SSIM"):
            assert float(row[name]) == pytest.approx(expected[name], rel=1e-9)
    entry = summary["default"]["set"]
    mean = np.mean([float(r["EN"]) for r in rows if r["configuration"] == "default"])
    assert entry["pairs"] == 2 and entry["seconds_per_pair"] > 0
    assert entry["metrics"]["EN"] == pytest.approx(mean)
    assert 10 < entry["degraded"]["noise=20"][""]["PSNR"] < 40
    maximum = np.asarray(Image.open(out / "fused" / "maximum" / "set" / "one.png"))
    sources = [np.asarray(Image.open(pairs / folder / "one.png")) for folder in ("ir", "vi")]
    assert (maximum == np.maximum(*sources)).all()


@pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="known on Linux without a GPU"
)
def test_finished_and_refused_runs_do_not_import_torch(pairs, tmp_path):
    code = (
        "import sys; from ddfm.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )

    def outcome(*more: str) -> str:
        line = [sys.executable, "-c", code, "bench", pairs, "--out", tmp_path / "out", *more]
        return subprocess.run(line, capture_output=True, text=True).stdout.splitlines()[-1]

    assert bench(pairs, "--out", tmp_path / "out", "--baselines").exit_code == 0
    assert outcome("--baselines") == "0 False"
    assert outcome("--columns", "FOO") == "2 False"


def test_the_report_is_one_page_with_every_picture(pairs, tmp_path):
    assert bench(pairs, "--out", tmp_path / "out", *QUICK).exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/") >= 6  # two pairs: two sources and a result each
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    assert "Qabf" in page and "default" in page


def test_a_name_cannot_break_the_page_or_a_table(pairs, tmp_path):
    for folder in ("ir", "vi"):
        (pairs / folder / "one.png").rename(pairs / folder / "{{pictures}}<b>.png")
        (pairs / folder / "two.png").rename(pairs / folder / "=cmd.png")
    out = tmp_path / "out"
    assert bench(pairs, "--out", out, *QUICK).exit_code == 0
    page = (out / "report.html").read_text()
    assert page.count('"images":') == 2  # the data stands where it belongs, once for each pair
    assert "{{pictures}}&lt;b&gt;" in page and "<b>.png" not in page
    data = page.split('id="pictures">')[1].split("</script>")[0]
    assert [p["name"] for p in json.loads(data)] == ["set / =cmd", "set / {{pictures}}<b>"]
    with open(out / "results.csv", newline="") as file:
        assert {row["pair"] for row in csv.DictReader(file)} == {"'=cmd", "{{pictures}}<b>"}


def test_tables_and_plots_are_files(pairs, tmp_path):
    out = tmp_path / "out"
    assert bench(pairs, "--out", out, *QUICK, "--baselines").exit_code == 0
    values = json.loads((out / "summary.json").read_text())
    markdown = (out / "tables.md").read_text()
    head, _, *rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert head.startswith("| method | pairs | s / pair ↓ | EN ↑ | SD ↑ | MI ↑ |")
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(values)
    best = max(values, key=lambda name: values[name]["set"]["metrics"]["SD"])
    marked = [row for row in rows if row.split(" | ")[4].startswith("**")]
    assert len(marked) == 1 and best in marked[0]
    with open(out / "comparisons.csv", newline="") as file:
        tests = list(csv.DictReader(file))
    assert {float(test["p (Holm)"]) for test in tests} == {1.0}  # two pairs are no evidence
    svg = ElementTree.parse(out / "plots" / "set" / "EN.svg").getroot()
    assert len(svg.findall("{http://www.w3.org/2000/svg}circle")) == 2 * len(values)
    only = bench(pairs, "--out", out, *QUICK, "--columns", "qabf,Nabf")
    assert only.exit_code == 0 and "| Qabf ↑ | Nabf ↓ |" in (out / "tables.md").read_text()
    wrong = bench(pairs, "--out", tmp_path / "other", *QUICK, "--columns", "Qabff")
    assert wrong.exit_code == 2 and "Qabf" in wrong.output
    assert not (tmp_path / "other").exists()


def test_a_second_run_fuses_nothing_again(pairs, tmp_path):
    out = tmp_path / "out"
    fused = out / "fused" / "default" / "set" / "one.png"
    bench(pairs, "--out", out, *QUICK)
    before = fused.stat().st_mtime_ns
    bench(pairs, "--out", out, *QUICK)
    assert fused.stat().st_mtime_ns == before
    bench(pairs, "--out", out, "--prior", "gaussian", "--steps", "3")
    assert fused.stat().st_mtime_ns > before


def test_metrics_are_kept_with_the_result(pairs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = bench(pairs, "--out", out, *QUICK, "--degrade", "noise=20")
    assert first.exit_code == 0, first.output
    tables = [(out / name).read_text() for name in ("results.csv", "summary.json")]
    lines = (out / "fused" / "default" / "set" / "ddfm-manifest.jsonl").read_text().splitlines()
    with open(out / "results.csv", newline="") as file:
        for line, row in zip(map(json.loads, lines), csv.DictReader(file), strict=True):
            assert line["output"] == f"{row['pair']}.png"
            assert line["metrics"]["Qabf"] == float(row["Qabf"])

    def never(*images, **keywords):
        raise AssertionError("measured again")

    monkeypatch.setattr("ddfm.bench.pairs.evaluate", never)
    monkeypatch.setattr("ddfm.bench.degraded.ssim", never)
    again = bench(pairs, "--out", out, *QUICK, "--degrade", "noise=20")
    assert again.exit_code == 0, again.output
    assert tables == [(out / name).read_text() for name in ("results.csv", "summary.json")]
    monkeypatch.undo()
    bench(pairs, "--out", out, *QUICK, "--ssim-range", "255")
    values = json.loads((out / "summary.json").read_text())["default"]["set"]["metrics"]
    assert values["SSIM"] == values["SSIM_data_range_255"]  # another question is another answer


def table(folder: Path) -> list[dict[str, str]]:
    """The table of results, without the seconds."""
    with open(folder / "results.csv", newline="") as file:
        return [
            {k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(file)
        ]


def test_shards_share_the_work_and_one_run_reports(pairs, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    command = [*QUICK, "--degrade", "noise=20", "--baselines"]
    bench(pairs, "--out", whole, *command)
    for done, part in enumerate(("1/2", "2/2"), 1):
        assert bench(pairs, "--out", out, *command, "--shard", part).exit_code == 0
        assert not (out / "report.html").exists()
        assert {len(list(row.glob("*.png"))) for row in (out / "fused").glob("*/*")} == {done}
    fused = [path.relative_to(out) for path in out.rglob("*.png")]
    rows = {path.name for path in (out / "fused").iterdir()}
    noisy = {path.name for path in (out / "degraded" / "noise=20").iterdir()}
    assert noisy >= rows | {"default, told", "TV, default"}  # and BM3D, where it is installed
    assert len(fused) == 2 * (len(rows) + len(noisy))  # of each pair
    monkeypatch.setattr("ddfm.bench.pairs.CleanWork.fuse", lambda *_: pytest.fail("fused again"))
    assert bench(pairs, "--out", out, *command).exit_code == 0
    assert (out / "report.html").exists() and table(out) == table(whole)
    for path in fused:
        if not path.parts[2].startswith("BM3D"):  # the package's last digits differ in every call
            assert (out / path).read_bytes() == (whole / path).read_bytes()


def test_metrics_of_packages_are_columns_everywhere(pairs, tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / "site")
    out = tmp_path / "out"
    asked = ["--baselines", "--also-metrics", "their-distance,their-level"]
    assert bench(pairs, "--out", out, *QUICK, *asked, "--also", f"ir={pairs / 'ir'}").exit_code == 0
    sources = [np.asarray(Image.open(pairs / name / "one.png"), float) for name in ("ir", "vi")]
    for row in table(out):
        if row["pair"] == "one" and row["configuration"] in ("average", "ir"):
            fused = np.asarray(Image.open(out / "fused" / "average" / "set" / "one.png"), float)
            fused = sources[0] if row["configuration"] == "ir" else fused
            apart = sum(np.abs(fused - source).mean() for source in sources)
            assert float(row["their-distance"]) == pytest.approx(apart, rel=1e-9)
            assert float(row["their-level"]) == pytest.approx(fused.mean(), rel=1e-9)
    head = next(line for line in (out / "tables.md").read_text().splitlines() if "EN" in line)
    assert "their-distance ↓ | their-level ↑" in head
    assert "their-distance ↓" in (out / "report.html").read_text()
    assert (out / "plots" / "set" / "their-distance.svg").exists()
    assert "their-level" in json.loads((out / "summary.json").read_text())["ir"]["set"]["metrics"]
    with open(out / "comparisons.csv", newline="") as file:
        decided = [one for one in csv.DictReader(file) if one["better"]]
    signs = {
        (one["metric"], (float(one["median of a - b"]) > 0) == (one["better"] == one["a"]))
        for one in decided
        if one["metric"].startswith("their-") and float(one["median of a - b"])
    }
    assert signs == {("their-distance", False), ("their-level", True)}


def test_a_metric_whose_code_has_changed_is_measured_again(pairs, tmp_path, monkeypatch):
    asked = ["--out", tmp_path / "out", *QUICK, "--also-metrics", "their-level"]
    install(monkeypatch, tmp_path / "one", "def level(*images): return 1.0")
    assert bench(pairs, *asked).exit_code == 0
    assert {row["their-level"] for row in table(tmp_path / "out")} == {"1.0"}
    install(monkeypatch, tmp_path / "two", "def level(*images): return 2.0")
    assert bench(pairs, *asked).exit_code == 0
    assert {row["their-level"] for row in table(tmp_path / "out")} == {"2.0"}


def test_a_metric_that_fails_costs_nothing_else(pairs, tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / "site")
    out = tmp_path / "out"
    result = bench(pairs, "--out", out, *QUICK, "--also-metrics", "their-broken,their-level")
    assert result.exit_code == 1
    line = "default: set: one: the metric their-broken failed: ValueError: no target in sight"
    assert line in result.stderr
    assert all(row["their-level"] and row["EN"] for row in table(out))
    assert {row["their-broken"] for row in table(out)} == {""}
    more = ["--columns", "EN,their-level"]
    refused(bench(pairs, "--out", out, *QUICK, *more), "their-level is not measured; name it in")


def save_small_prior(file: Path, seed: int) -> None:
    torch.manual_seed(seed)
    network = UNet(UNetConfig(1, 1, 32, (1, 2), 1, attention=(), mid_attention=False))
    torch.nn.init.normal_(network.out[2].bias)
    settings = {"kind": "eps", "schedule": "linear", "T": 1000, "num_head_channels": 32}
    settings |= {"use_new_attention_order": False, "attention": []}
    save_checkpoint(file, network.state_dict(), settings)


def test_new_weights_under_an_old_name_are_noticed(pairs, tmp_path):
    out, file = tmp_path / "out", tmp_path / "prior.safetensors"
    fused = out / "fused" / "default" / "set" / "one.png"
    written = []
    for seed in (0, 0, 1):
        save_small_prior(file, seed)
        bench(pairs, "--out", out, "--prior", file, "--steps", "2")
        written.append(fused.stat().st_mtime_ns)
    assert written[0] == written[1] < written[2]


def test_bad_pairs_are_listed_and_the_others_fused(pairs, tmp_path):
    (pairs / "ir" / "broken.png").write_bytes(b"no picture")
    Image.new("L", (20, 20)).save(pairs / "vi" / "broken.png")
    Image.new("L", (20, 20)).save(pairs / "ir" / "sizes.png")
    Image.new("L", (21, 20)).save(pairs / "vi" / "sizes.png")
    Image.new("L", (20, 20)).save(pairs / "ir" / "alone.png")
    result = bench(pairs, "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 1
    for name in ("broken", "sizes", "alone"):
        assert name in result.output
    assert "Traceback" not in result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["default"]["set"]["pairs"] == 2


def test_a_file_without_a_partner_is_reported_but_not_a_failure(pairs, tmp_path):
    Image.new("L", (20, 20)).save(pairs / "ir" / "alone.png")
    out = tmp_path / "out"
    result = bench(pairs, "--out", out, *QUICK)
    assert result.exit_code == 0 and "alone.png has no partner" in result.stderr
    for name in ("report.html", "failures.csv"):
        assert "alone.png has no partner" in (out / name).read_text()
    limited = bench(pairs, "--out", out, *QUICK, "--limit", 1)
    assert limited.exit_code == 0 and "alone" not in limited.stderr  # it was not looked for


def test_a_file_with_the_suffix_of_no_image_is_reported_but_not_a_failure(pairs, tmp_path):
    (pairs / "ir" / "notes.txt").write_text("taken at night")
    result = bench(pairs, "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 0
    assert "notes.txt is left out: not an image by its suffix" in result.stderr


def test_all_methods_get_sources_of_two_sizes_resized_alike(pairs, tmp_path):
    for file in (pairs / "vi").iterdir():
        Image.open(file).resize((40, 44)).save(file)
    out = tmp_path / "out"
    also = ("--also", f"theirs={pairs / 'ir'}", "--baselines")
    for resize, size in (("a", (56, 48)), ("b", (40, 44))):
        result = bench(pairs, "--out", out, *QUICK, "--resize", resize, *also)
        assert result.exit_code == (0 if resize == "a" else 1), result.output
        for name in ("average", "default"):
            with Image.open(out / "fused" / name / "set" / "one.png") as fused:
                assert fused.size == size
    assert "theirs" in result.output  # whose results have the size of a


def test_results_among_the_sources_are_refused(pairs):
    before = sorted(pairs.rglob("*"))
    refused(bench(pairs, "--out", pairs / "ir", *QUICK), "sources are read from", "separate folder")
    assert sorted(pairs.rglob("*")) == before
    for _ in range(2):  # in a folder among them they are not read
        result = bench(pairs, "--out", pairs / "vi" / "out", *QUICK)
        assert result.exit_code == 0 and "partner" not in result.stderr


def test_nothing_is_fused_before_all_settings_are_checked(pairs, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('[one]\n[two]\nlikelihood = "foo"\n')
    result = bench(pairs, "--out", tmp_path / "out", *QUICK, "--config", config)
    assert result.exit_code == 2 and "foo" in result.output
    assert not (tmp_path / "out").exists()


def test_files_are_hashed_only_with_verify(pairs, tmp_path, monkeypatch):
    for k in range(8):
        for folder in ("ir", "vi"):
            shutil.copy(pairs / folder / "one.png", pairs / folder / f"{k}.png")
    out = tmp_path / "out"
    arguments = (pairs, "--out", out, *QUICK)
    assert bench(*arguments).exit_code == 0
    hashed = Counter()

    def counted(path):
        hashed[path] += 1
        return sha256_of(path)

    monkeypatch.setattr("ddfm.storage.checksum.sha256_of", counted)
    assert bench(*arguments).exit_code == 0
    results = list((out / "fused" / "default" / "set").glob("*.png"))
    files = [*results, *(path for folder in ("ir", "vi") for path in (pairs / folder).iterdir())]
    assert len(results) == 10 and not any(hashed[path] for path in files)
    assert bench(*arguments, "--verify").exit_code == 0
    assert [hashed[path] for path in files] == [1] * 30


def test_seconds_do_not_include_loading(pairs, tmp_path, monkeypatch):
    load, clock = Unloaded.load, [0.0]

    def slow(unloaded):
        clock[0] += 100
        return load(unloaded)

    monkeypatch.setattr(Unloaded, "load", slow)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    out = tmp_path / "out"
    assert bench(pairs, "--out", out, "--device", "cpu").exit_code == 0
    with open(out / "results.csv", newline="") as file:
        assert {float(row["seconds"]) for row in csv.DictReader(file)} == {0}
    assert clock[0] > 0


def test_degrees_are_measured_as_in_ddfm_metrics(pairs, tmp_path):
    for name in ("one", "two"):
        levels = np.asarray(Image.open(pairs / "ir" / f"{name}.png"), np.float32)
        (pairs / "ir" / f"{name}.png").unlink()
        Image.fromarray(20 + levels / 25.5).save(pairs / "ir" / f"{name}.tif")
    out = tmp_path / "out"
    assert bench(pairs, "--out", out, *QUICK).exit_code == 0
    files = [out / "fused" / "default" / "set", pairs / "ir", pairs / "vi"]
    measured = ddfm_run("metrics", *files, "--json")
    with open(out / "results.csv", newline="") as file:
        for row in csv.DictReader(file):
            expected = json.loads(measured.stdout)["pairs"][row["pair"]]
            assert {name: float(row[name]) for name in expected} == expected


def test_the_task_follows_from_the_folders(tmp_path):
    for first, second, task in (
        ("ir", "vi", "ir-visible"),
        ("PET", "MRI", "medical"),
        ("over", "under", "multi-exposure"),
    ):
        for folder in (first, second):
            (tmp_path / task / folder).mkdir(parents=True)
            Image.new("L", (9, 9)).save(tmp_path / task / folder / "x.png")
        found = find_dataset(tmp_path / task)
        assert (found.task, found.subfolders) == (task, (first, second))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere"),
        (["."], "subfolders"),
        ([".", "--degrade", "noise=x"], "noise must be a number"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = bench(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.output and "Traceback" not in result.output


def test_each_method_and_source_of_a_degradation_must_exist_once(pairs, tmp_path):
    out = ["--out", tmp_path / "out", *QUICK]
    two = ["--also", f"X={pairs / 'ir'}", "--also", f"X={pairs / 'vi'}"]
    refused(bench(pairs, *out, *two), "two methods have the same name, X; rename one")
    refused(bench(pairs, *out, "--degrade", "noise-c=5"), "the set set has no source c")
    assert not (tmp_path / "out").exists()


def test_a_contact_sheet_shows_the_best_above_the_worst(pairs, tmp_path):
    copies = tmp_path / "out" / "set"  # a perfect pair: equal sources, and the result equal to both
    copies.mkdir(parents=True)
    for name in ("one", "two"):
        Image.open(pairs / "ir" / f"{name}.png").save(copies / f"{name}.png")
    Image.open(pairs / "ir" / "two.png").save(pairs / "vi" / "two.png")
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (48, 56), dtype=np.uint8)
    Image.fromarray(noise).save(copies / "one.png")
    dataset = find_dataset(pairs)
    files = {pair.name: pair for pair in dataset.pairs}
    rows = [
        Row("other", "set", pair, copies / f"{name}.png", None,
            evaluate(copies / f"{name}.png", *pair.files))
        for name, pair in files.items()
    ]  # fmt: skip
    assert [row.pair.name for row in ranked(rows)] == ["two", "one"]
    result = bench(pairs, "--out", tmp_path / "bench", *QUICK)
    assert result.exit_code == 0
    with Image.open(tmp_path / "bench" / "sheets" / "default" / "set.jpg") as sheet:
        assert sheet.width > 3 * 240 and sheet.height > 2 * 240
