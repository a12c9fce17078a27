//! Key sets behind a URL (RFC 7517): cached, fetched again at a bounded rate, kept on error.
