# What stands around the sidecars in docker-compose.yml: web servers, HAProxy and a client, all of them Debian's.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends curl haproxy nginx-light \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY config/container/nginx.conf /etc/nginx/nginx.conf
COPY config/container/haproxy.cfg /etc/haproxy/haproxy.cfg
COPY config/container/client /usr/local/bin/
