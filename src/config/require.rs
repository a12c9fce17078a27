use serde_json::Value;

/// `require`: what somebody has to be, beyond being known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Require {
    /// Any one of these roles; empty: no role is asked for.
    pub roles: Vec<String>,
    /// Each of these claims (a name, or a JSON Pointer) has to be one of these values, or a list that holds one.
    pub claims: Vec<(String, Vec<Value>)>,
}
