# Images from one file. BINARIES=build (the default) compiles them here; BINARIES=prebuilt takes them from ./prebuilt, so that a machine
# without base images builds the same final stages:
#   prebuilt/controller/portcullis-controller                     a static binary
#   prebuilt/dataplane/portcullis-dataplane                       a static binary
#   prebuilt/dataplane/etc/ssl/certs/ca-certificates.crt          the roots that backends on the internet are verified against
ARG BINARIES=build

FROM rust:1.95.0-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# --target keeps the static C library away from build scripts and macros, which must stay dynamic.
RUN target="$(uname -m)-unknown-linux-gnu" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$target" \
        -p portcullis-controller --bin portcullis-controller -p portcullis-dataplane --bin portcullis-dataplane \
    && install -D --strip "target/$target/release/portcullis-controller" /out/controller/portcullis-controller \
    && install -D --strip "target/$target/release/portcullis-dataplane" /out/dataplane/portcullis-dataplane \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /out/dataplane/etc/ssl/certs/ca-certificates.crt

FROM scratch AS prebuilt
COPY prebuilt/ /out/

FROM ${BINARIES} AS binaries

# MIMALLOC_PURGE_DELAY, of both: freed memory goes back at once. Whatever is to be given back later waits until somebody asks for memory again.
# Verifies the API server by its ServiceAccount's certificate and data planes by its own: it needs no roots.
FROM scratch AS controller
COPY --from=binaries /out/controller/ /
ENV MIMALLOC_PURGE_DELAY=0
USER 65532:65532
ENTRYPOINT ["/portcullis-controller"]

FROM scratch AS dataplane
COPY --from=binaries /out/dataplane/ /
ENV MIMALLOC_PURGE_DELAY=0
USER 65532:65532
ENTRYPOINT ["/portcullis-dataplane"]
