//! HTTP's grammar: which requests and responses are refused, which are normalized, and how field names are spelled.

mod messages;
mod responses;
mod smuggling;
mod spelling;
mod violations;
