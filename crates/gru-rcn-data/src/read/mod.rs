//! Reading clips from every source, and loading them in parallel and in order.

mod ordered;
mod reader;
mod views;

pub use ordered::{LoaderConfig, OrderedLoader, ordered};
pub use reader::{ClipReader, source_of};
pub use views::ClipViews;
