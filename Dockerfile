# Parley in a container: docker build -t parley . && docker run -p 3978:3978 -e PARLEY_STUDIO_TOKEN=... -v parley:/data parley
# Works with a read-only root file system (--read-only --tmpfs /tmp); only /data is written to.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/parley
# The packages are a layer of their own, which stays the same until the lock changes.
COPY requirements.lock ./
RUN /opt/parley/bin/python -m pip install --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY bot ./bot
COPY adapters ./adapters
COPY prompts ./prompts
# Installing also compiles the bytecode. What only the installation needed does not go into the image.
RUN /opt/parley/bin/python -m pip install --no-build-isolation --no-deps . \
    && /opt/parley/bin/python -m pip uninstall --yes hatchling editables pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="Parley" \
      org.opencontainers.image.description="One bot for Slack and Microsoft Teams over your own Azure OpenAI deployments, with a studio in the browser." \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 parley \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin parley \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /opt/parley /opt/parley
ENV PATH=/opt/parley/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=3978 \
    PARLEY_WORKER_PORT=3978 \
    PARLEY_DATA_DIR=/data
# Numeric, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 3978
STOPSIGNAL SIGTERM
# `serve` and `web` answer on PORT, `worker` on PARLEY_WORKER_PORT: both are the same here.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["parley"]
CMD ["serve"]
