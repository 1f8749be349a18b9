"""What a forger works with: the issuer's public keys, a key pair of their own, and every way to write a token."""

import json
import os
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_decode

from tests.support.tokens import SECRET, SigningKey, base64url, claims, forge, sign

ALGORITHMS = get_default_algorithms()
NOW = int(time.time())
LATER = 99999999999
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


SHARED = SECRET[:32].encode()


class Scene:
    """The issuer's keys, each under its algorithm's name as its `kid`, and the forger's, which their server lists."""

    def __init__(self, trap: str = "http://127.0.0.1:1/") -> None:
        self.keys = {algorithm: SigningKey(algorithm, algorithm) for algorithm in ("EdDSA", "ES256", "RS256")}
        self.forger = SigningKey("EdDSA", "EdDSA")
        # The address of the forger's key server: whoever asks there has fallen for a token.
        self.trap = trap

    @property
    def key(self) -> SigningKey:
        """The one that Better Auth makes unless told otherwise."""
        return self.keys["EdDSA"]

    def jwks(self) -> str:
        return json.dumps({"keys": [key.public for key in self.keys.values()]})


Token = Callable[[Scene], str]
Group = dict[str, Token]


def each(values: Iterable[Any], token: Callable[[Scene, Any], str], name: str = "{}") -> Group:
    """A token for each value, which names it."""

    def bound(value: Any) -> Token:
        return lambda scene: token(scene, value)

    return {name.format(ascii(value)[:60]): bound(value) for value in values}


def each_signed(payloads: dict[str, Any]) -> Group:
    """Two tokens for each payload, with nothing else wrong: under the shared secret, and under a key of the JWKS."""
    by_secret = each(payloads, lambda _, name: forge(payloads[name]), "{}, HS256")
    by_key = each(payloads, lambda scene, name: seal(scene.key, payloads[name]), "{}, EdDSA")
    return by_secret | by_key


def as_text(part: Any) -> str:
    return part if isinstance(part, str) else json.dumps(part)


def signed_part(header: Any, payload: Any) -> str:
    return ".".join(base64url(as_text(part).encode(errors="surrogatepass")) for part in (header, payload))


def seal(key: SigningKey, payload: Any, **header: Any) -> str:
    """A token of this payload, be it nonsense, with a good signature of the key. The header may be overridden."""
    signed = signed_part({"alg": key.algorithm, "kid": key.kid, **header}, payload)
    return f"{signed}.{base64url(ALGORITHMS[key.algorithm].sign(signed.encode(), key.private))}"


def unsigned(header: Any, payload: Any, signature: bytes = b"") -> str:
    return f"{signed_part(header, payload)}.{base64url(signature)}"


def public_forms(key: SigningKey) -> dict[str, bytes]:
    """Every form in which somebody may hold the public key, and so might take it for a secret."""
    public, jwk = key.private.public_key(), key.public
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forms = {
        "PEM": pem,
        "PEM without newline": pem.rstrip(),
        "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK as listed": json.dumps(jwk).encode(),
        "JWK compact": json.dumps(jwk, separators=(",", ":")).encode(),
        "JWK sorted": json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode(),
        "SSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "kid": key.kid.encode(),
    }
    if key.algorithm == "RS256":
        forms["PKCS1 PEM"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        forms["PKCS1 DER"] = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
        forms["modulus"] = jwk["n"].encode()
    if key.algorithm == "ES256":
        forms["point"] = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if key.algorithm == "EdDSA":
        forms["raw"] = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        forms["x"] = jwk["x"].encode()
    return forms


def encrypt(content: str, key: bytes | SigningKey = SHARED, **header: Any) -> str:
    """A JWE (RFC 7516) under 32 bytes of a shared key, or to the public RSA key of a pair."""
    head = base64url(json.dumps({"alg": "dir", "enc": "A256GCM", **header}).encode())
    wrapped = b""
    if isinstance(key, SigningKey):
        public, key = key.private.public_key(), os.urandom(32)
        wrapped = public.encrypt(key, padding.OAEP(padding.MGF1(SHA256()), SHA256(), None))
    plain = zlib.compress(content.encode())[2:-4] if header.get("zip") == "DEF" else content.encode()
    nonce = os.urandom(12)
    sealed = AESGCM(key).encrypt(nonce, plain, head.encode())
    return ".".join([head, *map(base64url, (wrapped, nonce, sealed[:-16], sealed[-16:]))])


def swap(token: str, part: int, other: str) -> str:
    """The token with this part of another one."""
    parts = token.split(".")
    parts[part] = other.split(".")[part]
    return ".".join(parts)


def respell(token: str, part: int = 2) -> str:
    """The same bytes in other letters: the last one of a part may carry bits that no byte takes (RFC 4648, 3.5)."""
    parts = token.split(".")
    for letter in ALPHABET:
        other = parts[part][:-1] + letter
        if other != parts[part] and base64url_decode(other) == base64url_decode(parts[part]):
            parts[part] = other
            return ".".join(parts)
    raise AssertionError("every bit of the last letter counts")


def insert(letter: str) -> str:
    """A good token with a letter in the middle of its signature, as from a line that was broken."""
    token = sign(claims())
    return f"{token[:-20]}{letter}{token[-20:]}"


def standard(payload: dict[str, Any]) -> str:
    """A token whose signature has letters that only the other base64 of RFC 4648 has, in which it is written."""
    for jti in map(str, range(1000)):
        start, _, signature = sign({**payload, "jti": jti}).rpartition(".")
        if "-" in signature and "_" in signature:
            return f"{start}.{signature.translate(str.maketrans('-_', '+/'))}"
    raise AssertionError("no signature has them")


def as_der(token: str) -> str:
    """An ES256 token whose signature is in the form of certificates."""
    start, _, signature = token.rpartition(".")
    raw = base64url_decode(signature)
    return f"{start}.{base64url(encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:])))}"


def as_json(token: str, *, general: bool = False) -> str:
    """The token in a JSON serialisation of RFC 7515, section 7.2."""
    protected, payload, signature = token.split(".")
    one = {"protected": protected, "signature": signature}
    whole = {"payload": payload, "signatures": [one]} if general else {"payload": payload, **one}
    return json.dumps(whole, separators=(",", ":"))


def twice(payload: dict[str, Any], claim: str, first: str, then: str) -> str:
    """The payload as JSON, in which the claim comes both first and last."""
    rest = json.dumps({name: value for name, value in payload.items() if name != claim})
    return f'{{"{claim}": {first}, {rest[1:-1]}, "{claim}": {then}}}'
