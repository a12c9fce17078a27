//! Why a request was refused for its form, before routing.

/// A rule of form that a request broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
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

impl Fault {
    /// The HTTP status that says so.
    pub fn status(self) -> u16 {
        match self {
            Fault::TargetTooLong => 414,
            Fault::HeadTooLarge | Fault::TooManyFields => 431,
            Fault::HeadTimeout | Fault::BodyTimeout => 408,
            Fault::Trace => 405,
            Fault::Expect => 417,
            _ => 400,
        }
    }

    /// The code of the problem document.
    pub fn code(self) -> &'static str {
        match self {
            Fault::TargetTooLong => "uri_too_long",
            Fault::HeadTooLarge | Fault::TooManyFields => "headers_too_large",
            Fault::HeadTimeout | Fault::BodyTimeout => "request_timeout",
            Fault::Trace => "method_not_allowed",
            Fault::Expect => "expectation_failed",
            _ => "bad_request",
        }
    }

    /// The word in `refused_total{reason}`.
    pub fn reason(self) -> &'static str {
        match self {
            Fault::RequestLine => "request_line",
            Fault::Target => "target",
            Fault::TargetTooLong => "target_too_long",
            Fault::Path => "path",
            Fault::LineEnd => "line_end",
            Fault::ControlByte => "control_byte",
            Fault::FieldName => "field_name",
            Fault::FieldValue => "field_value",
            Fault::Fold => "fold",
            Fault::ContentLength => "content_length",
            Fault::TransferEncoding => "transfer_encoding",
            Fault::Framing => "framing",
            Fault::Chunk => "chunk",
            Fault::HeadTooLarge => "head_too_large",
            Fault::TooManyFields => "too_many_fields",
            Fault::HeadTimeout => "head_timeout",
            Fault::BodyTimeout => "body_timeout",
            Fault::Host => "host",
            Fault::Connect => "connect",
            Fault::Trace => "trace",
            Fault::Expect => "expect",
            Fault::UpgradeBody => "upgrade_body",
            Fault::AmbiguousName => "ambiguous_name",
        }
    }

    /// One sentence for a person.
    pub fn detail(self) -> &'static str {
        match self {
            Fault::RequestLine => "the request line is not a method, a target and HTTP/1.1",
            Fault::Target => "the request target is neither a path nor an http URL",
            Fault::TargetTooLong => "the request target is too long",
            Fault::Path => "the path could be read in more than one way",
            Fault::LineEnd => "a line of the request head does not end in CR LF",
            Fault::ControlByte => "a control byte stands in the request head",
            Fault::FieldName => "a header field has no proper name before its colon",
            Fault::FieldValue => "a header field's value begins or ends with white space",
            Fault::Fold => "a header field continues on a second line",
            Fault::ContentLength => "Content-Length is not one number",
            Fault::TransferEncoding => "Transfer-Encoding is not exactly chunked",
            Fault::Framing => "Content-Length and Transfer-Encoding exclude each other",
            Fault::Chunk => "the chunked body does not follow the grammar",
            Fault::HeadTooLarge => "the request head is too large",
            Fault::TooManyFields => "the request has too many header fields",
            Fault::HeadTimeout => "the request head did not arrive in time",
            Fault::BodyTimeout => "the request body did not arrive in time",
            Fault::Host => "Host is not one host[:port], or not the one of the target",
            Fault::Connect => "CONNECT is not served here",
            Fault::Trace => "TRACE is not served here",
            Fault::Expect => "only 100-continue may be expected",
            Fault::UpgradeBody => "a WebSocket handshake has no body",
            Fault::AmbiguousName => "a header field's name may pass for another one",
        }
    }
}
