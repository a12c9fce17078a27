# crossfade as a container image: one binary, the three libraries it stands on, and the public certificate roots.
#
#   docker build -t crossfade .
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges --stop-timeout=30 -p 8080:8080 \
#       -v ./proxy.toml:/etc/crossfade/proxy.toml:ro -v crossfade-state:/var/lib/crossfade crossfade
#
# The file has to say `listen = "0.0.0.0:8080"` in [server]; the admin address stays on the container's own loopback.
# A tag can be moved. To pin the compiler's image by content:
#   --build-arg RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm@sha256:...
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
ENV CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=symbols

# The dependencies are a layer of their own, made again only when the lock file changes.
COPY Cargo.toml Cargo.lock ./
COPY fuzz fuzz
RUN mkdir src && echo 'fn main() {}' >src/main.rs && touch src/lib.rs \
    && cargo build --locked --release --bin crossfade \
    && rm -r src
COPY src src
RUN touch src/main.rs src/lib.rs && cargo build --locked --release --bin crossfade

# What the image holds, in its places. The package records let a scanner see what the libraries are.
RUN set -eu; image=/image; \
    install -D -t $image/usr/bin target/release/crossfade; \
    for library in $(ldd target/release/crossfade | grep -o '/[^ ]*'); do \
        install -D "$(realpath "$library")" "$image$library"; \
    done; \
    install -D -m 0644 -t $image/etc/ssl/certs /etc/ssl/certs/ca-certificates.crt; \
    install -D -m 0644 -t $image/etc /etc/os-release; \
    echo 'hosts: files dns' >$image/etc/nsswitch.conf; \
    echo 'crossfade:x:65532:65532::/nonexistent:/usr/sbin/nologin' >$image/etc/passwd; \
    echo 'crossfade:x:65532:' >$image/etc/group; \
    mkdir -p $image/etc/crossfade $image/var/lib/dpkg/status.d /state; \
    for package in libc6 libgcc-s1 ca-certificates; do \
        dpkg-query --status $package >$image/var/lib/dpkg/status.d/$package; \
    done

FROM scratch
COPY --from=build /image /
COPY --from=build --chown=65532:65532 --chmod=0700 /state /var/lib/crossfade
USER 65532:65532
# What admins set and the cookie secret; the only place that is written to.
ENV STATE_DIRECTORY=/var/lib/crossfade
VOLUME /var/lib/crossfade
EXPOSE 8080
# Ok and degraded are healthy; with an admin address of its own, give `--admin`.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/bin/crossfade", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/crossfade"]
CMD ["run", "--config", "/etc/crossfade/proxy.toml"]
