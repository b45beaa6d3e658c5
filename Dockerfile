# syntax=docker/dockerfile:1
#
# Build:  docker build --tag image-gateway .
# Run:    docker run --read-only --tmpfs /tmp --publish 8080:8080 \
#             --volume image-gateway-data:/data \
#             --volume "$PWD/config.yaml:/etc/image-gateway/config.yaml:ro" \
#             --env EVOLINK_API_KEY image-gateway
# Try it: docker run --rm --read-only --tmpfs /tmp --publish 8080:8080 image-gateway serve --sandbox --host 0.0.0.0
#
# The process writes to two places only: /data (ledger, pictures, response cache) and TMPDIR (/tmp: short-lived files
# of SQLite and of Python; a tmpfs of a few MB is enough). Everything else may be read-only.
# Pin the base by digest where builds have to be repeatable: --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:...

ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

# The dependencies first, in a layer that changes only with the lock. Wheels only: no compiler is needed or wanted.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/image-gateway \
 && python -m pip --python /opt/image-gateway/bin/python install \
      --require-hashes --only-binary :all: --requirement requirements.lock \
 && python -m venv /build/tools \
 && /build/tools/bin/python -m pip install \
      --require-hashes --only-binary :all: --requirement requirements-build.lock

COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN /build/tools/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && python -m pip --python /opt/image-gateway/bin/python install --no-deps --no-index dist/*.whl


FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="image-gateway" \
      org.opencontainers.image.description="A self-hosted caching gateway for EvoLink's GPT Image API" \
      org.opencontainers.image.licenses="Apache-2.0"

# Certificates are checked against the system's store. A fixed uid lets a volume be prepared for it.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 gateway \
 && useradd --uid 10001 --gid gateway --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway \
 && install --directory --owner=gateway --group=gateway --mode=0700 /data

COPY --from=build /opt/image-gateway /opt/image-gateway

# The base image ships the standard library without bytecode and a read-only root can never store it,
# so what the gateway imports is compiled here once: every start is about a second quicker.
RUN /opt/image-gateway/bin/python -c 'import gateway.cli, gateway.wiring'

ENV PATH="/opt/image-gateway/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/tmp

# The settings' default data folder is ./data: from here, the volume.
WORKDIR /
VOLUME /data
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["image-gateway", "check", "--alive", "--config", "/etc/image-gateway/config.yaml"]

ENTRYPOINT ["image-gateway"]
CMD ["serve", "--config", "/etc/image-gateway/config.yaml", "--host", "0.0.0.0"]
