"""Prints an HS256 Bearer token, valid for 7 days, for an email: the same email always gives the same user."""

import os
import sys
from datetime import UTC, datetime, timedelta

import jwt
from dotenv import dotenv_values

LIFETIME = timedelta(days=7)
LONGEST_SUBJECT = 255


def mint(secret: str, email: str, name: str) -> str:
    now = datetime.now(UTC)
    subject = f"local-{email.lower()}"[:LONGEST_SUBJECT]
    claims = {"sub": subject, "email": email, "name": name, "iat": now, "exp": now + LIFETIME}
    return jwt.encode(claims, secret, algorithm="HS256")


def main() -> None:
    if len(sys.argv) not in (2, 3) or "@" not in sys.argv[1]:
        sys.exit("Say whose token it is: scripts/token EMAIL [NAME]")
    email, name = sys.argv[1], (sys.argv[2:] or [sys.argv[1].partition("@")[0]])[0]
    secret = os.getenv("BETTER_AUTH_SECRET") or dotenv_values(".env").get("BETTER_AUTH_SECRET")
    if not secret:
        sys.exit("There is no BETTER_AUTH_SECRET in the environment or .env yet; scripts/run makes one.")
    print(mint(secret, email, name))


if __name__ == "__main__":
    main()
