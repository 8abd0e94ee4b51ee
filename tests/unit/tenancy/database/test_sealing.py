from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import InstanceId
from tenancy.credential import CredentialKey
from tenancy.database.home import DatabaseHome, ServerPlace, name_database
from tenancy.database.sealing import PasswordSeal, make_password
from tenancy.errors import InstanceDatabaseMissing
from tenancy.server.errors import DatabasePasswordDamaged

SEAL = PasswordSeal(CredentialKey(bytes(range(32))))


@given(st.text(max_size=200), st.text(max_size=64))
def test_what_is_sealed_is_opened_by_its_owner(password: str, owner: str) -> None:
    assert SEAL.open(SEAL.seal(password, owner=owner), owner=owner) == password


def test_password_has_256_random_bits_and_is_sealed_differently_each_time() -> None:
    first, second = make_password(), make_password()
    assert first != second
    assert len(bytes.fromhex(first)) == 32
    assert SEAL.seal(first, owner="a") != SEAL.seal(first, owner="a")


def test_seal_of_another_owner_or_under_another_key_opens_nothing() -> None:
    sealed = SEAL.seal("secret", owner="ins_a")
    other = PasswordSeal(CredentialKey(bytes(32)))
    for opener, owner in ((SEAL, "ins_b"), (other, "ins_a")):
        with pytest.raises(DatabasePasswordDamaged) as refused:
            opener.open(sealed, owner=owner)
        assert "secret" not in str(refused.value)
        assert sealed not in str(refused.value)


@given(st.integers(min_value=0), st.integers(0, 5))
def test_any_altered_character_is_noticed(where: int, step: int) -> None:
    sealed = SEAL.seal("secret", owner="a")
    at = where % len(sealed)
    altered = sealed[:at] + chr(ord("A") + (ord(sealed[at]) + step) % 26) + sealed[at + 1 :]
    if altered == sealed:
        return
    with pytest.raises(DatabasePasswordDamaged):
        SEAL.open(altered, owner="a")


@pytest.mark.parametrize("sealed", ["", "v1.", "v1.AAAA", "v1.***", "secret", "v2.AAAA", "ä"])
def test_what_is_no_seal_is_refused(sealed: str) -> None:
    with pytest.raises(DatabasePasswordDamaged):
        SEAL.open(sealed, owner="a")


def test_seal_with_a_key_of_its_own_opens_what_the_credential_key_sealed_and_not_the_other_way_round() -> (
    None
):
    credential, own = CredentialKey(bytes(range(32))), CredentialKey(bytes(range(1, 33)))
    seal = PasswordSeal(own, former=credential)
    assert seal.open(SEAL.seal("secret", owner="a"), owner="a") == "secret"
    sealed = seal.seal("secret", owner="a")
    assert seal.open(sealed, owner="a") == "secret"
    # Neither as it is nor passed off as an older one does it open for those who have the credential key alone.
    for text in (sealed, "v1." + sealed.removeprefix("v2.")):
        with pytest.raises(DatabasePasswordDamaged):
            SEAL.open(text, owner="a")


def test_neither_key_nor_password_is_in_any_representation() -> None:
    place = ServerPlace(server_id=None, kind="mariadb", address="127.0.0.1", tls_ca="pem")
    home = DatabaseHome(
        instance_id=InstanceId("ins_1"),
        place=place,
        database_name="wops_1",
        user_name="wops_1",
        password="secret",
    )
    assert "secret" not in repr(home)
    assert repr(SEAL) == "PasswordSeal(…)"


@pytest.mark.parametrize(
    "instance_id",
    ["", "../../etc/passwd", "ins_1", f"ins_{1:032x}/../x", f"ins_{1:032x}\n", f"ins_{1:032X}A"],
)
def test_no_name_is_made_of_what_is_no_instance_id(instance_id: str) -> None:
    for kind in ("sqlite", "mariadb"):
        with pytest.raises(InstanceDatabaseMissing):
            name_database(InstanceId(instance_id), kind)
