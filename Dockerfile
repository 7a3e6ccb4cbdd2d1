# One image for everything of ours; `--target server` is the same without what only runs and steps need.
# The base must have python3.11 with venv: the public one below, or one made with debootstrap (image/base.py).
# Without a network, mount wheels at /wheels (image/build.py does): nothing but the locks' hashes is ever installed.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
# LightGBM's wheel links libgomp, which slim images leave out.
RUN ldconfig -p | grep -q libgomp.so.1 || \
    (apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*)
RUN groupadd --gid 10001 recsys && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/recsys --shell /usr/sbin/nologin recsys && \
    install -d -o 10001 -g 10001 /var/lib/recsys /var/run/recsys

FROM base AS tools
COPY requirements/bootstrap.lock /src/requirements/
RUN python3.11 -m venv /tools && \
    /tools/bin/pip install --quiet --require-hashes $([ -d /wheels ] && echo --no-index --find-links /wheels) \
        -r /src/requirements/bootstrap.lock

# The dependencies change rarely, and are a layer of their own.
FROM tools AS dependencies
COPY image/inside/install.sh image/inside/slim.py /tools/inside/
COPY requirements/runtime.lock /src/requirements/
RUN /tools/inside/install.sh /opt/recsys /src/requirements/runtime.lock

# What the model server, the collector, the guard and the notifier need of the very same lock.
FROM dependencies AS server-dependencies
COPY image/inside/subset.py image/inside/server.txt /tools/inside/
RUN /opt/recsys/bin/python /tools/inside/subset.py /tools/inside/server.txt /src/requirements/runtime.lock \
        > /src/requirements/server.lock && \
    /tools/inside/install.sh /opt/server /src/requirements/server.lock

FROM dependencies AS code
COPY pyproject.toml README.md LICENSE dagster.yaml /src/
COPY recsys_assets/ /src/recsys_assets/
COPY image/inside/code.sh /tools/inside/
RUN /tools/inside/code.sh /opt/recsys /src /opt/code

FROM base AS runtime
ENV PATH=/opt/recsys/bin:/usr/local/bin:/usr/bin:/bin \
    RECSYS_HOME=/var/lib/recsys \
    HOME=/tmp \
    TZ=UTC \
    PGTZ=UTC \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    MLFLOW_DISABLE_TELEMETRY=true \
    FEAST_USAGE=False \
    DO_NOT_TRACK=1
LABEL org.opencontainers.image.title="recsys-assets" \
      org.opencontainers.image.description="Code location, model server, collector, guard and notifier of recsys_assets" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /var/lib/recsys
# No health check of the image's own: Kubernetes probes.
USER 10001:10001

FROM runtime AS server
COPY --from=server-dependencies /opt/server /opt/recsys
COPY --from=code /opt/code/ /opt/recsys/
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
CMD ["python", "-m", "recsys_assets.serving.server", "--help"]

# The last stage is what `docker build .` makes.
FROM runtime AS all
COPY --from=dependencies /opt/recsys /opt/recsys
COPY --from=code /opt/code/ /opt/recsys/
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
CMD ["recsys-assets", "--help"]
