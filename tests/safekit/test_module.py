"""Reading modules that come from anybody: XML in every encoding, archives and directories that mean harm."""

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcsidecar.safekit import module as safekit_module
from hcsidecar.safekit.module import MAX_FILES, ModuleError, read_module
from hcsidecar.safekit.xml import MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, read_xml

GOOD = "<safe>\n<service mode='farm'>\n<user x='ä'/></service></safe>"
CONFIGURATION = b"<safe><service mode='farm'/></safe>"
WEB_FARM = Path(__file__).parents[1] / "safekit" / "web_farm"


def why(content):
    with pytest.raises(ModuleError) as refusal:
        read_xml(content, "userconfig.xml")
    return str(refusal.value)


def outcome(read, *arguments):
    """Give what is read, or the refusal in words; anything else that is raised fails the test."""
    try:
        return read(*arguments)
    except ModuleError as error:
        return str(error)


def declared(encoding, text=GOOD):
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{text}'


@pytest.mark.parametrize(
    "content",
    [
        GOOD.encode(),
        GOOD.encode("utf-8-sig"),
        f"<!DOCTYPE safe>\n{GOOD}".encode(),
        declared("UTF-8").encode(),
        declared("utf-8").encode("utf-8-sig"),
        declared("ISO-8859-1").encode("iso-8859-1"),
        declared("iso-8859-15").encode("iso-8859-15"),
        declared("Windows-1252").encode("cp1252"),
        declared("UTF-16").encode("utf-16"),
        declared("UTF-16").encode("utf-16-le"),
        declared("UTF-16").encode("utf-16-be"),
        GOOD.encode("utf-16"),
        declared("UTF-16").encode(),
        GOOD.replace("\n", "\r\n").encode(),
    ],
    ids=range(14),
)
def test_a_configuration_is_read_in_the_encoding_that_it_is_in(content):
    if content.startswith(b'<?xml version="1.0" encoding="UTF-16"'):
        assert "is in an encoding that is not known here: utf-16" in why(content)
        return
    root = read_xml(content, "userconfig.xml")
    [service] = root.children
    assert service.children[0].attributes == {"x": "ä"}
    assert service.line == root.line + 1


def test_euro_signs_of_windows_are_read():
    root = read_xml(declared("windows-1252", "<safe x='€'/>").encode("cp1252"), "x")
    assert root.attributes == {"x": "€"}


