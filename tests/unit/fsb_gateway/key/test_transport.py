from __future__ import annotations

from functools import lru_cache

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from hypothesis import given
from hypothesis import strategies as st

from fsb_gateway.error import FirmKeyUnfit
from fsb_gateway.file_format.key import PrivateKey
from fsb_gateway.key.transport import generate_transport_key, public_der, unwrap_key, wrap_key
from fsb_gateway.key.wrap import private_der

KEYS: tuple[PrivateKey, ...] = (generate_private_key(SECP256R1()), Ed25519PrivateKey.generate())
OAEP_SHA1 = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)  # noqa: S303 - what tokens know
RSA_BYTES = 384


@lru_cache(maxsize=4)
def transport(name: str = "box-1") -> RSAPrivateKey:
    return generate_transport_key()


def receiver() -> bytes:
    return public_der(transport().public_key())


@pytest.mark.parametrize("key", KEYS)
def test_wrapped_key_comes_out_as_it_went_in(key: PrivateKey) -> None:
    wrapped = wrap_key(key, to=receiver())
    found = unwrap_key(wrapped, transport(), public_key=public_der(key.public_key()))
    assert private_der(found) == private_der(key)
    assert wrap_key(key, to=receiver()) != wrapped


@pytest.mark.parametrize("key", KEYS)
def test_wrapping_is_oaep_of_an_aes_256_key_and_kwp_of_pkcs8_under_it(key: PrivateKey) -> None:
    wrapped = wrap_key(key, to=receiver())
    aes = transport().decrypt(wrapped[:RSA_BYTES], OAEP_SHA1)
    assert len(aes) == 32
    assert aes_key_unwrap_with_padding(aes, wrapped[RSA_BYTES:]) == private_der(key)


@pytest.mark.parametrize("zeros", [0, 1, 5, 7, 64])
def test_zeros_that_a_token_added_are_no_part_of_the_key(zeros: int) -> None:
    key = KEYS[0]
    aes = bytes(range(32))
    content = aes_key_wrap_with_padding(aes, private_der(key) + bytes(zeros))
    wrapped = transport().public_key().encrypt(aes, OAEP_SHA1) + content
    found = unwrap_key(wrapped, transport(), public_key=public_der(key.public_key()))
    assert private_der(found) == private_der(key)


def test_anything_but_zeros_behind_the_key_is_refused() -> None:
    aes = bytes(range(32))
    content = aes_key_wrap_with_padding(aes, private_der(KEYS[0]) + b"\0\0x")
    wrapped = transport().public_key().encrypt(aes, OAEP_SHA1) + content
    with pytest.raises(FirmKeyUnfit):
        unwrap_key(wrapped, transport(), public_key=public_der(KEYS[0].public_key()))


@given(content=st.binary(max_size=200))
def test_whatever_else_was_wrapped_is_refused(content: bytes) -> None:
    aes = bytes(range(32))
    sealed = transport().public_key().encrypt(aes, OAEP_SHA1)
    wrapped = sealed + (aes_key_wrap_with_padding(aes, content) if content else b"")
    with pytest.raises(FirmKeyUnfit):
        unwrap_key(wrapped, transport(), public_key=public_der(KEYS[0].public_key()))


@given(position=st.integers(0, RSA_BYTES + 80), bit=st.integers(0, 7))
def test_any_changed_bit_is_refused(position: int, bit: int) -> None:
    wrapped = bytearray(_wrapped())
    wrapped[position % len(wrapped)] ^= 1 << bit
    with pytest.raises(FirmKeyUnfit):
        unwrap_key(bytes(wrapped), transport(), public_key=public_der(KEYS[0].public_key()))


@lru_cache(maxsize=1)
def _wrapped() -> bytes:
    return wrap_key(KEYS[0], to=receiver())


def test_key_for_another_box_or_of_another_firm_code_is_refused() -> None:
    with pytest.raises(FirmKeyUnfit):
        unwrap_key(_wrapped(), transport("box-2"), public_key=public_der(KEYS[0].public_key()))
    with pytest.raises(FirmKeyUnfit):
        unwrap_key(_wrapped(), transport(), public_key=public_der(KEYS[1].public_key()))


def test_rsa_key_is_no_firm_key() -> None:
    aes = bytes(range(32))
    content = aes_key_wrap_with_padding(aes, private_der(transport("box-2")))
    wrapped = transport().public_key().encrypt(aes, OAEP_SHA1) + content
    with pytest.raises(FirmKeyUnfit, match="kind"):
        unwrap_key(wrapped, transport(), public_key=public_der(transport("box-2").public_key()))


@pytest.mark.parametrize(
    "to",
    [b"", b"no key", public_der(KEYS[0].public_key()), public_der(generate_rsa(65537, 2048).public_key())],
    # What differs from process to process is no name.
    ids=["nothing", "no key", "of another kind", "too short"],
)
def test_nothing_is_wrapped_to_what_is_no_transport_key(to: bytes) -> None:
    assert isinstance(KEYS[0], EllipticCurvePrivateKey)
    with pytest.raises(FirmKeyUnfit):
        wrap_key(KEYS[0], to=to)
