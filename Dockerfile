# Another base, of a mirror for example: docker build --build-arg PYTHON_IMAGE=…
ARG PYTHON_IMAGE=python:3.13-slim-trixie
FROM ${PYTHON_IMAGE}

# The database when no other is named: a SQLite file in the one folder that the app may write to.
ENV PYTHONUNBUFFERED=1 DATABASE_URL=sqlite:////data/todo.db

WORKDIR /app
RUN useradd --no-create-home --uid 10001 app && install --directory --owner=app --group=app --mode=700 /data

# Before the source, so that a change to the source installs nothing anew. The standard library is compiled too: the base
# has no .pyc files of it, and the app cannot write them.
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements.txt \
    && python -m compileall -q /usr/local/lib

# /app and what is in it belong to root, so that the app cannot replace its own source.
COPY *.py ./
COPY database ./database
COPY endpoints ./endpoints
COPY migrations ./migrations
COPY openapi ./openapi
COPY queries ./queries
COPY web ./web
RUN python -m compileall -q /app

VOLUME /data
USER 10001

EXPOSE 8000

# Healthy: the database has answered (/ready), and since then the process answers (/health). A database that is away later
# is no reason to restart the API, and a query every few seconds would keep Neon from sleeping. /dev/shm is always
# writable, and empty after each start.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 \
    CMD if [ -e /dev/shm/ready ]; then path=/health; else path=/ready; fi; \
        python -c "import http.client, sys; to = http.client.HTTPConnection('127.0.0.1', ${PORT:-8000}, timeout=5); \
to.request('GET', '$path'); answer = to.getresponse(); print(answer.read().decode()); sys.exit(answer.status != 200)" \
        && touch /dev/shm/ready

# Without a shell, so that Python itself gets the signal to stop. It reads PORT, WEB_CONCURRENCY (how many workers) and
# FORWARDED_ALLOW_IPS (whose X-Forwarded-* headers to believe) from the environment.
CMD ["python", "main.py"]
