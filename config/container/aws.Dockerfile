# A stand-in for AWS in docker-compose.yml: moto, which keeps target groups in memory and speaks Amazon's API.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3-venv \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY config/container/aws.lock .
RUN python3 -m venv /opt/moto \
 && /opt/moto/bin/pip install --no-cache-dir --require-hashes -r aws.lock \
 && /opt/moto/bin/pip uninstall --yes --quiet setuptools pip

FROM ${BASE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/moto /opt/moto
COPY config/container/elb /usr/local/bin/
USER nobody
CMD ["elb", "serve"]
