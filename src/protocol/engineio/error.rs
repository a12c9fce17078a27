//! What is wrong with a request, in the words of the reference server: clients show them to their users.

use bytes::Bytes;

/// See the module. Its HTTP status is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// `transport` names none of ours.
    Transport,
    /// `sid` names no session.
    Sid,
    /// A handshake that is no GET.
    Method,
    /// Anything else.
    BadRequest,
    /// `EIO` is not 4.
    Version,
}

impl EngineError {
    /// The number that clients tell it by.
    pub(crate) fn code(self) -> u8 {
        match self {
            EngineError::Transport => 0,
            EngineError::Sid => 1,
            EngineError::Method => 2,
            EngineError::BadRequest => 3,
            EngineError::Version => 5,
        }
    }

    /// What it says.
    pub(crate) fn message(self) -> &'static str {
        match self {
            EngineError::Transport => "Transport unknown",
            EngineError::Sid => "Session ID unknown",
            EngineError::Method => "Bad handshake method",
            EngineError::BadRequest => "Bad request",
            EngineError::Version => "Unsupported protocol version",
        }
    }

    /// The answer's body: JSON.
    pub fn body(self) -> Bytes {
        let (code, message) = (self.code(), self.message());
        format!(r#"{{"code":{code},"message":"{message}"}}"#).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_reads_as_the_reference_server_shows_it() {
        assert_eq!(
            EngineError::Sid.body(),
            r#"{"code":1,"message":"Session ID unknown"}"#
        );
        assert_eq!(
            EngineError::Version.body(),
            r#"{"code":5,"message":"Unsupported protocol version"}"#
        );
    }
}
