//! API keys. Pure: the time is an argument.
