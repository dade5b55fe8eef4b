//! Basics for all other modules: errors, frames in memory, limits, stable random numbers, safe files.

/// `Display` and `FromStr` of an enum by the names of its variants in lower case. `FromStr` also
/// accepts the aliases given after a variant.
macro_rules! named {
    ($type:ident, $key:literal, $reason:literal, $($variant:ident $(| $also:literal)*),+) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&match self { $(Self::$variant => stringify!($variant)),+ }.to_lowercase())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::base::DataError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $(if text == stringify!($variant).to_lowercase() $(|| text == $also)* {
                    return Ok(Self::$variant);
                })+
                Err($crate::base::DataError::setting($key, text, $reason))
            }
        }
    };
}
pub(crate) use named;

mod disk;
mod error;
mod frames;
mod limits;
mod parallel;
mod random;
mod split;
mod text;

pub use disk::{FolderLock, free_bytes, if_there, remove, sync_folder, write_atomically};
pub(crate) use disk::{
    PARTIAL, canonical_folder, partial_sibling, read_folder, sync_folder_of, unless_missing, write_atomically_by,
};
pub use error::DataError;
pub use frames::Frames;
pub use limits::DecodeLimits;
pub use parallel::panic_message;
pub(crate) use parallel::{for_each, threads};
pub(crate) use random::Draws;
pub use random::{Fnv64, SplitMix64};
pub use split::Split;
pub(crate) use text::read_file_into;
pub use text::{open_file, printable, read_file, read_text, read_text_if_there};
