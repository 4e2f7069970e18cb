# The shop in a small image. It holds no PostgreSQL, so a container needs DATABASE_URL and JWT_SECRET.

FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies, on empty sources: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock ./
COPY actors/Cargo.toml actors/
RUN mkdir -p src actors/src tests \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs actors/src/lib.rs tests/main.rs \
    && cargo build --release --locked \
    && rm -r src actors/src

COPY actors actors
COPY src src
COPY sql sql
COPY config config
# cargo goes by file times, and copied files may be older than the empty ones were.
RUN find src actors/src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked \
    && strip --strip-debug target/release/emporium

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin emporium \
    && install -d -o emporium -g emporium -m 0750 /data

COPY --from=build /build/target/release/emporium /usr/local/bin/emporium
COPY --from=build /build/config /etc/emporium/config

# Settings files are read from config/ in the working folder.
WORKDIR /etc/emporium
USER emporium
ENV HOST=0.0.0.0 \
    PORT=8000 \
    EMPORIUM_DATA=/data
EXPOSE 8000
VOLUME /data
STOPSIGNAL SIGTERM

# bash can speak to a socket, which saves a curl in the image. Alive is enough here: a container that
# waits for its database must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${PORT} && printf 'GET /health/live/ HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]

ENTRYPOINT ["emporium"]
CMD ["serve"]
