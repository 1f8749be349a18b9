"""Every bad token that we know of, by name: what each of them must get is a 401."""

import base64
import json
from collections.abc import Callable
from typing import Any

from tests.attacks.claims import ADDRESSEE, CLAIM, DUPLICATE, PAYLOAD, TIME
from tests.attacks.forgery import (  # fmt: skip
    LATER,
    NOW,
    Group,
    Scene,
    as_der,
    as_json,
    each,
    encrypt,
    insert,
    public_forms,
    respell,
    seal,
    standard,
    swap,
    unsigned,
)
from tests.support.tokens import FRONTEND, SECRET, base64url, claims, forge, sign

NONE: list[Any] = [
    "none",
    "None",
    "NONE",
    "nOnE",
    "none ",
    " none",
    "none\0",
    "n\u043ene",
    "",
    "null",
    None,
    0,
    False,
    [],
    {},
]
NONE += [["none"], {"alg": "none"}]
ALGORITHM: Group = {
    **each(NONE, lambda _, alg: unsigned({"alg": alg}, claims())),
    **each(NONE, lambda _, alg: forge(claims(), {"alg": alg}), "{}, signed"),
    "escaped none": lambda _: unsigned(r'{"alg": "\u006eone"}', claims()),
    "none in two parts": lambda _: unsigned({"alg": "none"}, claims()).rstrip("."),
    "missing": lambda _: unsigned({"typ": "JWT"}, claims()),
    **each(["HS256", "EdDSA", "RS256"], lambda _, alg: unsigned({"alg": alg, "kid": alg}, claims()), "{}, unsigned"),
    **each(["HS384", "HS512", "hs256", "HS256 ", "SHA256", "HS1"], lambda _, alg: forge(claims(), {"alg": alg})),
    **each(["ES256K", "ES384", "Ed25519", "eddsa"], lambda scene, alg: seal(scene.key, claims(), alg=alg)),
}

# CVE-2016-10555: the public key, which everybody has, as the secret of an HMAC.
PUBLIC_FORMS = [(algorithm, form) for algorithm, key in Scene().keys.items() for form in public_forms(key)]
PUBLIC_KEY_AS_SECRET: Group = {
    **each(
        PUBLIC_FORMS,
        lambda scene, of: forge(claims(), {"alg": "HS256", "kid": of[0]}, public_forms(scene.keys[of[0]])[of[1]]),
    ),
    "the whole JWKS": lambda scene: forge(claims(), secret=scene.jwks()),
    "under the key's own alg": lambda s: forge(claims(), {"alg": "EdDSA", "kid": "EdDSA"}, public_forms(s.key)["raw"]),
}

SIGNATURE: Group = {
    "a forger's key": lambda scene: seal(scene.forger, claims()),
    "another key's kid": lambda scene: seal(scene.key, claims(), kid="ES256"),
    "another key's kid and alg": lambda scene: seal(scene.key, claims(), kid="ES256", alg="ES256"),
    "PS256 for RS256": lambda scene: seal(scene.keys["RS256"], claims(), alg="PS256"),
    "ES256 of zeros (CVE-2022-21449)": lambda _: unsigned({"alg": "ES256", "kid": "ES256"}, claims(), bytes(64)),
    "EdDSA of zeros": lambda _: unsigned({"alg": "EdDSA", "kid": "EdDSA"}, claims(), bytes(64)),
    "ES256 in DER": lambda scene: as_der(seal(scene.keys["ES256"], claims())),
    "of another token": lambda scene: swap(seal(scene.key, claims()), 2, seal(scene.key, claims("bob"))),
    "over another payload": lambda scene: swap(seal(scene.key, claims()), 1, seal(scene.key, claims("bob"))),
    "over another header": lambda _: swap(sign(claims()), 0, forge(claims(), {"alg": "HS256", "kid": "a"})),
    "cut in half": lambda _: sign(claims())[:-22],
    "and more": lambda _: f"{sign(claims())}AAAA",
    **each(["", " ", "secret", SECRET[:-1], SECRET.upper(), SECRET[::-1]], lambda _, key: forge(claims(), secret=key)),
}

