"""Passwords as argon2id keeps them."""

import msgspec
import pytest
from argon2 import extract_parameters

from hcsidecar.access.password_hashes import NOBODYS, hash_password, is_right_password
from hcsidecar.core.access.record import PasswordHash


def test_the_right_password_is_right_and_no_other_one_is():
    kept = hash_password("correct horse battery")
    assert is_right_password("correct horse battery", kept)
    assert not is_right_password("correct horse batterY", kept)


def test_the_record_takes_a_hash_as_it_is_made_and_each_has_a_salt_of_its_own():
    one, other = hash_password("correct horse battery"), hash_password("correct horse battery")
    assert one != other
    assert msgspec.convert(one, PasswordHash) == one


@pytest.mark.parametrize("kept", [None, "", "plain", "$argon2id$v=19$m=1$x$y"])
def test_without_a_user_or_with_something_else_no_password_is_right(kept):
    assert not is_right_password("nobody has this password", kept)


def test_a_name_that_there_is_not_takes_the_same_work_as_one_that_there_is():
    assert extract_parameters(NOBODYS) == extract_parameters(hash_password("correct horse battery"))
    assert msgspec.convert(NOBODYS, PasswordHash) == NOBODYS
