//! `report.html`: the results of a run on one page.
//!
//! The page is one file that contains style, figures and frames. It has no scripts, and its
//! security policy forbids it to load anything, so it looks the same in ten years and on a machine
//! without a network. It adapts to a light or dark theme and to the width of a phone.
//!
//! [`render`] is a pure function of [`RunReport`], which is plain data that can be written to
//! JSON and read back, so that a report can be made again from the files of a run.

mod bars;
mod comparison;
mod confusion;
mod curves;
mod format;
mod gallery;
mod jpeg;
mod model;
mod page;
#[cfg(test)]
mod sample;

pub(crate) use jpeg::jpeg_base64;
pub(crate) use model::{GalleryClip, RunReport};
pub(crate) use page::render;
