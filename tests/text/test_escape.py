"""Escaping of untrusted text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.text.escape import cell, count, fit, inert, printable, squeeze, width
from tests.build import CONTROLS, HOSTILE

anything = st.text(st.characters(exclude_categories=())) | st.text(
    st.sampled_from("".join(HOSTILE))
)
"""Includes surrogates, which file names decode to if they are not UTF-8."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("curl", "curl"),
        ("", ""),
        ("café 日本", "café 日本"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\tc\rd", "a\\x0ab\\x09c\\x0dd"),
        ("\x7f", "\\x7f"),
        ("\x85", "\\x85"),
        ("\u202egnp", "\\u202egnp"),
        ("\u2066\u2069", "\\u2066\\u2069"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\u200b", "\\u200b"),
        ("\udcff", "\\udcff"),
        ("\U000e0001", "\\U000e0001"),
        ("\ue000", "\\ue000"),
    ],
)
def test_invisible_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(anything)
def test_no_control_character_survives(text: str) -> None:
    shown = printable(text)
    assert not CONTROLS.search(shown)
    shown.encode()  # a surrogate would raise


@given(anything)
def test_printable_text_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("", 0),
        ("abc", 3),
        ("é", 1),
        ("e\u0301", 1),
        ("a\u20dd", 1),
        ("日本", 4),
        ("\uff21", 2),
        ("a日e\u0301", 4),
    ],
)
def test_width_is_in_cells(text: str, cells: int) -> None:
    assert width(text) == cells


@given(anything, st.integers(0, 50), st.sampled_from("<>"))
def test_fit_takes_exactly_the_cells_asked_for(text: str, cells: int, align: str) -> None:
    assert width(fit(printable(text), cells, align)) == cells


@pytest.mark.parametrize(
    ("text", "cells", "align", "shown"),
    [
        ("abc", 3, "<", "abc"),
        ("abcd", 3, "<", "ab~"),
        ("abcd", 3, ">", "ab~"),
        ("abcd", 1, "<", "~"),
        ("abcd", 0, "<", ""),
        ("日本語", 4, "<", "日~ "),
        ("日本語", 4, ">", " 日~"),
        ("日本語", 5, "<", "日本~"),
        ("e\u0301e\u0301e\u0301", 2, "<", "e\u0301~"),
    ],
)
def test_long_text_is_cut_with_a_mark(text: str, cells: int, align: str, shown: str) -> None:
    assert fit(text, cells, align) == shown


@given(st.text().map(printable), st.integers(0, 60))
def test_squeezed_text_fits_and_keeps_its_end(text: str, cells: int) -> None:
    squeezed = squeeze(text, cells)
    assert width(squeezed) <= cells
    if width(text) <= cells:
        assert squeezed == text
    elif cells > 4:
        assert "~" in squeezed


@pytest.mark.parametrize(
    ("number", "noun", "shown"),
    [
        (1, "country", "1 country"),
        (2, "country", "2 countries"),
        (0, "process", "0 processes"),
        (3, "day", "3 days"),
    ],
)
def test_noun_has_the_number_before_it(number: int, noun: str, shown: str) -> None:
    assert count(number, noun) == shown


def test_squeeze_drops_the_middle_of_a_long_host() -> None:
    assert squeeze("ec2-203-0-113-25.compute.example.org", 20) == "ec2-203-0-~ample.org"


# Spreadsheets.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *((text, text) for text in ("curl", "", "a=b", "1-1", "'=1", "a;b")),
        *((text, f"'{text}") for text in ("=1+1", "+1", "-1", "@SUM(A1)", " =1", "\u3000\xa0-1")),
        *((text, f"'{text}") for text in ("\uff1d1", "\uff0b1", "\uff0d1", "\uff20a")),
        ("\t=1", "\\x09=1"),
        ("\u200b=1", "\\u200b=1"),
        ("a;=1;-2; +3", "a;'=1;'-2;' +3"),
        ("=1;=1", "'=1;'=1"),
    ],
)
def test_formula_is_marked_as_text(text: str, shown: str) -> None:
    assert inert(text) == shown


@given(
    anything
    | st.tuples(st.sampled_from(["=", "+", "-", "@", " ", "\uff1d"]), anything).map("".join)
)
def test_inert_text_is_no_formula_and_loses_no_character(text: str) -> None:
    shown = inert(text)
    assert shown.lstrip()[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20")
    assert not any(part.lstrip()[:1] in tuple("=+-@") for part in shown.split(";"))
    assert shown.replace("'", "") == printable(text).replace("'", "")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("curl", "curl"),
        ("=1", "=1"),
        ("a\nb", "a\\x0ab"),
        (7, 7),
        (-7, -7),
        (0.5, 0.5),
        (True, 1),
        (False, 0),
        (None, None),
    ],
)
def test_cell_is_text_without_controls_or_a_number(value: object, shown: object) -> None:
    found = cell(value)
    assert found == shown
    assert type(found) is not bool


def test_cell_cleans_text_only() -> None:
    assert [cell(value, inert) for value in ("-1", -1, True, None)] == ["'-1", -1, 1, None]
    assert cell("a", str.upper) == "A"