def test_elements_know_their_lines_and_their_text():
    root = read_xml(
        b"<!DOCTYPE safe>\n<safe>\n\n  <a\n   x='1'/>\n<!-- <b/> --><c>one<![CDATA[ < two]]></c></safe>", "x"
    )
    assert [(each.tag, each.line, each.text.strip()) for each in root.walk()] == [
        ("safe", 2, ""),
        ("a", 4, ""),
        ("c", 6, "one < two"),
    ]


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f'<!DOCTYPE safe [<!ENTITY l0 "lol">{LAUGHS}]><safe>&l9;</safe>', "line 1: declares an entity"),
        ('<!DOCTYPE safe [\n<!ENTITY x SYSTEM "file:///etc/passwd">]><safe>&x;</safe>', "line 2: declares an entity"),
        ('<!DOCTYPE safe [<!ENTITY % x SYSTEM "http://192.0.2.1/">%x;]><safe/>', "declares an entity"),
        ('<!DOCTYPE safe [<!ENTITY x "y">]><safe/>', "declares an entity"),
        ('<!DOCTYPE safe [<!NOTATION n SYSTEM "n"><!ENTITY x SYSTEM "x" NDATA n>]><safe/>', "declares an entity"),
        ('<!DOCTYPE safe SYSTEM "file:///etc/passwd"><safe/>', "refers to another file"),
        ('<!DOCTYPE safe PUBLIC "a" "http://192.0.2.1/x.dtd"><safe/>', "refers to another file"),
        ("<safe>&undeclared;</safe>", "is not XML: undefined entity"),
        ("<safe>", "is not XML: no element found"),
        ("<safe>\n<a></b></safe>", "line 2: is not XML: mismatched tag"),
        ("<safe a='1' a='2'/>", "is not XML: duplicate attribute"),
        ("<safe/><safe/>", "is not XML: junk after document element"),
        ("", "is not XML: no element found"),
        ("hello", "is not XML: syntax error"),
        ("<safe x='\0'/>", "has a zero byte in it"),
        ("<safe x='\x01'/>", "is not XML"),
        ("<a>" * (MAX_DEPTH + 1) + "</a>" * (MAX_DEPTH + 1), f"is nested deeper than {MAX_DEPTH} elements"),
        (f"<safe>{'<a/>' * MAX_ELEMENTS}</safe>", f"has more than {MAX_ELEMENTS} elements"),
        ("<safe " + " ".join(f"a{n}='x'" for n in range(101)) + "/>", "more than 100 attributes"),
        (f"<safe>{' ' * MAX_BYTES}</safe>", f"is bigger than {MAX_BYTES} bytes"),
        (declared("utf-7"), "is in an encoding that is not known here: utf-7"),
        (declared("rot13"), "is in an encoding that is not known here: rot13"),
        (declared("../../x"), "is not XML"),
    ],
    ids=range(23),
)
def test_hostile_and_broken_configurations_are_refused_with_the_reason(content, told):
    assert told in why(content.encode())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<safe>\n<a x='\xe4'/></safe>", "line 2: is not utf-8 text"),
        (declared("ascii").encode(), "is not ascii text"),
        (declared("windows-1252").encode("cp1252") + b"\x81", "is not cp1252 text"),
        (GOOD.encode("utf-16")[:-1], "is not utf-16-le text"),
        (GOOD.encode("utf-32"), "zero byte"),
        (GOOD.encode("cp500"), "is not"),
    ],
)
def test_text_in_another_encoding_than_it_says_is_refused(content, told):
    assert told in why(content)


@given(
    st.binary(max_size=200) | st.text().map(str.encode) | st.text().map(lambda text: declared("UTF-8", text).encode())
)
def test_no_bytes_break_the_reader(content):
    assert outcome(read_xml, content, "x")


