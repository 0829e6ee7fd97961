"""Description files: every mistake is named with file, line, key, value and what is right; nothing else ever escapes."""

from __future__ import annotations

import random
import re
from importlib import resources
from pathlib import Path

import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, parse_target, target_names, value_at, with_values
from accel_models.errors import AccelModelsError, DescriptionError, UnknownNameError

GOOD = """\
name: small
clock_mhz: 100
node_nm: 45
precision: {weights: 8, inputs: 8, outputs: 8}
levels:
  - name: registers
    component: register_file
    keeps: [weights, inputs, outputs]
    entries: 32
  - name: buffer
    component: sram
    keeps: [inputs, outputs]
    entries: 4096
    fanout:
      x: {size: 8, dims: [K, G]}
      y: {size: 4, dims: [C]}
  - name: dram
    component: dram
    keeps: [weights, inputs, outputs]
    shared_bandwidth_words_per_cycle: 4
search:
  - {name: array_x, sets: [buffer.fanout.x.size], minimum: 2, maximum: 16, step: 2}
  - {name: size, sets: [buffer.entries], choices: [1024, 4096, 16384], unit: words}
"""


def refused(text: str | bytes) -> str:
    with pytest.raises(DescriptionError) as caught:
        parse_target(text, "mine.yaml")
    return str(caught.value)


def changed(*changes: tuple[str, str]) -> str:
    text = GOOD
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    return text


def line_of(text: str, snippet: str) -> int:
    return text[: text.index(snippet)].count("\n") + 1


def test_the_good_one_is_good() -> None:
    target = parse_target(GOOD, "mine.yaml")
    assert target.macs_per_cycle == 32
    assert [level.name for level in target.levels] == ["registers", "buffer", "dram"]
    assert parse_target(GOOD.encode(), "mine.yaml") == target


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("clock_mhz: 100", "clock_mhz: 100\nclok: 3", 3, "clok: unknown key (value 3); did you mean 'clock_mhz'?"),
        ("clock_mhz: 100", "clock_mhz: 100\nzzz: 3", 3, "zzz: unknown key (value 3); known: clock_mhz, kind,"),
        ("entries: 4096", "entriess: 3", 13, "levels.buffer.entriess: unknown key (value 3); did you mean 'entries'?"),
        ("size: 8", "siz: 8", 15, "levels.buffer.fanout.x.siz: unknown key (value 8); did you mean 'size'?"),
        ("entries: 4096", "entries: -1", 13, "levels.buffer.entries: -1 is wrong: input should be greater than 0"),
        ("size: 8", "size: 0", 15, "levels.buffer.fanout.x.size: 0 is wrong: input should be greater than 0"),
        ("entries: 4096", "entries: 1.5", 13, "levels.buffer.entries: 1.5 is wrong: input should be a valid integer"),
        (
            "entries: 4096",
            "entries: many",
            13,
            "levels.buffer.entries: 'many' is wrong: input should be a valid integer",
        ),
        ("entries: 4096", "entries: 1" + "0" * 400, 13, "levels.buffer.entries: 1000"),
        (
            "entries: 4096",
            "buffering: '2'",
            13,
            "levels.buffer.buffering: '2' is wrong: input should be a valid number",
        ),
        ("clock_mhz: 100", "clock_mhz: '100'", 2, "clock_mhz: '100' is wrong: input should be a valid number"),
        ("clock_mhz: 100", "clock_mhz: true", 2, "clock_mhz: True is wrong: input should be a valid number"),
        ("clock_mhz: 100", "clock_mhz: .inf", 2, "clock_mhz: inf is wrong: input should be a finite number"),
        ("node_nm: 45", "node_nm: 3", 3, "node_nm: 3 is wrong: input should be greater than or equal to 7"),
        (
            "keeps: [inputs, ",
            "keeps: [input, ",
            12,
            "levels.buffer.keeps.0: 'input' is wrong: input should be 'weights', ",
        ),
        (
            "keeps: [inputs, outputs]",
            "keeps: inputs",
            12,
            "levels.buffer.keeps: 'inputs' is wrong: input should be a list",
        ),
        ("dims: [K, G]", "dims: [k]", 15, "levels.buffer.fanout.x.dims.0: 'k' is wrong: input should be 'N', 'K',"),
        ("dims: [K, G]", "dims: [K, K]", 15, "levels.buffer.fanout.x: dims ['K', 'K'] names a dim twice"),
        (
            "component: sram",
            "component: srm",
            11,
            "levels.buffer.component: 'srm' is wrong: input should be 'register_file', ",
        ),
        ("{size: 8, dims: [K, G]}", "8", 15, "levels.buffer.fanout.x: 8 is wrong: input should be a mapping of keys"),
        (
            "name: buffer",
            "name: Buffer",
            10,
            "levels.Buffer.name: 'Buffer' is wrong: input should be lower-case letters",
        ),
        ("name: small", "name: 3", 1, "name: 3 is wrong: input should be a valid string"),
        ("name: small", "kind: fpga", 1, "kind: unknown kind 'fpga': known: accelerator"),
        ("name: small", "kind: acelerator", 1, "kind: unknown kind 'acelerator': did you mean 'accelerator'?"),
        ("clock_mhz: 100", "7: 3", 2, "7: 7 is wrong: keys should be strings"),
        (
            "clock_mhz: 100",
            "clock_mhz: 1\nclock_mhz: 1",
            3,
            "key 'clock_mhz' stands twice in one mapping; keep one of them",
        ),
        (
            "entries: 4096",
            "entries: 1\n    entries: 1",
            14,
            "key 'entries' stands twice in one mapping; keep one of them",
        ),
        ("name: small", "name: [small", 2, "no valid YAML: expected ',' or ']'"),
        ("    entries: 4096", "   entries: 4096", 13, "no valid YAML: expected <block end>"),
        ("    entries: 4096", "\tentries: 4096", 13, "no valid YAML: found character '\\t'"),
    ],
)
def test_a_mistake_is_named_with_file_line_key_and_value(old, new, line, said) -> None:
    assert f"mine.yaml:{line}: {said}" in refused(changed((old, new)))


