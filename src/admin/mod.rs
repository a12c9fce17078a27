//! The other listener: API, metrics, probes.
