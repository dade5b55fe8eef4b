//! The files of a run: its folder, card, scores, checkpoints, checksums and fingerprint.

pub(crate) mod built_in;
pub(crate) mod card;
pub(crate) mod checkpoint;
pub(crate) mod checksum;
pub(crate) mod clips;
pub(crate) mod dir;
pub(crate) mod fingerprint;
pub(crate) mod scores;
