//! Loopback tests: the worker's upstream side against real sockets.

mod backoff;
mod compile;
mod dns;
mod http1;
mod http2;
mod pooling;
mod support;
mod tls;
mod upgrade;
mod write_behind;