# The token says where its key is (RFC 7515, sections 4.1.2 to 4.1.8), and nobody must follow.
SOURCES: dict[str, Callable[[Scene], dict[str, Any]]] = {
    "jwk": lambda scene: {"jwk": scene.forger.public},
    "jku": lambda scene: {"jku": scene.trap},
    "jku with our host as its user": lambda scene: {"jku": scene.trap.replace("//", f"//{FRONTEND[7:]}@")},
    "jku of a file": lambda _: {"jku": "file:///etc/passwd"},
    "x5u": lambda scene: {"x5u": scene.trap},
    "x5c": lambda scene: {"x5c": [base64.b64encode(public_forms(scene.forger)["DER"]).decode()]},
    "x5t": lambda _: {"x5t": "AAAA", "x5t#S256": "AAAA"},
    "all of them": lambda scene: {"jwk": scene.forger.public, "jku": scene.trap, "x5u": scene.trap, "url": scene.trap},
    "kid of the forger's and jku": lambda scene: {"kid": "forger", "jku": scene.trap},
    "kid is a URL": lambda scene: {"kid": scene.trap},
    "kid is a JWK": lambda scene: {"kid": json.dumps(scene.forger.public)},
}
SOURCE: Group = {
    **each(SOURCES, lambda scene, of: seal(scene.forger, claims(), **SOURCES[of](scene))),
    **each(
        SOURCES,
        lambda scene, of: forge(claims(), {"alg": "HS256", **SOURCES[of](scene)}, scene.forger.public["x"]),
        "{}, HS256",
    ),
    "iss is the forger's": lambda scene: seal(scene.forger, claims(iss=scene.trap, aud=scene.trap)),
}

KIDS: list[Any] = ["", " ", "../../../../dev/null", "/dev/null", "C:\\NUL", "file:///dev/null", "|/bin/sleep 10"]
KIDS += ["' OR '1'='1", "x' UNION SELECT 'secret' --", "EdDSA'; DROP TABLE tasks; --", "${jndi:ldap://127.0.0.1:1/a}"]
KIDS += ["EdDSA\0", "\0", "EdDSA\n", "eddsa", "EdDSA ", "\ud800", "__proto__", "%s%n{0}", "k" * 8000]
KIDS += [None, True, 0, 1.5, [], ["EdDSA"], {}, {"EdDSA": 1}]
KID: Group = {
    **each(KIDS, lambda scene, kid: seal(scene.key, claims(), kid=kid)),
    **each(KIDS, lambda _, kid: forge(claims(), {"alg": "HS256", "kid": kid}, ""), "{}, HS256 without a secret"),
    "missing": lambda _: unsigned({"alg": "EdDSA"}, claims(), bytes(64)),
}

# Extensions that the token says we must understand (RFC 7515, section 4.1.11), and payloads as they are (RFC 7797).
CRITS: list[Any] = [["exp"], ["b64"], ["alg"], [], None, "exp", [5], {}]
CRITICAL: list[dict[str, Any]] = [{"crit": crit} for crit in CRITS]
CRITICAL += [{"crit": ["exp"], "exp": LATER}, {"crit": ["b64"], "b64": True}, {"crit": ["b64", "b64"], "b64": True}]
CRITICAL += [{"b64": False}, {"crit": ["b64"], "b64": False}, {"b64": 0}, {"b64": "false"}, {"b64": None}]
EXTENSION: Group = {
    **each(CRITICAL, lambda scene, header: seal(scene.key, claims(), **header)),
    **each(CRITICAL, lambda _, header: forge(claims(), {"alg": "HS256", **header}), "{}, HS256"),
    "zip": lambda scene: seal(scene.key, claims(), zip="DEF") + "A",
    "detached": lambda _: swap(sign(claims()), 1, ".."),
}

CIPHERS: list[dict[str, Any]] = [{"alg": "none"}, {"alg": "HS256"}, {"alg": "A256KW"}, {"enc": "none"}]
CIPHERS += [{"zip": "DEF"}, {"cty": "JWT"}]
CIPHERS += [{"alg": "PBES2-HS256+A128KW", "p2c": 2**31, "p2s": "AAAA"}, {"alg": "ECDH-ES", "epk": {"kty": "EC"}}]
NESTED: Group = {
    "JWE of claims": lambda _: encrypt(json.dumps(claims())),
    "JWE of a good token": lambda _: encrypt(sign(claims()), cty="JWT"),
    "JWE to the public key": lambda s: encrypt(json.dumps(claims()), s.keys["RS256"], alg="RSA-OAEP-256", kid="RS256"),
    "JWE that unpacks to 10 MB": lambda _: encrypt(" " * 10_000_000, zip="DEF"),
    **each(CIPHERS, lambda _, header: encrypt(json.dumps(claims()), **header), "JWE {}"),
    "token in a token": lambda _: forge(sign(claims()), {"alg": "HS256", "cty": "JWT"}),
    "token in a JSON text": lambda scene: seal(scene.key, json.dumps(sign(claims())), cty="JWT"),
    "token in a claim": lambda _: sign({"token": sign(claims()), "exp": LATER}),
    "five parts of a good token": lambda _: f"{sign(claims())}.." + "AAAA",
}

