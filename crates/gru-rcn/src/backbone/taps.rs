//! Tap names.

/// A tap was asked for that the backbone does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backbone} has no tap \"{name}\"; it has {}", known.join(", "))]
pub struct UnknownTap {
    /// The backbone.
    pub backbone: &'static str,
    /// The name asked for.
    pub name: String,
    /// The names there are.
    pub known: Vec<String>,
}

/// Checks names against the taps there are.
pub(super) fn check(backbone: &'static str, asked: &[String], known: &[String]) -> Result<(), UnknownTap> {
    match asked.iter().find(|name| !known.contains(name)) {
        Some(name) => Err(UnknownTap { backbone, name: name.clone(), known: known.to_vec() }),
        None => Ok(()),
    }
}
