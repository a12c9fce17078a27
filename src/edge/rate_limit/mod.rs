//! How much one client may ask for: exact limits behind bounded estimates.
