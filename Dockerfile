# docker build --tag zktrail:0.1.0 .
#
# Compiles for about twenty minutes on two cores. What the image needs to run: docs/operating.md.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ENV CARGO_PROFILE_RELEASE_STRIP=symbols
RUN cargo install --locked --path . --root /out

# The same release of Debian as above: the binary needs no library but libc and libgcc.
FROM debian:bookworm-slim
COPY --from=build /out/bin/zktrail /usr/local/bin/zktrail
# The folder of the history is made below, not here: a volume's root may belong to somebody else and be shared with a group.
RUN install -d -m 0755 -o 65532 -g 65532 /var/lib/zktrail
USER 65532:65532
VOLUME /var/lib/zktrail
WORKDIR /var/lib/zktrail
# Off loopback /metrics, /healthz and /readyz answer; SQL too where users are listed. PostgreSQL stays on loopback.
ENV ZKTRAIL_DATA_DIR=/var/lib/zktrail/history \
    ZKTRAIL_HTTP=0.0.0.0:9847
EXPOSE 9847 5847
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["zktrail", "health"]
ENTRYPOINT ["zktrail"]
CMD ["agent"]
