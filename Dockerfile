FROM python:3.13-slim

# The database when no other is named: a SQLite file in the one folder that the app may write to.
ENV PYTHONUNBUFFERED=1 DATABASE_URL=sqlite:////data/todo.db

WORKDIR /app

# Before the source, so that a change to the source installs nothing anew.
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt

# /app and what is in it belong to root, so that the app cannot replace its own source.
COPY *.py ./
COPY database ./database
COPY openapi ./openapi
COPY web ./web
RUN useradd --system --no-create-home --uid 10001 app && install --directory --owner=app --mode=700 /data
VOLUME /data
USER 10001

EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD no_proxy=127.0.0.1 python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:${PORT:-8000}/health', timeout=3)"

# Without a shell, so that Python itself gets the signal to stop. It reads PORT, WEB_CONCURRENCY (how many workers) and
# FORWARDED_ALLOW_IPS (whose X-Forwarded-* headers to believe) from the environment.
CMD ["python", "main.py"]
