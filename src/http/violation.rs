//! Why a request was refused for its form, before routing.

/// A rule of form that a request broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestViolation {
    /// Not `method SP target SP version`.
    RequestLine,
    /// A target that is neither a path nor an `http` URL.
    Target,
    /// A target above 8 KiB.
    TargetTooLong,
    /// Dots, an escape that is none, a backslash or NUL: the path could be read in two ways.
    Path,
    /// A line that does not end in CR LF.
    LineEnd,
    /// A control byte inside a field.
    ControlByte,
    /// A field without a proper name, or with white space before the colon.
    FieldName,
    /// White space before or behind a field's value, where nothing may be trimmed.
    FieldValue,
    /// A field continued on a second line.
    Fold,
    /// Several `Content-Length`, or one that is no number.
    ContentLength,
    /// A `Transfer-Encoding` that is not exactly `chunked`, or in HTTP/1.0.
    TransferEncoding,
    /// Both of them.
    Framing,
    /// A chunk that does not follow the grammar.
    Chunk,
    /// More head bytes than allowed.
    HeadTooLarge,
    /// More fields than allowed.
    TooManyFields,
    /// The head took too long.
    HeadTimeout,
    /// The body stood still, or came too slowly.
    BodyTimeout,
    /// `Host` is missing, there twice, no `host[:port]`, or not the one of the target.
    Host,
    /// `CONNECT`: this is no forward proxy.
    Connect,
    /// `TRACE`: its answer would show what only this hop and the backend may see.
    Trace,
    /// An expectation other than `100-continue`.
    Expect,
    /// A WebSocket handshake with a body.
    UpgradeBody,
    /// A field name that may pass for another one (`server.underscore_headers = "reject"`).
    AmbiguousName,
}

impl RequestViolation {
    /// The HTTP status that says so.
    pub(crate) fn status(self) -> u16 {
        match self {
            RequestViolation::TargetTooLong => 414,
            RequestViolation::HeadTooLarge | RequestViolation::TooManyFields => 431,
            RequestViolation::HeadTimeout | RequestViolation::BodyTimeout => 408,
            RequestViolation::Trace => 405,
            RequestViolation::Expect => 417,
            _ => 400,
        }
    }

    /// The code of the problem document.
    pub(crate) fn code(self) -> &'static str {
        match self {
            RequestViolation::TargetTooLong => "uri_too_long",
            RequestViolation::HeadTooLarge | RequestViolation::TooManyFields => "headers_too_large",
            RequestViolation::HeadTimeout | RequestViolation::BodyTimeout => "request_timeout",
            RequestViolation::Trace => "method_not_allowed",
            RequestViolation::Expect => "expectation_failed",
            _ => "bad_request",
        }
    }

    /// The word in `refused_total{reason}`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            RequestViolation::RequestLine => "request_line",
            RequestViolation::Target => "target",
            RequestViolation::TargetTooLong => "target_too_long",
            RequestViolation::Path => "path",
            RequestViolation::LineEnd => "line_end",
            RequestViolation::ControlByte => "control_byte",
            RequestViolation::FieldName => "field_name",
            RequestViolation::FieldValue => "field_value",
            RequestViolation::Fold => "fold",
            RequestViolation::ContentLength => "content_length",
            RequestViolation::TransferEncoding => "transfer_encoding",
            RequestViolation::Framing => "framing",
            RequestViolation::Chunk => "chunk",
            RequestViolation::HeadTooLarge => "head_too_large",
            RequestViolation::TooManyFields => "too_many_fields",
            RequestViolation::HeadTimeout => "head_timeout",
            RequestViolation::BodyTimeout => "body_timeout",
            RequestViolation::Host => "host",
            RequestViolation::Connect => "connect",
            RequestViolation::Trace => "trace",
            RequestViolation::Expect => "expect",
            RequestViolation::UpgradeBody => "upgrade_body",
            RequestViolation::AmbiguousName => "ambiguous_name",
        }
    }

    /// One sentence for a person.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            RequestViolation::RequestLine => {
                "the request line is not a method, a target and HTTP/1.1"
            }
            RequestViolation::Target => "the request target is neither a path nor an http URL",
            RequestViolation::TargetTooLong => "the request target is too long",
            RequestViolation::Path => "the path could be read in more than one way",
            RequestViolation::LineEnd => "a line of the request head does not end in CR LF",
            RequestViolation::ControlByte => "a control byte stands in the request head",
            RequestViolation::FieldName => "a header field has no proper name before its colon",
            RequestViolation::FieldValue => {
                "a header field's value begins or ends with white space"
            }
            RequestViolation::Fold => "a header field continues on a second line",
            RequestViolation::ContentLength => "Content-Length is not one number",
            RequestViolation::TransferEncoding => "Transfer-Encoding is not exactly chunked",
            RequestViolation::Framing => "Content-Length and Transfer-Encoding exclude each other",
            RequestViolation::Chunk => "the chunked body does not follow the grammar",
            RequestViolation::HeadTooLarge => "the request head is too large",
            RequestViolation::TooManyFields => "the request has too many header fields",
            RequestViolation::HeadTimeout => "the request head did not arrive in time",
            RequestViolation::BodyTimeout => "the request body did not arrive in time",
            RequestViolation::Host => "Host is not one host[:port], or not the one of the target",
            RequestViolation::Connect => "CONNECT is not served here",
            RequestViolation::Trace => "TRACE is not served here",
            RequestViolation::Expect => "only 100-continue may be expected",
            RequestViolation::UpgradeBody => "a WebSocket handshake has no body",
            RequestViolation::AmbiguousName => "a header field's name may pass for another one",
        }
    }
}
