//! Authorities that are asked: one question for all who wait for the same answer.
