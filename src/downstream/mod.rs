//! The public listeners: accept, route, judge, answer.