def test_what_is_missing_is_named() -> None:
    assert refused(changed(("clock_mhz: 100\n", ""))) == "mine.yaml: clock_mhz: is missing"
    text = changed(("    component: sram\n", ""))
    assert refused(text) == f"mine.yaml:{line_of(text, '- name: buffer')}: levels.buffer.component: is missing"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: buffer", "name: registers", "two levels share a name: registers, registers, dram"),
        ("component: dram", "component: sram\n    entries: 5", "the last (outermost) level, 'dram', must be dram and keep every"),
        ("keeps: [weights, inputs, outputs]\n    shared", "keeps: [weights]\n    shared", "must be dram and keep every dataspace"),
        ("component: sram\n    keeps: [inputs, outputs]\n    entries: 4096", "component: dram\n    keeps: [inputs, outputs]",
         "only the outermost level can be dram"),
    ],
)  # fmt: skip
def test_a_hierarchy_that_cannot_be(old, new, said) -> None:
    text = changed((old, new))
    message = refused(text)
    assert message.startswith(f"mine.yaml:{line_of(text, 'levels:')}: levels: ")
    assert said in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    entries: 4096\n", "", "levels.buffer: entries missing for sram"),
        ("component: dram", "component: dram\n    entries: 5", "levels.dram: entries must be left out for dram (unlimited)"),
        ("keeps: [inputs, outputs]", "keeps: [inputs, inputs]", "levels.buffer: keeps ['inputs', 'inputs'] must name one or more"),
        ("keeps: [inputs, outputs]", "keeps: []", "levels.buffer: keeps [] must name one or more of ['weights', 'inputs',"),
    ],
)  # fmt: skip
def test_a_level_that_contradicts_itself(old, new, said) -> None:
    level = said.split(":")[0].split(".")[1]
    text = changed((old, new))
    assert f"mine.yaml:{line_of(text, f'- name: {level}')}: {said}" in refused(text)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = changed(
        ("clock_mhz: 100\n", ""), ("node_nm: 45", "node_nm: 450"), ("entries: 4096", "entries: x"),
        ("name: array_x", "nam: array_x"), ("dims: [C]", "dims: [X]"),
    ) + "clock_mhz: -1\n"  # fmt: skip
    lines = refused(text).splitlines()
    numbers = [int(re.match(r"mine\.yaml:(\d+): ", line)[1]) for line in lines]
    assert numbers == sorted(numbers)
    keys = [line.split(": ")[1] for line in lines]
    assert keys[:3] == ["node_nm", "levels.buffer.entries", "levels.buffer.fanout.y.dims.0"]
    assert sorted(keys[3:5]) == ["search.0.nam", "search.0.name"]
    assert keys[5:] == ["clock_mhz"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this file is empty"),
        (b"# only a comment\n", "this file is empty"),
        (b"- a\n- b\n", r"a description is a mapping of keys to values, this is \['a', 'b'\]"),
        (b"just words", "this is 'just words'"),
        (bytes(range(256)), "no valid YAML: 'utf-8' codec can't decode"),
        (b"\x00" * 64, "no valid YAML: unacceptable character"),
        (GOOD.encode("utf-16"), "no valid YAML: 'utf-8' codec can't decode"),
        (b"[" * 600, "no valid YAML: nested too deeply"),
        (b"name: " + b"{a: " * 1000 + b"}" * 1000, "no valid YAML: nested too deeply"),
        (GOOD.encode() + b"---\nname: other\n", "no valid YAML: but found another document"),
        (b"name: !!bool x\n", "no valid YAML: KeyError"),
        (b"? [a, b]\n: 3\n", r"\['a', 'b'\]: unknown key"),
    ],
)
def test_what_is_no_description_at_all(content, said) -> None:
    message = refused(content)
    assert re.search(said, message)
    assert all(line.startswith("mine.yaml") for line in message.splitlines())


