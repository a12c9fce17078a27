//! Commands of the admin API to the configuration's owner: one task, so that two writers cannot overtake each other.

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::config::{ConfigValue, Problem};

/// A question or an order, with the place for its answer.
pub(crate) enum Ask {
    /// What is in force.
    Show(oneshot::Sender<Snapshot>),
    /// Read the file again, while one of these generations is in force (`None`: any).
    Reload(Option<Vec<u64>>, oneshot::Sender<Result<Applied, Declined>>),
    /// Write this text into the file, then read it.
    Replace(
        Option<Vec<u64>>,
        String,
        oneshot::Sender<Result<Applied, Declined>>,
    ),
    /// Write the text that was in force before into the file, then read it.
    Undo(Option<Vec<u64>>, oneshot::Sender<Result<Applied, Declined>>),
    /// What was accepted, oldest first.
    History(oneshot::Sender<Vec<Entry>>),
}

/// The configuration in force, as it may be shown.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Config")]
pub(crate) struct Snapshot {
    /// Counts accepted configurations.
    pub(crate) generation: u64,
    /// The file's path.
    pub(crate) file: String,
    /// When it was accepted.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) loaded_at: String,
    /// The file's text, secrets as `***`.
    pub(crate) toml: String,
    /// Every key.
    pub(crate) values: Vec<ConfigValue>,
}

/// A reload that went through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Applied {
    /// The generation in force now.
    pub generation: u64,
    /// False where the file says what was in force already.
    pub changed: bool,
    /// What became of the routes.
    pub routes: Routes,
    /// Connections that lost their route.
    pub closed: usize,
}

/// What a reload did to the routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Routes {
    /// Not there before.
    pub added: Vec<String>,
    /// Not there any more.
    pub removed: Vec<String>,
    /// There, and different.
    pub changed: Vec<String>,
}

/// A reload that changed nothing at all.
#[derive(Clone, Debug)]
pub enum Declined {
    /// What `check` says of the file.
    Invalid(Vec<Problem>),
    /// These keys need a restart.
    RestartRequired(Vec<String>),
    /// Another writer was faster; the generation now.
    Stale(u64),
    /// The file cannot be written.
    ReadOnly(String),
    /// Nothing was in force before.
    NothingToUndo,
    /// The process is on its way out.
    Gone,
}

/// An accepted configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ConfigEntry")]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) generation: u64,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) at: String,
    /// What made crossfade read it.
    pub(crate) trigger: Trigger,
    /// Of the file's text, in hex.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub(crate) sha256: String,
}

/// What makes crossfade read the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Trigger {
    /// The process started.
    Start,
    /// The file, or one that it includes, changed.
    File,
    /// SIGHUP.
    Signal,
    /// A request to the admin API.
    Api,
    /// One step back.
    Undo,
}

impl Trigger {
    /// The word in documents and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Trigger::Start => "start",
            Trigger::File => "file",
            Trigger::Signal => "signal",
            Trigger::Api => "api",
            Trigger::Undo => "undo",
        }
    }
}
