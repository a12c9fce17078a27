//! The signed sticky cookie `crossfade_unit`. Pure: randomness and the secret are arguments.

/// The cookie's name.
pub const COOKIE: &str = "crossfade_unit";

/// The cookie's value for a new unit made of these random bytes: `<unit>.<signature>`.
pub fn mint(secret: &[u8], random: [u8; 16]) -> (String, String) {
    todo!()
}

/// The unit inside a cookie's value, where the signature is ours.
pub fn verify(secret: &[u8], value: &str) -> Option<String> {
    todo!()
}
