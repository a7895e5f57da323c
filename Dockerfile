# The image: Debian's Python and what it links to, the locked wheels, PrixFixe. No shell, no pip.
#
# Kept to what every builder understands, the classic one of Docker 20.10 included: no heredoc, no
# RUN --mount, no COPY --chmod, no HEALTHCHECK --start-interval. docker/rootfs.py does the work.
ARG BASE_IMAGE=debian:trixie-slim

# hadolint ignore=DL3006 # the tag is in the argument
FROM ${BASE_IMAGE} AS build
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# hadolint ignore=DL3008 # the base image's release pins them
RUN apt-get update && apt-get install --yes --no-install-recommends binutils python3 python3-pip

COPY docker/packages.txt docker/packages.txt
WORKDIR /build/debs
# hadolint ignore=SC2046 # a word a package
RUN apt-get download $(sed '/^#/d' ../docker/packages.txt)
WORKDIR /build
COPY docker docker
# All times in the image are this one; two builds give the same layers.
ARG SOURCE_DATE_EPOCH=0
RUN python3 docker/rootfs.py debian /rootfs debs

COPY requirements/image.txt requirements/build.txt requirements/
RUN python3 -m pip install --quiet --require-hashes --only-binary :all: --no-compile --target \
    /rootfs/usr/local/lib/python3.13/dist-packages --requirement requirements/image.txt \
    && python3 docker/rootfs.py wheels /rootfs \
    && python3 -m pip install --quiet --require-hashes --only-binary :all: --target tools \
    --requirement requirements/build.txt

COPY pyproject.toml README.md LICENSE ./
COPY prixfixe prixfixe
ARG VERSION=1.0.0.dev0
RUN PYTHONPATH=tools python3 -m pip install --quiet --no-deps --no-build-isolation --no-compile \
    --no-index --upgrade --target /rootfs/usr/local/lib/python3.13/dist-packages . \
    && python3 docker/rootfs.py app /rootfs "${VERSION}"
# Names this stage, so that the one who builds can find what the classic builder leaves.
ARG BUILD_ID=none
LABEL prixfixe.build="${BUILD_ID}"

FROM scratch
COPY --from=build /rootfs /
ARG VERSION=1.0.0.dev0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="prixfixe" \
      org.opencontainers.image.description="A compact SMTP server whose 250 means kept" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/usr/local/bin:/usr/bin \
    PRIXFIXE_REVISION=${REVISION} \
    SMTP_HTTP_BIND= \
    SMTP_STORE=sqlite:/var/mail/prixfixe.db
EXPOSE 2525 8025
USER 1000:1000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/prixfixe", "check", "--timeout", "4"]
ENTRYPOINT ["/usr/local/bin/prixfixe"]
CMD ["serve"]
