//! Log, metrics and traces as an operator has them.

mod alarms;
mod logs;
mod metrics;
mod namespaces;
mod traces;
