use std::num::NonZeroU32;
use std::time::Duration;

/// `[rate_limit.NAME]`: how much one client may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// NAME.
    pub name: String,
    /// Requests over HTTP, and `req`s.
    pub requests: Option<Rate>,
    /// WebSocket handshakes.
    pub connects: Option<Rate>,
    /// Messages of a client over its connection.
    pub messages: Option<Rate>,
    /// Bytes of these messages.
    pub bytes: Option<Rate>,
    /// `sub`s.
    pub subscriptions: Option<Rate>,
    /// Whose these are: `"ip"`, `"user"` (the address where none is known) or `"route"` (all together).
    pub by: LimitBy,
    /// WebSocket connections of one user at once. Default: unlimited.
    pub connections_per_user: Option<usize>,
    /// WebSocket connections of one address at once. Default: unlimited.
    pub connections_per_ip: Option<usize>,
    /// Largest message of a client, at most `websocket.max_message`. Default: that.
    pub max_message: Option<usize>,
}

/// See [`RateLimit::by`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LimitBy {
    /// An address: IPv4 alone, IPv6 by its /64.
    #[default]
    Ip,
    /// A user.
    User,
    /// Everybody together.
    Route,
}

/// `"20/s"`, `"100/m burst 200"`: so many in this time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In this time.
    pub per: Duration,
    /// At once; `count` where nothing is said.
    pub burst: NonZeroU32,
}
