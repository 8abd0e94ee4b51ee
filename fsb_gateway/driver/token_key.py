"""Firm keys and the transport key as objects of a PKCS#11 token: made, found, used, wrapped, destroyed.

A firm key's objects have its key id as CKA_ID and its firm code as label, so that what a killed step left is found
again. Private keys are sensitive: nobody reads them. They are extractable so that they can be wrapped;
CKA_WRAP_WITH_TRUSTED would need the security officer's PIN for every transport and is not used.

Everything here raises python-pkcs11's errors; what an object can do is known to that library at run time only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from pkcs11 import (
    Attribute,
    KeyType,
    Mechanism,
    MechanismFlag,
    Object,
    ObjectClass,
    PrivateKey,
    PublicKey,
    Session,
    SignMixin,
    UnwrapMixin,
    WrapMixin,
)
from pkcs11.constants import DEFAULT

from fsb_gateway.box_driver import KeyBinding
from fsb_gateway.job import Algorithm
from fsb_gateway.key.transport import AES_BYTES, RSA_BITS, public_der, read_transport_key, split_wrapped

_BITS_PER_BYTE = 8
_KEY_TYPE: Final[Mapping[Algorithm, KeyType]] = {"ES256": KeyType.EC, "Ed25519": KeyType.EC_EDWARDS}
# **Source:** DER of the curves' object identifiers: RFC 5480 §2.1.1.1 (secp256r1), RFC 8410 §3 (id-Ed25519).
_CURVE: Final[Mapping[Algorithm, bytes]] = {
    "ES256": bytes.fromhex("06082a8648ce3d030107"),
    "Ed25519": bytes.fromhex("06032b6570"),
}
# **Source:** PKCS#11 v3.0 §2.3.3: CKA_EC_POINT is a DER octet string; both kinds of point are shorter than 128 bytes.
_OCTET_STRING = 0x04
_TRANSPORT_ID = b"wops transport key"
_PROTECTED: Final = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True}
# Not for keys that are unwrapped: SoftHSM2 writes the key's value after the template, and refuses that to itself.
_FIXED: Final = {Attribute.MODIFIABLE: False}


def label_of(firm_code: int) -> str:
    """What all objects of a firm code are called in the token."""
    return f"wops firm code {firm_code}"


def find_private_keys(session: Session) -> dict[bytes, PrivateKey]:
    """Every private key of the token, by id."""
    found = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
    return {bytes(key.id): key for key in list(found) if isinstance(key, PrivateKey)}


def find_objects(session: Session, firm_code: int) -> dict[bytes, list[Object]]:
    """Everything that the token holds of a firm code, by id."""
    objects: dict[bytes, list[Object]] = {}
    for item in list(session.get_objects({Attribute.LABEL: label_of(firm_code)})):
        objects.setdefault(bytes(item[Attribute.ID]), []).append(item)
    return objects


def destroy(objects: list[Object]) -> None:
    """Destroy objects of the token, private keys first."""
    for item in sorted(objects, key=lambda item: not isinstance(item, PrivateKey)):
        item.destroy()


def generate(session: Session, binding: KeyBinding) -> tuple[PrivateKey, bytes]:
    """Make a firm key in the token; its private key, and its public half as SPKI DER."""
    parameters = session.create_domain_parameters(
        _KEY_TYPE[binding.algorithm], {Attribute.EC_PARAMS: _CURVE[binding.algorithm]}, local=True
    )
    public, private = parameters.generate_keypair(
        id=binding.key_id.encode(),
        label=label_of(binding.firm_code),
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        private_template={**_PROTECTED, **_FIXED, Attribute.EXTRACTABLE: True},
    )
    return private, read_public_key(binding.algorithm, public)


def read_public_key(algorithm: Algorithm, key: PublicKey) -> bytes:
    """A firm key's public half, SPKI DER.

    Raises:
        ValueError: that is no point of the curve.
    """
    point = bytes(key[Attribute.EC_POINT])
    # Some tokens leave the octet string out. A bare point of P-256 begins with 4 as well, and is two bytes shorter.
    if point[0] == _OCTET_STRING and point[1] == len(point) - 2:
        point = point[2:]
    if algorithm == "Ed25519":
        return public_der(Ed25519PublicKey.from_public_bytes(point))
    return public_der(EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point))


def sign(key: PrivateKey, algorithm: Algorithm, message: bytes) -> bytes:
    """Sign: r‖s for ES256 (CKM_ECDSA over SHA-256), 64 bytes for Ed25519 (CKM_EDDSA without parameters: pure)."""
    signer = cast("SignMixin", key)
    if algorithm == "Ed25519":
        return bytes(signer.sign(message, mechanism=Mechanism.EDDSA))
    return bytes(signer.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA))


def ensure_transport_key(session: Session) -> tuple[PrivateKey, RSAPublicKey]:
    """The token's RSA key for wrapping; made at the first call, which takes seconds."""
    found = list(session.get_objects({Attribute.ID: _TRANSPORT_ID}))
    private = next((key for key in found if isinstance(key, PrivateKey)), None)
    public = next((key for key in found if isinstance(key, PublicKey)), None)
    if private is None or public is None:
        destroy(found)
        public, private = session.generate_keypair(
            KeyType.RSA,
            RSA_BITS,
            id=_TRANSPORT_ID,
            label=_TRANSPORT_ID.decode(),
            store=True,
            # Not for decryption: nobody gets in clear what was wrapped to it.
            capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
            private_template={**_PROTECTED, **_FIXED, Attribute.EXTRACTABLE: False},
        )
    modulus, exponent = (
        int.from_bytes(public[name], "big") for name in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT)
    )
    return private, RSAPublicNumbers(exponent, modulus).public_key()


