//! The private readers that fuzz targets call; compiled for fuzzing only.

use std::path::Path;

use anyhow::Result;

use crate::captioning::coco;
use crate::recipe::{CaptionRecipe, Recipe, RecipeKind, parse_as, text_captions, to_toml};
use crate::run::card::RunCard;
use crate::run::clips::RunClips;
use crate::run::dir::read_json;
use crate::run::scores::SavedScores;

/// Reads a recipe of any kind with changes. An accepted recipe is the same after it was written and read.
///
/// # Errors
/// Those of the recipe.
pub fn recipe(text: &str, changes: &[String]) -> Result<()> {
    if text_captions(text) {
        return accepted(&parse_as::<CaptionRecipe>(text, changes)?);
    }
    let recipe = parse_as::<Recipe>(text, changes)?;
    // Commands compute these before they read any clip.
    let _ = (recipe.levels(), recipe.describe_views(recipe.views()), recipe.pixel_options(2));
    accepted(&recipe)
}

fn accepted<R: RecipeKind>(recipe: &R) -> Result<()> {
    let text = to_toml(recipe)?;
    // As texts, because NaN does not equal NaN.
    assert_eq!(to_toml(&parse_as::<R>(&text, &[]).expect("it was accepted"))?, text);
    Ok(())
}

/// Reads a file of scores and matches it with itself.
///
/// # Errors
/// Those of the file.
pub fn scores(path: &Path) -> Result<()> {
    let scores = SavedScores::load(path)?;
    scores.predictions_like(&scores)?.summary();
    Ok(())
}

/// Reads a file as every JSON file of a run and as captions.
pub fn json(path: &Path) {
    let _ = read_json::<RunCard>(path).map(|card| card.map(|card| card.entries()));
    let _ = (read_json::<RunClips>(path), coco::references(path).and_then(coco::captions), coco::hypotheses(path));
}
