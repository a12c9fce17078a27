//! Both feeds through a real hub and real sockets; the test itself plays the backend.

mod answers;
mod idle;
mod poll;
mod resume;
mod sse;
mod storm;
mod support;
