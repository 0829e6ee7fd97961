"""A user's mistake gives exit code 2, nothing on standard output, and one message that says what to do; never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from accel_models.networks import load_network
from cosearch.archive import FILE_NAME
from cosearch.evaluate import MappingOptions
from cosearch.study import search

from .commands import Result, Run, runner
from .conftest import TARGET

SEARCH = ("search", "--target", "tiny.yaml", "--fix", "network", "--network", "squeezenet", "--objectives", "latency,energy",
          "--out", "new", "--budget", "6", "--population", "3", "--effort", "2", "--workers", "1")  # fmt: skip
OFA = ("search", "--space", "ofa-mobilenet-v3", "--target", "eyeriss", "--out", "new")
MAP = ("map", "--target", "eyeriss", "--effort", "2")


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory) -> bytes:
    """The archive of eight machines for one network."""
    out = tmp_path_factory.mktemp("mistakes") / "run"
    network = load_network("mobilenet-v2", 64)
    search(
        network, tiny, ("latency", "energy"), budget=8, population=4, mapping=MappingOptions(effort=2), out=out
    ).archive.close()
    return (out / FILE_NAME).read_bytes()


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, recorded) -> Run:
    """Run a command in a folder that holds a run, descriptions good and bad, and files that are nothing of the kind."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run", FILE_NAME).write_bytes(recorded)
    Path("cut").mkdir()
    Path("cut", FILE_NAME).write_bytes(recorded[: len(recorded) // 2])
    Path("junk").mkdir()
    Path("junk", FILE_NAME).write_bytes(b"no database" * 1000)
    Path("tiny.yaml").write_text(TARGET)
    Path("bad.yaml").write_text(TARGET.replace("entries: 4096", "entries: -1").replace("clock_mhz", "clok_mhz"))
    Path("no_room.yaml").write_text(TARGET.replace("entries: 32", "entries: 2").replace("choices: [2, ", "choices: ["))
    for folder in ("folder.yaml", "folder.json", "folder.png"):
        Path(folder).mkdir()
    Path("file").write_text("text")
    Path("broken.json").write_text('{"net": ')
    Path("deep.json").write_text("[" * 100_000)
    return runner(monkeypatch, capsys)


def mistaken(result: Result) -> str:
    """Return the message of a command that was refused."""
    assert result.code == 2, (result.out, result.err)
    assert result.out == ""
    assert "Traceback" not in result.err
    return result.err


def message(result: Result) -> str:
    """Return the message of a command that we, not the parser of options, refused: one line."""
    text = mistaken(result)
    assert text.startswith("cosearch: ") and text.count("\n") == 1, text
    return text.removeprefix("cosearch: ").rstrip("\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # names
        ((*OFA, "--target", "eyeris"), "unknown target 'eyeris': did you mean 'eyeriss'?"),
        ((*OFA, "--space", "ofa-mobilenetv3"), "unknown space 'ofa-mobilenetv3': did you mean 'ofa-mobilenet-v3'?"),
        ((*OFA, "--objectives", "top1,latncy"), "unknown objective 'latncy': did you mean 'latency'?"),
        ((*OFA, "--objectives", "top1,,latency"), "unknown objective '': known: area, device-latency, edp, "),
        ((*OFA, "--objectives", "top1,top1"), "objectives 'top1,top1': name one or more, each once, of top1, latency, "),
        ((*OFA, "--strategy", "nsga22"), "unknown strategy 'nsga22': did you mean 'nsga2'?"),
        ((*SEARCH, "--strategy", "nsga3", "--objectives", "edp"), "strategy 'nsga3': it takes 2 to 5 objectives, not 1"),
        ((*SEARCH, "--hardware", "nass"), "unknown hardware 'nass': did you mean 'naas'?"),
        (("targets", "show", "eyeriss", "--hardware", "nass"), "unknown hardware 'nass': did you mean 'naas'?"),
        ((*SEARCH, "--network", "sqeezenet"), "unknown network 'sqeezenet': did you mean 'squeezenet'?"),
        (("evaluate", "--network", "resnet5", "--target", "eyeriss"), "unknown network 'resnet5': did you mean 'resnet50'?"),
        (("evaluate", "--network", "resnet18", "--target", "nvdla"), "unknown target 'nvdla': did you mean 'nvdla_256'?"),
        (("evaluate", "--network", "resnet18", "--target", "eyeriss", "--objective", "enery"), "did you mean 'energy'?"),
        ((*MAP, "--layer", "K2", "--objective", "edpp"), "unknown objective 'edpp': did you mean 'edp'?"),
        ((*MAP, "--layer", "K2", "--mapper", "randm"), "unknown mapper 'randm': did you mean 'random'?"),
        (("targets", "show", "simba"), "unknown target 'simba': did you mean 'simba_like'?"),
        (("targets", "check", "zzz"), "unknown target 'zzz': known: edge_tpu, "),
        (("spaces", "show", "ofa-mobilenet"), "unknown space 'ofa-mobilenet': did you mean 'ofa-mobilenet-v3'?"),
        (("spaces", "sample", "x"), "unknown space 'x': known: attentive-nas, "),
        # numbers and limits
        ((*SEARCH, "--budget", "0"), "budget = 0 must be at least 1"),
        ((*SEARCH, "--budget", "-5"), "budget = -5 must be at least 1"),
        ((*SEARCH, "--population", "1"), "population = 1 must be at least 2"),
        ((*SEARCH, "--workers", "0"), "workers = 0 must be at least 1"),
        ((*SEARCH, "--limit", "area<=3"), "unknown limit 'area': did you mean 'area_mm2'?"),
        ((*SEARCH, "--limit", "area_mm2=3"), "limit 'area_mm2=3' is not of the form 'area_mm2<=16' or 'top1>=75'"),
        ((*SEARCH, "--limit", "area_mm2<=big"), "limit 'area_mm2<=big': 'big' is not a positive number"),
        ((*SEARCH, "--limit", "area_mm2<=0"), "limit 'area_mm2<=0': '0' is not a positive number"),
        ((*SEARCH, "--limit", "top1>=75"), "nothing measured says how accurate the networks of 'squeezenet' are"),
        ((*SEARCH, "--limit", "area_mm2<=0.00001"), "no pair of 6 evaluated keeps the limits (area_mm2<=1e-05: best seen 0."),
        (("resume", "run", "--budget", "7"), "run: 8 pairs were looked at already; a budget of 7 would be less"),
        # what does not go together
        (SEARCH[:3] + SEARCH[7:], "name either --space, or --fix network with --network NAME"),
        ((*OFA, "--network", "resnet50"), "name either --space, or --fix network with --network NAME"),
        ((*OFA, "--fix", "network"), "name either --space, or --fix network with --network NAME"),
        ((*OFA, "--target", "simba_like"), "target 'simba_like' has no search: section, so there is no hardware to search;"),
        ((*OFA, "--fix", "hardware", "--hardware", "naas"), "the hardware is to be fixed and to be searched in the space 'naas'"),
        ((*SEARCH, "--hardware", "fixed"), "network and hardware are both fixed: there is nothing to search;"),
        ((*SEARCH, "--objectives", "top1"), "nothing measured says how accurate the networks of 'squeezenet' are, so top1"),
        (MAP, "name either --layer or --network"),
        ((*MAP, "--layer", "K2", "--network", "resnet18"), "name either --layer or --network"),
        # layers
        ((*MAP, "--layer", ""), "layer '' names no dim; an example: 'K256 C256 P14 Q14 R3 S3'"),
        ((*MAP, "--layer", "K3 foo"), "layer 'K3 foo': cannot read 'foo'; write dims as K64 (of N K C P Q R S G) and"),
        ((*MAP, "--layer", "K3 K4"), "layer 'K3 K4': K is given twice"),
        ((*MAP, "--layer", "K0"), "layer: K = 0 must be a positive integer"),
        ((*MAP, "--layer", "K-3"), "layer 'K-3': cannot read 'K-3'"),
        ((*MAP, "--layer", "K" + "9" * 5000), "cannot read 'K999"),
        ((*MAP, "--layer", "K999999999999 C999999999999"), "is too large: more than 2**53 multiply-accumulates"),
        ((*MAP, "--layer", "K2 C2", "--target", "no_room.yaml"),
         "tiny: layer K2 C2 cannot be mapped: level 'registers' has room for 2 words, one element of each kept dataspace "
         "(weights, inputs, outputs) needs 3"),
        (("evaluate", "--network", "squeezenet", "--target", "no_room.yaml"), "tiny: layer K96 C3 P109 Q109 R7 S7 "),
        ((*SEARCH, "--target", "no_room.yaml"), "none of 6 pairs can run at all; the last reason: tiny: layer "),
        (("evaluate", "--network", "unet", "--target", "eyeriss", "--resolution", "9"), "unet: "),
        # files
        (("targets", "check", "absent.yaml"), "no description file 'absent.yaml'; shipped targets: edge_tpu, "),
        (("targets", "check", "folder.yaml"), "folder.yaml: cannot be read: Is a directory"),
        (("targets", "check", "file"), "file: a description is a mapping of keys to values, this is 'text'"),
        (("targets", "show", "a" * 300), "unknown target 'aaa"),
        (("evaluate", "--network", "absent.json", "--target", "eyeriss"), "absent.json: cannot be read: No such file or directory"),
        (("evaluate", "--network", "folder.json", "--target", "eyeriss"), "folder.json: cannot be read: Is a directory"),
        (("evaluate", "--network", "broken.json", "--target", "eyeriss"), "broken.json: is not JSON: Expecting value: line 1"),
        (("evaluate", "--network", "deep.json", "--target", "eyeriss"), "deep.json: is not JSON: maximum recursion depth"),
        # runs
        ((*SEARCH, "--out", "run"), "run already holds a run; choose another folder (--out) or remove it first"),
        ((*SEARCH, "--out", "file"), "file/archive.sqlite: cannot be used as an archive"),
        ((*SEARCH, "--out", "file/below"), "file/below/archive.sqlite: cannot be used as an archive"),
        (("front", "absent"), "absent holds no run: there is no archive.sqlite"),
        (("front", "file"), "file holds no run: there is no archive.sqlite"),
        (("show", "absent", "1"), "absent holds no run: there is no archive.sqlite"),
        (("plot", "run", "absent"), "absent holds no run: there is no archive.sqlite"),
        (("resume", "absent"), "absent holds no run: there is no archive.sqlite"),
        (("front", "cut"), "cut/archive.sqlite: cannot be "),
        (("resume", "cut"), "cut/archive.sqlite: cannot be "),
        (("front", "junk"), "junk/archive.sqlite: cannot be "),
        (("show", "run", "9"), "no pair 9 in this run; ids go from 1 to 8"),
        (("show", "run", "0"), "no pair 0 in this run; ids go from 1 to 8"),
        (("show", "run", "1" + "0" * 30), "in this run; ids go from 1 to 8"),
        (("plot", "run", "-o", "front.gif"), "cannot draw 'front.gif': the file must end in .png, .svg, .pdf"),
        (("plot", "run", "-o", "front"), "cannot draw 'front': the file must end in .png, .svg, .pdf"),
        (("plot", "run", "-o", "folder.png"), "folder.png: cannot be written: Is a directory"),
        (("plot", "run", "-o", "file/x.png"), "file/x.png: cannot be written: File exists"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_mistake_is_told_in_one_line(run, words, said) -> None:
    assert said in message(run(*words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Usage: cosearch"),
        (("serch",), "No such command 'serch'"),
        (("targets", "lst"), "No such command 'lst'"),
        (("search", "--target", "eyeriss"), "--out"),
        (("search", "--targt", "eyeriss"), "--target"),
        (("show", "run", "one"), "ID"),
        (("show", "run", "1", "--format", "csv"), "table"),
        (("targets", "show", "eyeriss", "--format", "csv"), "table"),
        (("front", "run", "--format", "xml"), "xml"),
        (("list", "network"), "network"),
        ((*OFA, "--fix", "both"), "both"),
        ((*OFA, "--seed", "-1"), "--seed"),
        ((*SEARCH, "--budget", "many"), "--budget"),
        ((*MAP, "--layer", "K2", "--effort", "0"), "--effort"),
        (("resume", "run", "--budget", "0"), "--budget"),
        (("resume", "run", "--workers", "0"), "--workers"),
        (("spaces", "sample", "ofa-mobilenet-v3", "-n", "0"), "-n"),
        (("plot",), "runs"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_what_the_command_line_cannot_mean(run, words, said) -> None:
    result = run(*words)
    assert result.code == 2
    assert said in result.err + result.out
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    "words",
    [
        (*OFA, "--target", "eyeris"), (*OFA, "--objectives", "x"), (*OFA, "--strategy", "x"), (*OFA, "--limit", "x"),
        (*OFA, "--budget", "0"), (*OFA, "--target", "simba_like"), (*SEARCH, "--network", "x"), (*SEARCH, "--target", "bad.yaml"),
    ],
    ids=lambda words: " ".join(words[-2:]),
)  # fmt: skip
def test_a_search_that_is_refused_leaves_no_folder(run, words) -> None:
    mistaken(run(*words))
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "words", [("targets", "check"), ("targets", "show"), ("map", "--layer", "K2", "--target")], ids=" ".join
)
def test_every_mistake_of_a_description_is_told(run, words) -> None:
    lines = mistaken(run(*words, "bad.yaml")).splitlines()
    assert lines[0] == "cosearch: bad.yaml: clock_mhz: is missing"
    assert lines[1].startswith("bad.yaml:3: clok_mhz: unknown key (value 100); did you mean 'clock_mhz'?")
    assert lines[2].startswith("bad.yaml:10: levels.buffer.entries: -1 is wrong: input should be greater than 0")
    assert len(lines) == 3


def test_a_run_in_the_way_is_not_touched(run, recorded) -> None:
    message(run(*SEARCH, "--out", "run"))
    assert Path("run", FILE_NAME).read_bytes() == recorded


def test_a_run_that_keeps_no_limit_is_looked_at_without_a_stumble(run) -> None:
    message(run(*SEARCH, "--limit", "area_mm2<=0.00001", "--limit", "latency_s<=1000"))
    told = run("front", "new")
    assert (told.code, told.err) == (0, "")
    assert told.out == "no front: none of 6 recorded pairs can run and keeps area_mm2<=1e-05, latency_s<=1000\n"
    assert run("front", "new", "--format", "json").json["rows"] == []
    assert (
        run("front", "new", "--format", "csv").out
        == "id,latency_ms,energy_mj,hardware.array_x,hardware.array_y,hardware.buffer\n"
    )
    assert message(run("plot", "new")).endswith("there is nothing to draw")
    assert "no pair of 6 evaluated keeps the limits" in message(run("resume", "new", "--workers", "1"))
    assert run("show", "new", "1").code == 0


def test_a_pair_whose_hardware_cannot_run_the_network_is_told(run) -> None:
    message(run(*SEARCH, "--target", "no_room.yaml"))
    assert "registers" in message(run("show", "new", "1"))
