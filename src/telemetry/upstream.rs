//! What happens on the backend's half.

use super::Telemetry;
use crate::error::Error;

impl Telemetry {
    /// A backend's answer began.
    pub fn upstream_answered(&self, route: &str, upstream: &str, kind: &str, status: u16) {
        let mut digits = [0; 3];
        let status = decimal(status, &mut digits);
        self.upstream_requests
            .with_label_values(&[route, upstream, kind, status])
            .inc();
        tracing::trace!(route, upstream, kind, status, "upstream answered");
    }

    /// A backend failed, before or during its answer.
    pub fn upstream_failed(&self, upstream: &str, error: &Error) {
        self.upstream_errors
            .with_label_values(&[upstream, error.kind.as_str()])
            .inc();
        tracing::debug!(upstream, reason = error.kind.as_str(), detail = %error.detail, "upstream failed");
    }
}

/// A status code as text without an allocation per request.
fn decimal(status: u16, digits: &mut [u8; 3]) -> &str {
    let mut rest = status;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    std::str::from_utf8(digits).unwrap_or("000")
}
