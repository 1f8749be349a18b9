"""Claims that no token may have: wrong, of the wrong type, at the wrong time, or twice."""

from typing import Any

from tests.attacks.forgery import LATER, NOW, Group, each, each_signed, seal, twice
from tests.support.tokens import FRONTEND, claims, forge

ELSEWHERE = ["http://localhost:3001", "https://localhost:3000", f"{FRONTEND}/", f"{FRONTEND}.evil.example", "null"]
ELSEWHERE += ["HTTP://LOCALHOST:3000", f"{FRONTEND} ", f" {FRONTEND}", "", "*", "better-auth:session-cache", "http://"]
ADDRESSEE: Group = {
    **each_signed({f"{name} {value!r}": claims(**{name: value}) for name in ("iss", "aud") for value in ELSEWHERE}),
    **each_signed({"aud of several others": claims(aud=ELSEWHERE)}),
    "iss missing": lambda scene: seal(scene.key, claims(iss=None)),
    "aud missing": lambda scene: seal(scene.key, claims(aud=None)),
}

TYPES: dict[str, Any] = {"null": None, "true": True, "zero": 0, "number": 5, "fraction": 0.5, "text": "x", "empty": ""}
TYPES |= {"list": [], "list of text": [FRONTEND], "object": {}, "object of text": {"$ne": "x"}, "NaN": float("nan")}
# What a claim may be; as an `exp`, a number that small is long past.
FITTING: dict[str, set[str]] = {
    **{"exp": set(), "iat": {"zero", "number", "fraction"}, "nbf": {"zero", "number", "fraction"}, "sub": {"text"}},
    **{"iss": set(), "aud": {"list of text"}, "jti": {"text", "empty"}},
    **{"email": {"null", "text", "empty"}, "name": {"null", "text", "empty"}},
}
CLAIM: Group = each_signed(
    {
        f"{claim} is {kind}": {**claims(exp=LATER), claim: value}
        for claim, fitting in FITTING.items()
        for kind, value in TYPES.items()
        if kind not in fitting
    }
)
PAYLOAD: Group = each_signed(
    {
        "no user": claims(sub=None, id=None),
        "blank user": claims(sub=" \t\u00a0"),
        "user of 256 characters": claims(sub="a" * 256),
        "NUL in the user": claims(sub="ada\0"),
        "half a character in the user": claims(sub="ada\ud800"),
        "no expiry": claims(exp=None),
        "exp of 5000 digits": f'{{"sub": "ada", "exp": {"9" * 5000}}}',
        "exp of 1e400": '{"sub": "ada", "exp": 1e400}',
        "UTF-16": "\ufeff{}",
        **{text[:20] or "empty": text for text in ("[]", "null", '"ada"', "", "{", "[" * 9000)},
    }
)
# The leeway is 30 s.
TIME: Group = each_signed(
    {
        "expired a second beyond the leeway": claims(exp=NOW - 31),
        "expired long ago": claims(exp=1),
        "expired before it was issued": claims(iat=NOW, exp=NOW - 60),
        "not valid yet": claims(exp=LATER, nbf=NOW + 7200),
        "issued in the future": claims(exp=LATER, iat=NOW + 7200),
    }
)
TWICE = [("sub", '"ada"', '"bob"'), ("exp", "1", str(LATER)), ("aud", '"x"', f'"{FRONTEND}"')]
DUPLICATE: Group = {
    **each_signed(
        {
            f"{name} {first} then {then}": twice(claims(), name, first, then)
            for name, one, other in TWICE
            for first, then in ((one, other), (other, one), (other, other))
        }
    ),
    **each(
        ['{"alg": "none", "alg": "HS256"}', '{"alg": "HS256", "alg": "none"}', '{"alg": "HS256", "a": 1, "a": 2}'],
        lambda _, header: forge(claims(), header),
    ),
}
