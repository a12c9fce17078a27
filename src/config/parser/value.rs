use schemars::JsonSchema;
use serde::Serialize;

/// One key as `config show` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ConfigValue")]
pub(crate) struct ConfigValue {
    /// Dotted path (`rollout.web.percent`, `route.3.path`).
    pub(crate) key: String,
    /// As it would be written in the file; secrets are `***`, what is not set is null.
    pub(crate) value: serde_json::Value,
    /// `file:LINE:COLUMN`, `env:NAME`, `secret-file:PATH` or `default`.
    pub(crate) source: String,
}
