//! What the parts of a session want done. They change their own state, and the session does what concerns others.

use std::sync::Arc;

use crate::error::{Code, Refusal};
use crate::policy::auth::Authenticated;
use crate::protocol::Tag;

/// One of these things.
pub(super) enum Effect {
    /// The session ends with this close code.
    Close(u16, &'static str),
    /// It is known which user it is: the client is welcome.
    Welcome,
    /// What the client has sent under this tag was done.
    Accept(Tag),
    /// It was not.
    Refuse(Tag, Refusal),
    /// The user's subscriptions go on by this admission, as far as it suffices.
    Renew(Arc<Authenticated>),
    /// The policy of this name knows no user here any more: what they had subscribed to ends so.
    Lose(Arc<str>, Code),
    /// The user's token ends soon; Unix seconds.
    Expires(u64),
}

/// What is to be done, in order. A close is the last of them.
#[derive(Default)]
pub(super) struct Effects(Vec<Effect>);

impl Effects {
    pub fn push(&mut self, effect: Effect) {
        if !self.closes() {
            self.0.push(effect);
        }
    }

    /// Whether the session ends.
    pub fn closes(&self) -> bool {
        matches!(self.0.last(), Some(Effect::Close(..)))
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::vec::IntoIter<Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
