//! Images: decoding, resizing, and folders of numbered frames.

mod folder;
mod picture;
mod resize;

pub(crate) use folder::{is_frame, read_selected};
pub use folder::{list_frames, read_frames_folder};
pub(crate) use picture::{Colours, Picture, decode_strictly, with_decoded};
pub use resize::{Crop, SizeRule, flip_horizontal, resize_frames, resize_rgb};
pub(crate) use resize::{Rectangle, resize_into};
#[cfg(feature = "pure-decode")]
pub(crate) use resize::{cubic, resize_cubic};