# RFC 7515, section 2: base64url without padding, and nothing else. Each of these holds the bytes of a good token.
ENCODING: Group = {
    "unused bits in the signature": lambda _: respell(sign(claims())),
    "unused bits in the signature, EdDSA": lambda scene: respell(seal(scene.key, claims())),
    "padding": lambda _: f"{sign(claims())}=",
    "double padding": lambda scene: f"{seal(scene.key, claims())}==",
    "padding of the header": lambda _: sign(claims()).replace(".", "=.", 1),
    "standard alphabet": lambda _: standard(claims()),
    **each("\n\r\t!*~%+/=,;\\'\"\0\x7f\u00e9\u212a", lambda _, letter: f"{sign(claims())}{letter}", "{} at the end"),
    **each("\n\t!*~\0\u00e9", lambda _, letter: insert(letter), "{} in the signature"),
}

FORM: Group = {
    **each(["", ".", "..", "...", "null", "undefined", "[object Object]", "a.b.c", "e30.e30."], lambda _, t: t),
    "two parts": lambda _: sign(claims()).rpartition(".")[0],
    "no signature": lambda _: sign(claims()).rpartition(".")[0] + ".",
    "four parts": lambda _: f"{sign(claims())}.{base64url(bytes(32))}",
    "starts with a dot": lambda _: f".{sign(claims())}",
    "quoted": lambda _: f'"{sign(claims())}"',
    "percent-encoded": lambda _: sign(claims()).replace(".", "%2E"),
    "encoded once more": lambda _: base64url(sign(claims()).encode()),
    "upper case": lambda _: sign(claims()).upper(),
    "JSON, flattened": lambda _: as_json(sign(claims())),
    "JSON, general": lambda _: as_json(sign(claims()), general=True),
    "1 MB of a letter": lambda _: "A" * 2**20,
    "1 MB of dots": lambda _: "." * 2**20,
    "1 MB of payload": lambda _: sign(claims(image="A" * 2**20)),
    "1 MB of header": lambda _: forge(claims(), {"alg": "HS256", "x": "A" * 2**20}),
    "1 KiB of header": lambda _: forge(claims(), {"alg": "HS256", "x": "A" * 750}),
    "16 KiB without a good signature": lambda _: f"{sign(claims(image='A' * 11000)).rpartition('.')[0]}.{'A' * 43}",
    "1 MB of signature": lambda _: sign(claims()) + "A" * 2**20,
    "1 MB of kid": lambda scene: seal(scene.key, claims(), kid="A" * 2**20),
    "as deep as it may be long": lambda _: forge(claims(), "[" * 11000),
}

# What else Better Auth signs with the same secret or key, or hands out.
SESSION = {"session": {"userId": "ada", "token": "t" * 32}, "user": {"id": "ada", "email": "ada@example.com"}}
CACHE = {**SESSION, "updatedAt": NOW, "version": "1", "iat": NOW, "exp": NOW + 300}
BETTER_AUTH: Group = {
    "session cache": lambda _: sign(CACHE),
    "session cache of the key": lambda scene: seal(scene.key, CACHE, typ="better-auth.session-cache+jwt"),
    "session cache of the key, with claims": lambda scene: seal(scene.key, claims(aud="better-auth:session-cache")),
    "session cache, encrypted": lambda _: encrypt(json.dumps(CACHE)),
    "session cache, compact": lambda _: base64url(json.dumps({"session": SESSION, "signature": "A" * 43}).encode()),
    "session token": lambda _: "t" * 32,
    "session cookie": lambda _: f"{'t' * 32}.{base64.b64encode(bytes(32)).decode()}",
    "email verification": lambda _: sign({"email": "ada@example.com", "iat": NOW, "exp": NOW + 3600}),
    "change of email": lambda _: sign({"email": "ada@example.com", "updateTo": "bob@example.com", "exp": NOW + 3600}),
    "ID token for another": lambda scene: seal(scene.key, claims(aud="client-id", nonce="n")),
    "access token for another": lambda scene: seal(scene.key, claims(aud="https://mcp.example.com", scope="openid")),
    "the secret itself": lambda _: SECRET,
}

GROUPS = {
    **{"alg": ALGORITHM, "public key as secret": PUBLIC_KEY_AS_SECRET, "signature": SIGNATURE, "key source": SOURCE},
    **{"kid": KID, "addressee": ADDRESSEE, "claim": CLAIM, "payload": PAYLOAD, "time": TIME, "duplicate": DUPLICATE},
    **{"extension": EXTENSION, "nested": NESTED, "encoding": ENCODING, "form": FORM, "better auth": BETTER_AUTH},
}
CORPUS: Group = {f"{group}: {name}": token for group, tokens in GROUPS.items() for name, token in tokens.items()}
