"""Ways to send a good token, at `{}`, that must not count. Each is a list of headers."""

SCHEMES = ["Basic", "Digest", "Negotiate", "DPoP", "Token", "JWT", "OAuth", "AWS4-HMAC-SHA256", "Bearer2", "Bearer:"]
VALUES = [
    "{}",
    "Bearer{}",
    "Bearer\t{}",
    "Bearer={}",
    '"Bearer {}"',
    "Bearer {} {}",
    "Bearer a,Bearer {}",
    "Bearer <{}>",
]
VALUES += ["Bearer token={}", "Basic YTpi, Bearer {}", "\u00a0Bearer {}", "Bearer\u00a0{}", "Bearer {},"]
OTHER_HEADERS = ["Proxy-Authorization", "X-Authorization", "X-Forwarded-Authorization", "Authentication"]
OTHER_HEADERS += ["Authorization_", "WWW-Authenticate", "X-Access-Token", "X-Auth-Token", "Sec-WebSocket-Protocol"]
CARRIERS: dict[str, list[tuple[str, str]]] = {
    **{f"scheme {scheme}": [("Authorization", f"{scheme} {{}}")] for scheme in SCHEMES},
    **{f"value {value!r}": [("Authorization", value)] for value in VALUES},
    **{f"header {name}": [(name, "Bearer {}")] for name in OTHER_HEADERS},
    "the same twice": [("Authorization", "Bearer {}"), ("Authorization", "Bearer {}")],
    "a bad one first": [("Authorization", "Bearer a.b.c"), ("Authorization", "Bearer {}")],
    "a bad one last": [("Authorization", "Bearer {}"), ("Authorization", "Bearer a.b.c")],
    "an empty one first": [("Authorization", ""), ("Authorization", "Bearer {}")],
    "another scheme first": [("Authorization", "Basic YTpi"), ("authorization", "Bearer {}")],
    "cookies": [("Cookie", "better-auth.session_token={}; __Secure-better-auth.session_token={}; token={}")],
}
