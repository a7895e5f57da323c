# The image in the place of Mailpit's: the same server, with its ports and its variables. As that
# image does, it starts as root, since tests mount certificates that root alone may read; the server
# gives these rights up before it takes connections.
ARG IMAGE=prixfixe

# hadolint ignore=DL3006 # what stands for Mailpit is in the argument
FROM ${IMAGE}
ENV PRIXFIXE_MAILPIT=1 PRIXFIXE_USER=1000
EXPOSE 1025 8025
# hadolint ignore=DL3002 # see above
USER 0:0
