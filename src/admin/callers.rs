//! The callers that are connected to the admin address. Where no place is left, the connection that has waited for its caller the longest is
//! closed: callers that are idle, or slow, never keep another one out.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::task::AbortHandle;

/// The connections of one listener.
pub(crate) struct Callers {
    most: usize,
    present: Vec<(Caller, AbortHandle)>,
}

/// One connection: whose turn it is.
#[derive(Clone)]
pub(crate) struct Caller(Arc<Mutex<Turn>>);

#[derive(Clone, Copy)]
enum Turn {
    /// The caller's, since then: to ask, to finish asking, or to take the answer.
    Theirs(Instant),
    Ours,
    /// It has lost its place.
    Nobodys,
}

impl Callers {
    /// For so many callers; none is connected yet.
    pub(crate) fn new(most: usize) -> Self {
        let present = Vec::new();
        Callers { most, present }
    }

    /// Frees a slot for one more. False while every connection waits for us.
    pub(crate) fn make_room(&mut self) -> bool {
        self.present.retain(|(_, task)| !task.is_finished());
        if self.present.len() < self.most {
            return true;
        }
        let waiting = self
            .present
            .iter()
            .enumerate()
            .filter_map(|(at, (caller, _))| match *caller.turn() {
                Turn::Theirs(since) => Some((since, at)),
                Turn::Ours | Turn::Nobodys => None,
            });
        let Some((_, longest)) = waiting.min() else {
            return false;
        };
        let (caller, task) = self.present.swap_remove(longest);
        // Its request may have come at this moment.
        if !caller.leave() {
            self.present.push((caller, task));
            return false;
        }
        task.abort();
        true
    }

    /// One more is here.
    pub(crate) fn add(&mut self, caller: Caller, task: AbortHandle) {
        self.present.push((caller, task));
    }
}

impl Caller {
    /// It is connected, and has asked nothing yet.
    pub(crate) fn new() -> Self {
        Caller(Arc::new(Mutex::new(Turn::Theirs(Instant::now()))))
    }

    /// Works for it: meanwhile it does not lose its place. Never resolves where it has lost it already.
    pub(crate) async fn serve<T>(&self, work: impl Future<Output = T>) -> T {
        let is_gone = {
            let mut turn = self.turn();
            let is_gone = matches!(*turn, Turn::Nobodys);
            if !is_gone {
                *turn = Turn::Ours;
            }
            is_gone
        };
        if is_gone {
            return std::future::pending().await;
        }
        let done = work.await;
        *self.turn() = Turn::Theirs(Instant::now());
        done
    }

    /// Takes its place away, unless we work for it.
    fn leave(&self) -> bool {
        let mut turn = self.turn();
        let may_leave = !matches!(*turn, Turn::Ours);
        if may_leave {
            *turn = Turn::Nobodys;
        }
        may_leave
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_longest_waiting_makes_room_and_the_served_stay() {
        let mut callers = Callers::new(2);
        let sit = |callers: &mut Callers| {
            assert!(callers.make_room());
            let caller = Caller::new();
            let task = tokio::spawn(std::future::pending::<()>());
            callers.add(caller.clone(), task.abort_handle());
            (caller, task)
        };
        let (first, first_task) = sit(&mut callers);
        let (second, second_task) = sit(&mut callers);
        // The first one has asked something, and waits less long than the second now.
        first.serve(async {}).await;
        let (_third, _) = sit(&mut callers);
        assert!(second_task.await.unwrap_err().is_cancelled());
        assert!(second.serve(async {}).now_or_never().is_none());

        let mut work = Box::pin(first.serve(std::future::pending::<()>()));
        assert!(work.as_mut().now_or_never().is_none());
        let (fourth, _) = sit(&mut callers);
        assert!(!first_task.is_finished());
        let mut more = Box::pin(fourth.serve(std::future::pending::<()>()));
        assert!(more.as_mut().now_or_never().is_none());
        assert!(!callers.make_room(), "everybody is served");
        first_task.abort();
        let _ = first_task.await;
        assert!(callers.make_room());
    }
}
