//! What an idle session costs.

use crate::protocol::json::JsonCodec;
use crate::protocol::raw::Plain;
use crate::session::auth::Access;
use crate::session::connection::Session;
use crate::session::handle::SessionHandle;
use crate::session::session_record::AccessRecord;
use crate::session::subscription::Subscription;

/// What every idle session has on the heap, beside its socket's own registration. The allocator gives 16 bytes at a time, so
/// that one byte above a bound costs as much; around the task's future the runtime has 104 bytes more, and allocates 128 at a
/// time.
#[test]
fn an_idle_session_is_small() {
    let sizes = [
        ("the task's future", size_of::<Session>(), 512 - 104),
        (
            "the member in its Arc",
            size_of::<SessionHandle>() + 16,
            440,
        ),
        ("what is known of users", size_of::<Access>(), 328),
        ("what the log says", size_of::<AccessRecord>(), 56),
        ("the timer", size_of::<tokio::time::Sleep>(), 120),
        ("a subscription", size_of::<Subscription>(), 168),
        ("a codec", size_of::<Plain>() + size_of::<JsonCodec>(), 0),
    ];
    for (what, size, most) in sizes {
        assert!(size <= most, "{what}: {size} bytes");
    }
}
