# What docker-compose.cluster.yml has beside PrixFixe, from Debian's packages: etcd, HAProxy, and
# PostgreSQL with Patroni. Each is a target. None holds a setting: they come from the compose file
# and deployment/cluster.
ARG BASE_IMAGE=debian:trixie-slim

# hadolint ignore=DL3006 # the tag is in the argument
FROM ${BASE_IMAGE} AS etcd
# hadolint ignore=DL3008 # the base image's release pins them
RUN apt-get update && apt-get install --yes --no-install-recommends etcd-client etcd-server \
    && rm -rf /var/lib/apt/lists/*
# hadolint ignore=DL3066 # Debian's package makes the user, and its number
USER etcd
ENTRYPOINT ["etcd"]

# hadolint ignore=DL3006 # the tag is in the argument
FROM ${BASE_IMAGE} AS balancer
# hadolint ignore=DL3008 # the base image's release pins it
RUN apt-get update && apt-get install --yes --no-install-recommends haproxy \
    && rm -rf /var/lib/apt/lists/*
# hadolint ignore=DL3066 # Debian's package makes the user, and its number
USER haproxy
# HAProxy ends its sessions by SIGUSR1, and at once by SIGTERM.
STOPSIGNAL SIGUSR1
ENTRYPOINT ["haproxy", "-W", "-db"]
CMD ["-f", "/etc/haproxy/haproxy.cfg"]

# hadolint ignore=DL3006 # the tag is in the argument
FROM ${BASE_IMAGE} AS postgresql
# A cluster of Debian's own would only be in the way.
# hadolint ignore=DL3008 # the base image's release pins them
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl postgresql-common \
    && echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf \
    && apt-get install --yes --no-install-recommends patroni postgresql-17 python3-etcd \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=postgres --group=postgres --mode=0700 /var/lib/postgresql/mail
# hadolint ignore=DL3066 # Debian's package makes the user, and its number
USER postgres
ENTRYPOINT ["patroni"]
CMD ["/etc/patroni/patroni.yml"]
