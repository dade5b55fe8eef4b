//! What a run keeps on disk: its folder, its card, its scores, its checkpoints and what these belong to.

pub(crate) mod card;
pub(crate) mod checkpoint;
pub(crate) mod dir;
pub(crate) mod fingerprint;
pub(crate) mod scores;
