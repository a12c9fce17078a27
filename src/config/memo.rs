//! What is found out of a value once, and kept beside it.

use std::sync::OnceLock;

/// See the module. It is no part of the value: all are equal, and a copy of the value, which may be changed, starts anew.
#[derive(Debug)]
pub struct Memo<T>(OnceLock<T>);

impl<T: Clone> Memo<T> {
    /// What was found, or what `find` finds now.
    pub fn get_or(&self, find: impl FnOnce() -> T) -> T {
        self.0.get_or_init(find).clone()
    }
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Memo(OnceLock::new())
    }
}

impl<T> Clone for Memo<T> {
    fn clone(&self) -> Self {
        Memo::default()
    }
}

impl<T> PartialEq for Memo<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_found_once_and_a_copy_finds_it_anew() {
        let memo = Memo::default();
        assert_eq!(memo.get_or(|| 1), 1);
        assert_eq!(memo.get_or(|| 2), 1);
        assert_eq!(memo.clone().get_or(|| 3), 3);
        assert!(memo == Memo::default());
    }
}
