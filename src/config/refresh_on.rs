use hyper::Method;

use super::parser::problem::Wrong;
use super::parser::{path_template, units};

/// A write that triggers a poll: method and path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefreshOn {
    /// Of the write.
    pub(crate) method: Method,
    /// Path template; parameters with the route's own names must be equal.
    pub(crate) path: String,
}

/// `"PATCH /api/matters/{id}"`.
pub(super) fn read(text: &str) -> Result<RefreshOn, Wrong> {
    let Some((method, path)) = text.split_once(' ') else {
        let fix = "write method and path, such as \"PATCH /api/matters/{id}\"";
        return Err(Wrong::new("is no write", fix));
    };
    let method = units::method(method)?;
    if method.is_safe() {
        return Err(Wrong::new(
            "changes nothing",
            "name a write, such as POST or PATCH",
        ));
    }
    let path = path_template::template(path.trim_start())?;
    Ok(RefreshOn { method, path })
}
