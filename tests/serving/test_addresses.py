"""Addresses in the environment that may hold a password: refused at start, in a sentence that does not repeat it."""

from typing import Any

import pytest

from settings import Settings, SettingsError
from tests.support.tokens import SECRET

# Of Settings, and of the environment.
NAMES = {"frontend_url": "BETTER_AUTH_URL", "jwks_url": "JWKS_URL", "cors_origins": "CORS_ORIGINS"}
NAMES_USER = "holds a user or a password, which is never used; remove what is between // and @."
UNREADABLE = "cannot be read; it must be an address like https://app.example.com."
REFUSED = {
    "https://ada:sesame@auth.example/jwks": NAMES_USER,
    "http://sesame@localhost": NAMES_USER,
    "http://:sesame@[::1]:3000": NAMES_USER,
    "http://@sesame.example": NAMES_USER,
    "ftp://ada:sesame@h": UNREADABLE,
    "ada:sesame@h": UNREADABLE,
    "http://ada:sesame@": UNREADABLE,
    "http://ada:sesame@h:port": UNREADABLE,
    "http://ada:sesame@[::1": UNREADABLE,
    "localhost/jwks?key=sesame": UNREADABLE,
}


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize(("address", "reason"), REFUSED.items(), ids=REFUSED)
def test_an_address_with_a_password_is_refused_without_repeating_it(field: str, address: str, reason: str) -> None:
    values: dict[str, Any] = {"secret": SECRET, field: address}
    with pytest.raises(SettingsError) as refused:
        Settings(**values)

    assert str(refused.value) == f"{NAMES[field]} {reason}"


def test_an_at_sign_in_the_path_of_an_address_is_no_password() -> None:
    address = "https://auth.example/@us/jwks?of=a@b"

    assert Settings(secret=SECRET, jwks_url=address).keys_url == address
