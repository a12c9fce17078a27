//! What an admin took back.
