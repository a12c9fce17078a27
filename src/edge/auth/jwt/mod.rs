//! Tokens: their form, their signature, their claims. Pure: the time is an argument.
