from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.farmfile.text import MAX_BYTES, NotTomlError, document_in

TEXT = '[farm]\nname = "apache"\n'


def refusal_of(content: bytes) -> str:
    with pytest.raises(NotTomlError) as refused:
        document_in(content)
    return f"{refused.value} ({refused.value.hint})"


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8-sig", "is UTF-8 with a byte order mark (BOM) (save it as UTF-8, without a byte order mark)"),
        ("utf-16", "is UTF-16 (save it as UTF-8"),
        ("utf-32", "is UTF-32 (save it as UTF-8"),
        ("utf-16-le", "has a zero byte in line 1 (save it as UTF-8, not as UTF-16)"),
        ("utf-16-be", "has a zero byte in line 1"),
    ],
)
def test_a_file_in_another_encoding_is_told_which(encoding, said):
    assert refusal_of(TEXT.encode(encoding)).startswith(said)


def test_a_zero_byte_is_told_with_its_line():
    assert refusal_of(f'{TEXT}[web]\n"a\0" = 1'.encode()).startswith("has a zero byte in line 4")


def dotted(parts: int) -> str:
    return ".".join("a" * parts)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(f"{dotted(50_000)} = 1", 1, id="key"),
        pytest.param(f"[{dotted(5_000)}]\n" + "".join(f"k{number} = 1\n" for number in range(9_000)), 1, id="table"),
        pytest.param(f"\n[[{dotted(33)}]]", 2, id="list of tables"),
        pytest.param(f"\nx = {{ b = 1, {dotted(33)} = 1 }}", 2, id="inline table"),
        pytest.param("\n" + r'"\"". ' * 32 + "'.' = 1", 2, id="quoted"),
    ],
)
def test_a_key_of_many_parts_is_refused_before_tomllib_takes_the_square_of_their_number(text, line):
    assert refusal_of(text.encode()).startswith(f"has a key of more than 32 parts in line {line}")


@pytest.mark.parametrize("key", [dotted(32), '"a.' + dotted(40) + '"'])
def test_what_keys_may_be_is_read(key):
    assert document_in(f"{key} = 1".encode())


def test_dots_in_values_are_not_counted():
    assert document_in(f'x = "{dotted(40)}"  # {dotted(40)}\ny = [0.1, "b, 1.{dotted(30)}"]'.encode())


def test_a_file_of_the_greatest_size_is_read_and_a_bigger_one_is_not():
    assert document_in(b"#" * MAX_BYTES) == {}
    assert refusal_of(b"#" * (MAX_BYTES + 1)) == "is bigger than 262144 bytes (is it a farm file?)"


@given(st.binary(max_size=200) | st.text(alphabet="a.\"'[]{}=,\n\\#1 \t", max_size=200).map(str.encode))
def test_any_bytes_are_a_document_or_are_refused(content):
    with suppress(NotTomlError):
        assert isinstance(document_in(content), dict)


def test_what_is_nested_without_end_is_refused():
    assert refusal_of(b"a = " + b"[" * 20_000 + b"]" * 20_000) == "is nested too deeply (is it a farm file?)"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[farm]\nname = "\xff"\n', "is not UTF-8 text in line 2 (save it as UTF-8)"),
        (b"[farm\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"),
    ],
)
def test_what_is_no_text_or_no_toml_is_said_with_its_line(content, said):
    assert refusal_of(content).startswith(said)