def wrap(session: Session, key: PrivateKey, *, to: bytes) -> bytes:
    """Wrap a private key to a transport key, inside the token.

    Raises:
        FirmKeyUnfit: `to` is no transport key.
    """
    numbers = read_transport_key(to).public_numbers()
    recipient = session.create_object(
        {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: KeyType.RSA,
            Attribute.TOKEN: False,
            Attribute.WRAP: True,
            Attribute.MODULUS: _big_endian(numbers.n),
            Attribute.PUBLIC_EXPONENT: _big_endian(numbers.e),
        }
    )
    aes = session.generate_key(
        KeyType.AES,
        AES_BYTES * _BITS_PER_BYTE,
        store=False,
        capabilities=MechanismFlag.WRAP,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True},
    )
    try:
        # OAEP without parameters is, for python-pkcs11, the one with SHA-1.
        sealed = cast("WrapMixin", recipient).wrap_key(aes, mechanism=Mechanism.RSA_PKCS_OAEP)
        content = cast("WrapMixin", aes).wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP_PAD)
        return bytes(sealed) + bytes(content)
    finally:
        aes.destroy()
        recipient.destroy()


def unwrap(session: Session, binding: KeyBinding, wrapped: bytes) -> PrivateKey:
    """Take a wrapped private key into the token; which key it is remains to be seen."""
    transport, public = ensure_transport_key(session)
    sealed, content = split_wrapped(wrapped, public.key_size // _BITS_PER_BYTE)
    aes = cast("UnwrapMixin", transport).unwrap_key(
        ObjectClass.SECRET_KEY,
        KeyType.AES,
        sealed,
        mechanism=Mechanism.RSA_PKCS_OAEP,
        store=False,
        capabilities=MechanismFlag.UNWRAP,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )
    try:
        return _unwrap_private(cast("UnwrapMixin", aes), binding, content)
    finally:
        aes.destroy()


def _unwrap_private(aes: UnwrapMixin, binding: KeyBinding, content: bytes) -> PrivateKey:
    # What a private key cannot do is left out: SoftHSM2 refuses such attributes even when they are false.
    template = {
        **_PROTECTED,
        Attribute.EXTRACTABLE: True,
        Attribute.ENCRYPT: DEFAULT,
        Attribute.VERIFY: DEFAULT,
        Attribute.WRAP: DEFAULT,
    }
    key = aes.unwrap_key(
        ObjectClass.PRIVATE_KEY,
        _KEY_TYPE[binding.algorithm],
        content,
        id=binding.key_id.encode(),
        label=label_of(binding.firm_code),
        mechanism=Mechanism.AES_KEY_WRAP_PAD,
        store=True,
        capabilities=MechanismFlag.SIGN,
        template=template,
    )
    return cast("PrivateKey", key)


def _big_endian(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // _BITS_PER_BYTE, "big")
