//! Images: decoding, resizing, and folders of numbered frames.

mod folder;
mod picture;
mod resize;
mod structure;

pub use folder::write_frames;
pub(crate) use folder::{check_inside, check_link, is_frame, list_frames, list_frames_below, numbered, read_selected};
pub use picture::read_image;
pub(crate) use picture::{Colours, Picture, decode_strictly, with_decoded};
pub use resize::{Crop, SizeRule};
pub(crate) use resize::{Rectangle, flip_horizontal, resize_into, resize_rgb};
pub(crate) use structure::{Unsound, check_structure};
