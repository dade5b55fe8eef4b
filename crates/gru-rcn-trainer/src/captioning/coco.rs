//! Files of captions in COCO's format.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use gru_rcn_data::base::read_text;
use gru_rcn_metrics::caption::Caption;
use serde::{Deserialize, Serialize};

/// The file of references. COCO's has more keys.
#[derive(Deserialize)]
struct References {
    images: Option<Vec<Image>>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: Id,
}

/// A caption of a clip.
#[derive(Serialize, Deserialize)]
pub(crate) struct Annotation {
    pub(crate) image_id: Id,
    pub(crate) caption: String,
}

/// A clip's id; 1 and "1" are two.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Number(i64),
    Text(String),
}

/// The references of a file, in the order of its images if it lists them.
pub(crate) fn references(file: &Path) -> Result<Vec<Annotation>> {
    let path = file.display();
    let References { images, mut annotations } = read(file)?;
    let Some(images) = images else { return Ok(annotations) };
    let places: HashMap<&Id, usize> = images.iter().enumerate().map(|(place, image)| (&image.id, place)).collect();
    let mut captioned = vec![false; images.len()];
    for annotation in &annotations {
        let Some(&place) = places.get(&annotation.image_id) else {
            bail!("{path}: a caption is of {}, which is not among the images", annotation.image_id.text()?);
        };
        captioned[place] = true;
    }
    if let Some(place) = images.iter().position(|image| !places.get(&image.id).is_some_and(|&at| captioned[at])) {
        bail!("{path}: image {} has no caption; remove it or add one", images[place].id.text()?);
    }
    annotations.sort_by_key(|annotation| places[&annotation.image_id]);
    Ok(annotations)
}

/// The captions to score of a file.
pub(crate) fn hypotheses(file: &Path) -> Result<Vec<Annotation>> {
    read(file)
}

/// Annotations as the metrics take them, with ids as they stand in files: 1 and "1" are two.
pub(crate) fn captions(annotations: Vec<Annotation>) -> Result<Vec<Caption>> {
    let caption = |Annotation { image_id, caption }| Ok(Caption { id: image_id.text()?, text: caption });
    annotations.into_iter().map(caption).collect()
}

impl Id {
    /// The id as it stands in the file.
    pub(crate) fn text(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// The name of the clip.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    serde_json::from_str(&read_text(path)?).with_context(|| format!("{} is not in COCO's format", path.display()))
}