# Search sections


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[buffer.fanout.x.size]", "[bufer.fanout.x.size]",
         "array_x: path 'bufer.fanout.x.size' leads to no value: unknown key 'bufer': did you mean 'buffer'?"),
        ("[buffer.fanout.x.size]", "[buffer.fanout.z.size]",
         "array_x: path 'buffer.fanout.z.size' leads to no value: unknown key 'z': known: uneven, x, y"),
        ("[buffer.fanout.x.size]", "[buffer.entries.size]", "array_x: path 'buffer.entries.size' leads to no value"),
        ("[buffer.fanout.x.size]", "[buffer]", "array_x: path 'buffer' leads to no value: unknown key 'buffer'"),
        ("[buffer.fanout.x.size]", "[buffer.component]", "array_x: levels.buffer.component: 2 is wrong"),
        ("[1024, 4096, 16384]", "[-2, 4096]", "size: levels.buffer.entries: -2 is wrong: input should be greater than 0"),
        ("[1024, 4096, 16384]", "[1024, big]", "size: levels.buffer.entries: 'big' is wrong: input should be a valid integer"),
        ("[1024, 4096, 16384]", "[1024, x, 16384]", "size: levels.buffer.entries: 'x' is wrong"),
        ("sets: [buffer.entries]", "sets: [dram.entries]", "size: levels.dram: entries must be left out for dram"),
    ],
)  # fmt: skip
def test_a_search_section_that_cannot_be_set(old, new, said) -> None:
    text = changed((old, new))
    assert f"mine.yaml:{line_of(text, new)}: search: {said}" in refused(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("minimum: 2, maximum: 16, step: 2", "minimum: 20, maximum: 16, step: 2", "maximum, step = (20, 16, 2) is no range"),
        ("minimum: 2, maximum: 16, step: 2", "minimum: 2, maximum: 16", "minimum, maximum, step = (2, 16, None) is no range"),
        ("minimum: 2, maximum: 16, step: 2", "minimum: 1, maximum: 3000000000, step: 1", "are more than 100000 choices"),
        ("minimum: 2, maximum: 16, step: 2", "choices: []", "choices is empty"),
        ("minimum: 2, maximum: 16, step: 2", "choices: [2, 2]", "choices lists a value twice"),
        ("minimum: 2, maximum: 16, step: 2", "choices: [2], step: 3", "give either choices, or minimum, maximum and step"),
        ("minimum: 2, maximum: 16, step: 2", "unit: words", "give either choices, or minimum, maximum and step"),
        ("minimum: 2, maximum: 16, step: 2", "choices: [{a: 1}]", "choice {'a': 1} must be a number, a text or a list of them"),
        ("minimum: 2, maximum: 16, step: 2", "choices: [[[1]]]", "must be a number, a text or a list of them"),
        ("name: size", "name: array_x", "name 'array_x' stands twice"),
        ("sets: [buffer.entries]", "sets: [buffer.fanout.x.size]", "path 'buffer.fanout.x.size' stands twice"),
    ],
)  # fmt: skip
def test_a_knob_that_is_none(old, new, said) -> None:
    message = refused(changed((old, new)))
    assert re.match(r"mine\.yaml:\d+: search", message)
    assert said in message


