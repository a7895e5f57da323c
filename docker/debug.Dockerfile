# The image with a shell: Debian's busybox beside all that is there already. For looking, not for
# serving: docker compose runs it beside the server, as DEPLOYMENT.md says.
ARG BASE_IMAGE=debian:trixie-slim
ARG IMAGE=prixfixe

# hadolint ignore=DL3006 # the tag is in the argument
FROM ${BASE_IMAGE} AS shell
# hadolint ignore=DL3008 # the base image's release pins it
RUN apt-get update && apt-get install --yes --no-install-recommends busybox-static \
    && mkdir -p /shell/usr/bin \
    && cp /usr/bin/busybox /shell/usr/bin \
    && /usr/bin/busybox --install -s /shell/usr/bin

# hadolint ignore=DL3006 # what is debugged is in the argument
FROM ${IMAGE}
COPY --from=shell /shell /
