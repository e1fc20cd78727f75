# The bridge: configuration in /config, store in /var, webhooks on 8080. deploy/README.md says how to run it.
# Pin the base by its digest too (@sha256:...) where your builds must repeat to the byte.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/bridge
COPY requirements.lock ./
RUN /opt/bridge/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md ./
COPY bridge ./bridge
RUN pip wheel --no-deps --wheel-dir /wheels . \
 && /opt/bridge/bin/pip install --no-deps /wheels/*.whl

FROM python:3.11.14-slim-bookworm
# Numbers, so that an orchestrator can tell that it is not root. SQLite makes its files in /var itself.
RUN groupadd --gid 10001 bridge \
 && useradd --uid 10001 --gid bridge --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bridge \
 && install -d -o root -g root /config \
 && chown bridge:bridge /var
COPY --from=build /opt/bridge /opt/bridge
ENV PATH=/opt/bridge/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME ["/config", "/var"]
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.getenv('BRIDGE_PORT', '8080')), timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["bridge", "--config", "/config"]
CMD ["serve"]