def test_with_values_sets_validates_and_drops_the_search_section() -> None:
    target = parse_target(GOOD, "mine.yaml")
    values = {"buffer.entries": 64, "clock_mhz": 500, "precision.weights": 4, "buffer.fanout.x.dims": ("C",)}
    other = with_values(target, values)
    assert (other.levels[1].entries, other.clock_mhz, other.precision.weights) == (64, 500, 4)
    assert other.levels[1].fanout.x.dims == ("C",)
    assert target.search and not other.search
    assert other.levels[0] == target.levels[0] and other.levels[1].fanout.y == target.levels[1].fanout.y
    assert (target.levels[1].entries, target.clock_mhz) == (4096, 100), "the original changed"
    assert with_values(target, {}) == Accelerator(**{**target.model_dump(), "search": ()})


def test_value_at_reads_what_with_values_sets() -> None:
    target = parse_target(GOOD, "mine.yaml")
    values = {"buffer.entries": 64, "clock_mhz": 500, "precision.weights": 4, "buffer.fanout.x.dims": ("C",)}
    other = with_values(target, values)
    assert {path: value_at(other, path) for path in values} == values
    assert value_at(target, "buffer.entries") == 4096
    with pytest.raises(DescriptionError, match="did you mean 'buffer'"):
        value_at(target, "bufer.entries")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("buffer.entries", -1, r"levels\.buffer\.entries: -1 is wrong"),
        ("buffer.entries", 1.5, r"levels\.buffer\.entries: 1\.5 is wrong"),
        ("buffer.keeps", ("weight",), r"levels\.buffer\.keeps\.0: 'weight' is wrong"),
        ("dram.component", "sram", r"levels\.dram: entries missing for sram"),
        ("clok_mhz", 3, "path 'clok_mhz' leads to no value: unknown key 'clok_mhz': did you mean 'clock_mhz'"),
        ("search.0.minimum", 3, "leads to no value"),
        ("mac.energy_pj.x", 3, "leads to no value"),
    ],
)
def test_with_values_refuses_what_cannot_be(path, value, said) -> None:
    with pytest.raises(DescriptionError, match=said):
        with_values(parse_target(GOOD, "mine.yaml"), {path: value})


# Names and files