@settings(max_examples=200)
@given(st.data())
def test_no_damage_to_a_configuration_breaks_the_reader(data):
    content = bytearray((WEB_FARM / "conf" / "userconfig.xml").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assert outcome(read_xml, bytes(content), "x")


def entry(name, mode=0o100644, **more):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    for key, value in more.items():
        setattr(info, key, value)
    return info


def archive(path, *entries, configuration="conf/userconfig.xml"):
    """Write an archive: pairs of an entry, or its name, and its content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        if configuration:
            file.writestr(configuration, CONFIGURATION)
        for info, content in entries:
            file.writestr(info, content)
    return path


def why_no_module(path):
    with pytest.raises(ModuleError) as refusal:
        read_module(path)
    return str(refusal.value)


def test_a_directory_and_an_archive_of_it_are_the_same_module(tmp_path):
    there = tmp_path / "web_farm.safe"
    with zipfile.ZipFile(there, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(WEB_FARM.rglob("*")):
            file.write(path, path.relative_to(WEB_FARM))
    packed, unpacked = read_module(there), read_module(WEB_FARM)
    assert packed == unpacked
    assert sorted(packed.scripts) == ["start_both", "stop_both", "transition"]
    assert packed.name == "web_farm"


def test_the_configuration_of_a_module_leads_to_the_whole_module():
    assert read_module(WEB_FARM / "conf" / "userconfig.xml") == read_module(WEB_FARM)


def test_a_configuration_alone_has_no_scripts(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "userconfig.xml").write_bytes(CONFIGURATION)
    module = read_module(tmp_path / "shop" / "userconfig.xml")
    assert (module.name, module.scripts) == ("shop", None)


def test_an_archive_may_have_the_module_in_a_directory(tmp_path):
    path = archive(
        tmp_path / "x.safe",
        ("top/bin/start_both", b"1"),
        ("top/web/a", b""),
        ("README", b""),
        configuration="top/conf/userconfig.xml",
    )
    module = read_module(path)
    assert module.scripts == {"start_both": b"1"}
    assert module.others == ["web/a", "README"]


def test_scripts_of_any_kind_are_read_as_they_are(tmp_path):
    path = archive(
        tmp_path / "x.safe", ("bin/a", b"#!/bin/sh\r\n\x00\xff"), ("bin/lib/b c", b""), (entry("bin/", 0o40755), b"")
    )
    assert read_module(path).scripts == {"a": b"#!/bin/sh\r\n\x00\xff", "lib/b c": b""}


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ("../../etc/passwd", "leads out of the module"),
        ("bin/../../x", "leads out of the module"),
        ("/etc/passwd", "leads out of the module"),
        ("bin/./x", "leads out of the module"),
        ("bin//x", "leads out of the module"),
        ("C:/x", "leads out of the module"),
        ("bin/\\..\\x", "leads out of the module"),
        ("bin/a\nb", "is not printable"),
        ("bin/\x1b[31m", "is not printable"),
        ("bin/" + "x" * 300, "is empty or too long"),
        ("bin/START", "has two files of one name"),
        (entry("bin/link", 0o120777), "is a symbolic link"),
        (entry("bin/pipe", 0o010644), "is not a plain file"),
        (entry("bin/device", 0o020644), "is not a plain file"),
        (entry("bin/x", compress_type=zipfile.ZIP_LZMA), "is compressed in a way"),
        (entry("bin/x", compress_type=zipfile.ZIP_BZIP2), "is compressed in a way"),
    ],
    ids=range(16),
)
def test_a_hostile_file_in_an_archive_is_refused_with_the_reason(tmp_path, info, told):
    path = archive(tmp_path / "x.safe", ("bin/start", b"1"), (info, b"x"))
    assert told in why_no_module(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["bin/start", "conf/userconfig.xml"])
def test_a_file_that_is_there_twice_is_refused(tmp_path, name):
    path = archive(tmp_path / "x.safe", ("bin/start", b"1"), (name, b"2"))
    assert "has two files of one name" in why_no_module(path)


def test_bombs_are_refused_before_they_go_off(tmp_path):
    zeros = bytes(2_000_000)
    assert "times as big as in the archive" in why_no_module(archive(tmp_path / "a.safe", ("bin/x", zeros)))
    huge = bytes(safekit_module.MAX_FILE + 1)
    assert "is bigger than" in why_no_module(archive(tmp_path / "b.safe", ("web/x", huge)))
    many = [(f"bin/{number}", b"") for number in range(MAX_FILES)]
    assert f"more than {MAX_FILES} files" in why_no_module(archive(tmp_path / "c.safe", *many))
    stored = [(entry(f"web/{n}"), bytes(safekit_module.MAX_FILE)) for n in range(5)]
    with zipfile.ZipFile(tmp_path / "d.safe", "w") as file:
        file.writestr("conf/userconfig.xml", CONFIGURATION)
        for info, content in stored:
            info.compress_type = zipfile.ZIP_STORED
            file.writestr(info, content)
    assert "is bigger than" in why_no_module(tmp_path / "d.safe")


def test_an_archive_that_lies_about_a_size_is_refused(tmp_path):
    path = archive(tmp_path / "x.safe", ("bin/start", b"#!/bin/sh\n" * 1000))
    content = path.read_bytes()
    for size in (10, 100_000):
        lying = content.replace(struct.pack("<L", 10_000), struct.pack("<L", size))
        (tmp_path / "y.safe").write_bytes(lying)
        assert why_no_module(tmp_path / "y.safe")


def test_an_encrypted_file_is_refused(tmp_path):
    path = archive(tmp_path / "x.safe", ("bin/start", b"1"))
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 8] |= 1
    path.write_bytes(bytes(content))
    assert "is encrypted" in why_no_module(path)


@pytest.mark.parametrize("cut", [4, 30, 100, -1, -30])
def test_a_broken_archive_is_refused(tmp_path, cut):
    path = archive(tmp_path / "x.safe", ("bin/start", b"1" * 1000))
    path.write_bytes(path.read_bytes()[:cut])
    assert "is a broken archive" in why_no_module(path)


def test_an_archive_without_a_configuration_is_refused(tmp_path):
    assert "has no conf/userconfig.xml" in why_no_module(archive(tmp_path / "x.safe", ("a", b""), configuration=""))
    several = archive(tmp_path / "y.safe", ("b/conf/userconfig.xml", b""), configuration="a/conf/userconfig.xml")
    assert "has several conf/userconfig.xml" in why_no_module(several)
    assert "has no conf" in why_no_module(archive(tmp_path / "z.safe", configuration="a/b/conf/userconfig.xml"))


def test_what_is_no_archive_is_refused_by_its_name(tmp_path):
    (tmp_path / "x.safe").write_text("<safe/>")
    assert "is not an archive" in why_no_module(tmp_path / "x.safe")


SMALL_ARCHIVE = io.BytesIO()
with zipfile.ZipFile(SMALL_ARCHIVE, "w", zipfile.ZIP_DEFLATED) as small:
    small.writestr("conf/userconfig.xml", CONFIGURATION)
    small.writestr("bin/start_both", b"#!/bin/sh\n" * 20)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_an_archive_breaks_the_reader(tmp_path, data):
    content = bytearray(SMALL_ARCHIVE.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = tmp_path / "x.safe"
    path.write_bytes(bytes(content))
    assert outcome(read_module, path)


def module_directory(tmp_path):
    (tmp_path / "m" / "conf").mkdir(parents=True)
    (tmp_path / "m" / "bin").mkdir()
    (tmp_path / "m" / "conf" / "userconfig.xml").write_bytes(CONFIGURATION)
    return tmp_path / "m"


def test_links_in_a_directory_are_refused(tmp_path):
    module = module_directory(tmp_path)
    (module / "bin" / "start_both").symlink_to("/etc/passwd")
    assert "start_both: is a symbolic link" in why_no_module(module)
    (module / "bin" / "start_both").unlink()
    (module / "conf" / "userconfig.xml").unlink()
    (module / "conf" / "userconfig.xml").symlink_to("/etc/passwd")
    assert "userconfig.xml: is a symbolic link" in why_no_module(module)


def test_a_linked_directory_is_not_followed(tmp_path):
    module = module_directory(tmp_path)
    (module / "bin" / "everything").symlink_to("/")
    assert "everything: is a symbolic link" in why_no_module(module)


def test_a_pipe_in_a_directory_is_not_waited_for(tmp_path):
    module = module_directory(tmp_path)
    os.mkfifo(module / "bin" / "start_both")
    assert stat.S_ISFIFO((module / "bin" / "start_both").stat().st_mode)
    assert "is not a plain file" in why_no_module(module)


def test_a_directory_of_too_much_is_refused(tmp_path):
    module = module_directory(tmp_path)
    for number in range(MAX_FILES):
        (module / "bin" / str(number)).touch()
    assert f"more than {MAX_FILES} files" in why_no_module(module)


def test_a_file_of_too_much_is_refused(tmp_path):
    module = module_directory(tmp_path)
    with (module / "bin" / "start_both").open("wb") as file:
        file.truncate(safekit_module.MAX_FILE + 1)
    assert "is bigger than" in why_no_module(module)


def test_what_is_not_there_is_said_to_be_so(tmp_path):
    assert "is not there" in why_no_module(tmp_path / "none")
    assert "has no conf/userconfig.xml" in why_no_module(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is neither a file nor a directory" in why_no_module(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(b"")
    assert "is not XML" in why_no_module(tmp_path / "long")
    assert "cannot be read" in why_no_module(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said_to_be_so(tmp_path):
    module = module_directory(tmp_path)
    (module / "bin" / "x").touch(mode=0)
    assert "Permission denied" in why_no_module(module)
