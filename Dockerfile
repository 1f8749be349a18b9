FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1

WORKDIR /app

# Before the source, so that a change to the source installs nothing anew.
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

# The app's user owns the folder, for SQLite's file when no DATABASE_URL is given, but not the source in it.
RUN useradd --system --no-create-home --uid 10001 app && chown app /app
COPY *.py ./
COPY database ./database
USER 10001

EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD no_proxy=127.0.0.1 python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:${PORT:-8000}/health', timeout=3)"

# exec, so that uvicorn itself gets the signal to stop. It reads WEB_CONCURRENCY (how many workers) and
# FORWARDED_ALLOW_IPS (whose X-Forwarded-* headers to believe) from the environment.
CMD ["sh", "-c", "python -m settings && exec uvicorn main:app --host 0.0.0.0 --port ${PORT:-8000} --proxy-headers --timeout-graceful-shutdown 20 --no-access-log --no-server-header --http http1:BoundedHttp --ws none"]
