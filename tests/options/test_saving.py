"""Saving settings in a configuration file: only they change."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.options import config
from bwtop.options.saving import SAVED, changed, save
from tests.options.examples import FILE

CHANGED = {
    "": 'theme = "ocean"\n',
    "# mine\n": '# mine\ntheme = "ocean"\n',
    'theme = "dark"': 'theme = "ocean"\n',
    'theme = "dark"  # at night\nbits = true\n': 'theme = "ocean"  # at night\nbits = true\n',
    'theme = "dark"  # at night\r\n': 'theme = "ocean"  # at night\n',
    "theme = 'a#b' # c # d": 'theme = "ocean" # c # d\n',
    '"theme" = "dark"\n': 'theme = "ocean"\n',
    "bits = true": 'bits = true\ntheme = "ocean"\n',
    '[keys]\npause = ["p"]\n': 'theme = "ocean"\n[keys]\npause = ["p"]\n',
    'sort = """\ntheme = 1\n"""\n[keys]\ntheme = 2\n': (
        'sort = """\ntheme = 1\n"""\ntheme = "ocean"\n[keys]\ntheme = 2\n'
    ),
    'columns = [\n  "pid",\n  # [keys]\n]\n': 'columns = [\n  "pid",\n  # [keys]\n]\ntheme = "ocean"\n',
}


@pytest.mark.parametrize("text", CHANGED)
def test_only_the_statement_changes(text: str) -> None:
    assert changed(text, {"theme": "ocean"}) == CHANGED[text]
    assert changed(CHANGED[text], {"theme": "ocean"}) == CHANGED[text]
    without = changed(CHANGED[text], {"theme": None})
    assert "ocean" not in without
    assert changed(without, {"theme": None}) == without


def test_comments_within_a_list_stay_above_it() -> None:
    text = (
        'bits = true\ncolumns = [  # mine\n  "pid",\n  # the name\n  "process", # too\n]\n[keys]\n'
    )
    wanted = 'bits = true\n# mine\n# the name\n# too\ncolumns = ["process"]\n[keys]\n'
    assert changed(text, {"columns": ["process"]}) == wanted
    assert changed(wanted, {"columns": ["process"]}) == wanted


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "theme": st.sampled_from(["ocean", "dark", None]),
        "mouse": st.booleans(),
        "graphs": st.booleans(),
        "columns": st.just(["pid", "process"]),
    },
)


@given(st.lists(VALUES, min_size=1, max_size=4), st.sampled_from(["", FILE, "# only this"]))
def test_every_other_line_stays(steps: list[dict[str, Any]], text: str) -> None:
    known = tomllib.loads(text)
    found = text
    for values in steps:
        found = changed(found, values)
        known |= {name: value for name, value in values.items() if value is not None}
        for name in [name for name, value in values.items() if value is None]:
            known.pop(name, None)
    assert tomllib.loads(found) == known
    others = [line for line in text.splitlines() if line.partition(" =")[0] not in SAVED]
    assert [line for line in others if line not in found.splitlines()] == []


def test_a_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "bwtop.toml"
    real.parent.mkdir()
    real.write_text("bits = true\n")
    real.chmod(0o640)
    link = tmp_path / "bwtop" / "config.toml"
    link.parent.mkdir()
    link.symlink_to(real)
    save(link, {"mouse": False})
    assert link.is_symlink()
    assert real.read_text() == "bits = true\nmouse = false\n"
    assert real.stat().st_mode & 0o777 == 0o640
    loaded = config.load([link], lambda path: tomllib.loads(path.read_text()))
    assert loaded.screen == {"mouse": False}


def test_a_missing_file_is_made_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "config.toml"
    save(path, {"graphs": False})
    assert path.read_text() == "graphs = false\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["config.toml"]


@pytest.mark.parametrize(
    "values",
    [{"db": "/etc/x"}, {"ship": "clickhouse://x"}, {"theme": "x"}, {"mouse": 1}, {"columns": []}],
)
def test_no_other_setting_and_no_invalid_value_is_saved(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    path = tmp_path / "config.toml"
    with pytest.raises(ValueError, match=r"not saved|expected|required"):
        save(path, values)
    assert not path.exists()


def test_a_broken_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("theme = \n")
    with pytest.raises(ValueError, match="Invalid"):
        save(path, {"theme": "dark"})
    assert path.read_text() == "theme = \n"
