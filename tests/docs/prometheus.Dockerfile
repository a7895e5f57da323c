# Stands in for the image of Prometheus where no registry is reached: Debian's, run as that one is.
FROM debian:trixie-slim
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus \
    && mkdir /prometheus && chown nobody:nogroup /prometheus
USER nobody
ENTRYPOINT ["/usr/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
