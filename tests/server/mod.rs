//! What a client's connection may do: TLS, HTTP/1.1, HTTP/2, the PROXY protocol, limits and time.

mod early_answers;
mod http2;
mod limits;
mod pipelining;
mod proxy_protocol;
mod quiet_bodies;
mod scarcity;
mod tls;
