use tokio::sync::{mpsc, watch};

/// What is known of the process that this one has replaced, while that leaves.
pub(crate) struct Parent {
    /// Asks its sessions to leave at once.
    pub(super) hurry: mpsc::Sender<()>,
    /// Turns true when it has let everything go.
    pub(super) is_gone: watch::Receiver<bool>,
}

impl Parent {
    /// Waits until it has let everything go, and does not wait for its sessions.
    pub(crate) async fn hurry_out(&self) {
        // Gone, or hurried already.
        let _ = self.hurry.try_send(());
        let mut is_gone = self.is_gone.clone();
        let _ = is_gone.wait_for(|is_gone| *is_gone).await;
    }
}
