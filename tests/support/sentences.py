"""Sentences of errors that tests in several files expect."""

NO_JWT = "The token is not a JSON Web Token; send the one from /api/auth/token."
LONG_HEADER = "The token's header is longer than 1024 characters."
SIGNATURE = "The token's signature does not match; it was signed with another secret or key."
NO_SUBJECT = "The token names no user: its subject (sub) must be 1 to 255 characters."
NO_EXPIRY = "The token has no expiry (exp)."
EXPIRED = "The token has expired; get a new one."
NOT_SET = "BETTER_AUTH_SECRET is not set; make one with `openssl rand -base64 32` and give Better Auth the same one."
GUESSABLE = "BETTER_AUTH_SECRET is a placeholder that anybody can guess; make one with `openssl rand -base64 32`."
UNREADABLE = (
    "DATABASE_URL cannot be read; write it as postgresql://user:password@host/name or sqlite:///./todo.db "
    "(characters such as @ and / in a password are percent-encoded)."
)


def refused_by_client(reason: str) -> str:
    return f"DATABASE_URL is refused by PostgreSQL's client: {reason}."
