# Debian with systemd as its first process, and PrixFixe installed as docs/public.md says.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl procps python3 python3-venv systemd
COPY . /src
RUN useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin prixfixe \
    && python3 -m venv /opt/prixfixe && /opt/prixfixe/bin/pip install --quiet /src \
    && install -d /etc/prixfixe && mv /src/settings /etc/prixfixe/settings \
    && install -m 0644 /src/deployment/systemd/prixfixe.service /etc/systemd/system/ \
    && systemctl enable prixfixe
STOPSIGNAL SIGRTMIN+3
# systemd of trixie wants cgroups of version 2, which the machine may have for others only.
CMD ["sh", "-c", "mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec /lib/systemd/systemd"]
