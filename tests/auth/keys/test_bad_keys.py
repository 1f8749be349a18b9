"""Keys of a set that verify nothing: each is passed over, and named in the log; the others count."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import get_default_algorithms

from keys import INTERVAL, LIFETIME
from tests.attacks.forgery import seal
from tests.auth.keys.conftest import LISTED, NO_KEY, Call, key
from tests.support.sentences import SIGNATURE
from tests.support.tokens import Clock, KeyServer, SigningKey, claims, refusal

PRIVATE = "a private key, which must be replaced: everybody can read it"
NOT_TAKEN = "its algorithm is not one of ES256, ES512, EdDSA, PS256, RS256"
NOT_FOR_US = "not meant for verifying signatures, by its use or key_ops"
INVALID = "unreadable (InvalidKeyError)"


def as_jwk(algorithm: str, private: Any) -> dict[str, Any]:
    jwk: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(private, as_dict=True)
    return jwk


SHORT_RSA = SigningKey("RS256", "bad")
SHORT_RSA.private = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
TOO_SHORT = (
    "The RSA key is 1024 bits long, which is below the minimum recommended size of 2048 bits. See NIST SP 800-131A."
)
OTHER_ALGORITHMS: list[Any] = [["EdDSA"], 5, {}, "", "Ed448", "none"]
OTHER_USES: list[Any] = ["enc", ["sig"], 5, {}]
OTHER_OPERATIONS: list[Any] = ["verify", ["sign"], [], 5]
# The key that signs, what its entry in the set has instead, and the reason in the log.
BAD: dict[str, tuple[SigningKey, dict[str, Any], str]] = {
    **{
        f"private-{algorithm}": (key(algorithm, "bad"), as_jwk(algorithm, key(algorithm, "bad").private), PRIVATE)
        for algorithm in ("RS256", "PS256", "ES256", "ES512", "EdDSA")
    },
    "secret": (key("EdDSA", "bad"), {"kty": "oct", "k": "YWJj", "alg": None}, PRIVATE),
    "short-rsa": (SHORT_RSA, {}, TOO_SHORT),
    **{f"alg-{alg!r}": (key("EdDSA", "bad"), {"alg": alg}, NOT_TAKEN) for alg in OTHER_ALGORITHMS},
    "alg-of-another-kind": (key("EdDSA", "bad"), {"alg": "RS256"}, INVALID),
    "alg-of-another-curve": (key("ES256", "bad"), {"alg": "ES512"}, INVALID),
    "curve-not-taken": (
        key("ES256", "bad"),
        {**as_jwk("ES384", ec.generate_private_key(ec.SECP384R1()).public_key()), "alg": None},
        "ES384 is not one of ES256, ES512, EdDSA, PS256, RS256",
    ),
    "curve-unheard-of": (key("EdDSA", "bad"), {"crv": "Ed1"}, INVALID),
    **{f"use-{use!r}": (key("EdDSA", "bad"), {"use": use}, NOT_FOR_US) for use in OTHER_USES},
    **{f"key_ops-{ops!r}": (key("EdDSA", "bad"), {"key_ops": ops}, NOT_FOR_US) for ops in OTHER_OPERATIONS},
    "no-point": (key("EdDSA", "bad"), {"x": "?"}, INVALID),
    "number-for-text": (key("RS256", "bad"), {"n": 5}, INVALID),
    "kind-of-key": (key("EdDSA", "bad"), {"kty": ["OKP"], "alg": None}, INVALID),
}


def listing(text: str, server: KeyServer) -> list[str]:
    return [f"The key server {server.url} lists keys that cannot be used, {text}"]


@pytest.mark.parametrize(("signing", "changes", "reason"), BAD.values(), ids=BAD)
def test_a_bad_key_is_passed_over_and_logged(
    call: Call,
    server: KeyServer,
    caplog: pytest.LogCaptureFixture,
    signing: SigningKey,
    changes: dict[str, Any],
    reason: str,
) -> None:
    """A token that names it is a 401, never a 500, and nothing of the key is in the log."""
    server.listed = [{**signing.public, **changes}, key().public]

    assert call(seal(signing, claims())) == refusal(NO_KEY)
    assert call(key().sign(claims())) == LISTED
    ours = [record.getMessage() for record in caplog.records if record.name == "todo.keys"]
    assert ours == listing(f"1 in all: 'bad', {reason}", server)


@pytest.mark.parametrize("kid", [None, "", 5, ["key-2"], {"key-2": 1}, True])
def test_a_key_without_a_name_is_passed_over(
    call: Call, server: KeyServer, caplog: pytest.LogCaptureFixture, kid: Any
) -> None:
    server.listed = [{**key("EdDSA", "key-2").public, "kid": kid}, key().public]

    assert call(key("EdDSA", "key-2").sign(claims())) == refusal(NO_KEY)
    assert call(key().sign(claims())) == LISTED
    assert [r.getMessage() for r in caplog.records if r.name == "todo.keys"] == listing(
        f"1 in all: {kid!r}, it has no kid", server
    )


def test_of_two_keys_with_one_name_the_first_usable_one_counts(call: Call, server: KeyServer) -> None:
    first, second = SigningKey("EdDSA", "key-1"), SigningKey("ES256", "key-1")
    server.listed = [SHORT_RSA.public | {"kid": "key-1"}, first.public, second.public]

    assert call(first.sign(claims())) == LISTED
    assert call(SigningKey("EdDSA", "key-1").sign(claims())) == refusal(SIGNATURE)
    assert call(second.sign(claims())) == refusal("The token's algorithm is not that of its key.")


EMPTY: list[Any] = [[], [5], [None], [[]], ["key-1"], [{}], [{"kty": 5, "alg": []}]]


@pytest.mark.parametrize("listed", EMPTY, ids=json.dumps)
def test_a_set_without_a_usable_key_means_no_keys(
    call: Call, server: KeyServer, clock: Clock, listed: list[Any]
) -> None:
    """Also for keys that were there before."""
    assert call(key().sign(claims())) == LISTED
    server.body = json.dumps({"keys": listed}).encode()
    clock.now += INTERVAL

    assert call(key("EdDSA", "key-2").sign(claims())) == refusal(NO_KEY)
    assert call(key().sign(claims())) == refusal(NO_KEY)


def test_bad_keys_are_logged_once_for_each_set_and_a_few_by_name(
    call: Call, server: KeyServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A set is fetched every five minutes, and every two seconds when strangers ask for unknown keys."""
    server.listed = [key().public, *({"kid": f"{n}\n" + "k" * 1000} for n in range(1000))]
    for _ in range(3):
        assert call(key("EdDSA", "key-2").sign(claims())) == refusal(NO_KEY)
        clock.now += LIFETIME + 1
    server.listed = [key().public, 5]
    assert call(key("EdDSA", "key-2").sign(claims())) == refusal(NO_KEY)

    first, second = (record.getMessage() for record in caplog.records if record.name == "todo.keys")
    assert "\n" not in first
    assert len(first) < 1000
    assert [second] == listing("1 in all: None, not a JSON object", server)
