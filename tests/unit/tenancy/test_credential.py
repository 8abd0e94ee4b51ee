from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenancy.credential import CLIENT_SECRET_PREFIX, CredentialKey, credential_key, make_secret
from tenancy.errors import CredentialKeyDamaged, CredentialKeyExposed, CredentialKeyMissing

KEY = CredentialKey(bytes(range(32)))


def test_secrets_have_their_prefix_and_256_bits_and_never_repeat() -> None:
    made = {make_secret(CLIENT_SECRET_PREFIX) for _ in range(200)}
    assert len(made) == 200
    assert all(
        secret.startswith("wops_client_") and len(secret) == len("wops_client_") + 43 for secret in made
    )


def test_secret_matches_its_own_hash_only() -> None:
    stored = KEY.hash_secret("s3cret", owner="cli_1")
    assert KEY.matches("s3cret", stored, owner="cli_1")
    assert not KEY.matches("s3creT", stored, owner="cli_1")
    assert not KEY.matches("s3cret", stored, owner="cli_2")
    assert not CredentialKey(bytes(32)).matches("s3cret", stored, owner="cli_1")
    assert not KEY.matches("s3cret", None, owner="cli_1")


def test_secret_longer_than_any_of_ours_is_never_right() -> None:
    secret = "x" * 257
    assert not KEY.matches(secret, KEY.hash_secret(secret, owner="cli_1"), owner="cli_1")


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_two_pairs_of_owner_and_secret_never_share_a_hash(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    hashes = [KEY.hash_secret(secret, owner=owner) for owner, secret in (one, other)]
    assert (hashes[0] == hashes[1]) == (one == other)


def test_key_does_not_show_itself() -> None:
    assert "0001" not in repr(KEY)
    assert "x01" not in repr(KEY)


def test_first_call_makes_a_private_key_file_and_later_ones_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secret" / "credential.key"
    stored = credential_key(path).hash_secret("s", owner="o")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert credential_key(path).matches("s", stored, owner="o")
    assert [each.name for each in path.parent.iterdir()] == ["credential.key"]


def test_sixteen_first_starts_at_once_end_up_with_one_key(tmp_path: Path) -> None:
    path = tmp_path / "credential.key"
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(credential_key, [path] * 16))
    assert len({key.hash_secret("s", owner="o") for key in keys}) == 1


def test_lost_key_is_not_replaced_where_secrets_may_exist(tmp_path: Path) -> None:
    path = tmp_path / "credential.key"
    with pytest.raises(CredentialKeyMissing) as refused:
        credential_key(path, may_create=False)
    assert (refused.value.code, list(tmp_path.iterdir())) == ("credential_key_missing", [])
    stored = credential_key(path).hash_secret("s", owner="o")
    assert credential_key(path, may_create=False).matches("s", stored, owner="o")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o601])
def test_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "credential.key"
    credential_key(path)
    path.chmod(mode)
    with pytest.raises(CredentialKeyExposed) as refused:
        credential_key(path)
    assert refused.value.code == "credential_key_exposed"


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_key_of_another_length_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "credential.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CredentialKeyDamaged):
        credential_key(path)
    assert path.read_bytes() == content


def test_key_behind_a_link_is_refused(tmp_path: Path) -> None:
    credential_key(tmp_path / "real.key")
    (tmp_path / "credential.key").symlink_to(tmp_path / "real.key")
    with pytest.raises(CredentialKeyExposed):
        credential_key(tmp_path / "credential.key")