def test_a_name_or_a_file(tmp_path, monkeypatch) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    assert load_target(file) == load_target(str(file)) == parse_target(GOOD, "")
    monkeypatch.chdir(tmp_path)
    Path("mine").write_text(GOOD)
    Path("eyeriss").write_text("no description")
    assert load_target("mine.yaml") == load_target("mine") == load_target(file)
    assert load_target("eyeriss").name == "eyeriss"


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("eyeris", UnknownNameError, "unknown target 'eyeris': did you mean 'eyeriss'?"),
        ("qqq", UnknownNameError, "unknown target 'qqq': known: edge_tpu, "),
        ("", UnknownNameError, "unknown target ''"),
        ("absent.yaml", UnknownNameError, "no description file 'absent.yaml'; shipped targets: edge_tpu, "),
        ("absent/mine", UnknownNameError, "no description file 'absent/mine'"),
        ("folder.yaml", DescriptionError, "folder.yaml: cannot be read: Is a directory"),
        ("file/mine.yaml", DescriptionError, "file/mine.yaml: cannot be read: Not a directory"),
        ("a" * 300, UnknownNameError, "unknown target 'aaa"),
        ("a" * 300 + ".yaml", DescriptionError, "cannot be read: File name too long"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else value.__name__,
)
def test_what_cannot_be_loaded(tmp_path, monkeypatch, name, error, said) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.yaml").mkdir()
    Path("file").touch()
    with pytest.raises(error, match=re.escape(said)):
        load_target(name)


# Mutations

JUNK = (
    "-1", "0", "~", "[]", "{}", "abc", "1e400", "1" + "0" * 400, ".nan", ".inf", "*a", "&a", "&a [*a]", "!!binary x", "!foo", "'",
    '"', "{", "[", "\t", "\x00", "é", "2001-01-01", "0x1F", "? [a]", "? {a: 1}", "<<: *x", "---", "%YAML 1.1", "|", ">", "- ",
    "true", ":", "#", "@", "`", "!!python/object:os.system x", "!!float x", "!!bool x", "1:30", "\u2028", "\ufeff", "_",
)  # fmt: skip


def mutated(text: str, chance: random.Random) -> str:
    """Delete, double, move or indent lines; delete or replace characters, words and values."""
    lines = text.split("\n")
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randrange(len(lines))
        line = lines[place]
        at = chance.randrange(len(line) + 1)
        words = list(re.finditer(r"[\w.]+", line))
        kind = chance.randrange(9)
        if kind == 0:
            lines[place : place + 1] = []
        elif kind == 1:
            lines.insert(place, chance.choice(lines))
        elif kind == 2:
            lines[place] = " " * chance.randrange(6) + line.lstrip()
        elif kind == 3:
            lines[place] = line[:at] + chance.choice(JUNK) + line[at:]
        elif kind == 4:
            lines[place] = line[:at] + line[at + 1 :]
        elif kind == 5:
            lines[place] = line[:at] + chr(chance.randrange(0x3000)) + line[at + 1 :]
        elif kind == 6:
            lines[place] = line.split(":")[0] + ": " + chance.choice(JUNK)
        elif kind == 7 and words:
            word = chance.choice(words)
            lines[place] = line[: word.start()] + chance.choice(JUNK) + line[word.end() :]
        else:
            other = chance.randrange(len(lines))
            lines[place], lines[other] = lines[other], line
    return "\n".join(lines)


@pytest.mark.parametrize("name", target_names())
def test_a_damaged_description_loads_or_says_why(name) -> None:
    file = resources.files("accel_models") / "descriptions" / f"{name}.yaml"
    text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("#"))
    refusals = 0
    for seed in range(30):
        broken = mutated(text, random.Random(f"{name} {seed}"))
        try:
            assert parse_target(broken, "x.yaml").area_mm2 >= 0
        except AccelModelsError as error:
            refusals += 1
            assert all(line.startswith("x.yaml") for line in str(error).splitlines()), broken
    assert refusals > 15, "the mutations hardly damage anything"
