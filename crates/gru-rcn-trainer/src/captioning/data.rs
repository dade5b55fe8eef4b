//! Clips with their captions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gru_rcn::captioner::Vocabulary;
use gru_rcn_data::base::Fnv64;
use gru_rcn_data::{Dataset, Sample, Split, without_extension};
use gru_rcn_metrics::caption::{Caption, Corpus, tokenize_lines};

use super::coco::{self, Annotation, Id};
use crate::experiment::data::dataset_of;
use crate::preflight::samples;
use crate::recipe::{CaptionRecipe, DataSection};

/// The clips of a run that have captions.
pub(crate) struct CaptionedClips {
    pub(crate) dataset: Dataset,
    /// Of each clip by its id: the id that the file of captions has for it, and its captions.
    captions: HashMap<String, (Id, Vec<String>)>,
    /// What a reader of the results should know of them.
    pub(crate) notes: Vec<String>,
}

/// A caption to learn: place of its clip in a part, and its words.
pub(crate) type Learnt = (usize, Vec<usize>);

impl CaptionedClips {
    pub(crate) fn of_recipe(recipe: &CaptionRecipe) -> Result<Self> {
        let dataset = dataset_of(&recipe.name, &recipe.data, Dataset::from_unlabelled_folder)?;
        let file = captions_file(recipe);
        let clips = Self::join(dataset, annotations(&file)?, &file)?;
        for split in [Split::Validation, Split::Test] {
            // Captions that the metrics refuse are an error now, not after the training.
            let first = |sample: &Sample| clips.references(&sample.id)[0].clone();
            clips.corpus(split, &clips.dataset.split(split).iter().map(first).collect::<Vec<_>>())?;
        }
        Ok(clips)
    }

    fn join(mut dataset: Dataset, annotations: Vec<Annotation>, file: &Path) -> Result<Self> {
        let shown = file.display();
        let mut names: HashMap<String, Option<String>> = HashMap::new();
        for sample in samples(&dataset) {
            let stem = without_extension(&sample.id);
            let last = stem.rsplit('/').next().unwrap_or(stem);
            let mut of_clip = vec![sample.id.as_str(), stem, last];
            of_clip.dedup();
            for name in of_clip {
                // A name that two clips share names neither.
                let new = || Some(sample.id.clone());
                names.entry(name.to_owned()).and_modify(|known| *known = None).or_insert_with(new);
            }
        }
        let mut captions: HashMap<String, (Id, Vec<String>)> = HashMap::new();
        let mut unknown: Vec<String> = Vec::new();
        for Annotation { image_id, caption } in annotations {
            let name = image_id.name();
            match names.get(&name) {
                Some(Some(id)) => captions.entry(id.clone()).or_insert((image_id, Vec::new())).1.push(caption),
                Some(None) => bail!("{shown}: {name} is the name of several clips; write their paths below the folder"),
                None if unknown.last() == Some(&name) => {}
                None => unknown.push(name),
            }
        }
        if captions.is_empty() {
            bail!(
                "{shown}: none of its captions is of a clip of {}; image_id is the name of a clip's file, or its path \
                 below the folder",
                dataset.name
            );
        }
        let mut notes = dataset.notes.clone();
        if let Some(first) = unknown.first() {
            notes.push(format!("{} clips of {shown} are not among the clips, the first {first}", unknown.len()));
        }
        let lists =
            [("training", &mut dataset.train), ("validation", &mut dataset.validation), ("test", &mut dataset.test)];
        for (part, samples) in lists {
            let all = samples.len();
            let without: Vec<Sample> = samples.extract_if(.., |sample| !captions.contains_key(&sample.id)).collect();
            if let Some(Sample { id, .. }) = without.first() {
                let without = without.len();
                notes.push(format!("{without} of {all} {part} clips have no caption and are not used, the first {id}"));
            }
            if samples.is_empty() {
                bail!("{}: there are no {part} clips with captions in {shown}", dataset.name);
            }
        }
        Ok(Self { dataset, captions, notes })
    }

    /// The captions of a clip.
    pub(crate) fn references(&self, id: &str) -> &[String] {
        &self.captions[id].1
    }

    /// The id of a clip in the file of captions.
    pub(crate) fn image(&self, id: &str) -> &Id {
        &self.captions[id].0
    }

    /// References and hypotheses, one of each clip of the part, for the metrics.
    pub(crate) fn corpus(&self, split: Split, hypotheses: &[String]) -> Result<Corpus> {
        let samples = self.dataset.split(split);
        let caption = |id: &str, text: &str| Caption { id: id.to_owned(), text: text.to_owned() };
        let references: Vec<Caption> = samples
            .iter()
            .flat_map(|sample| self.references(&sample.id).iter().map(|text| caption(&sample.id, text)))
            .collect();
        let hypotheses: Vec<Caption> =
            samples.iter().zip(hypotheses).map(|(sample, text)| caption(&sample.id, text)).collect();
        Corpus::new(&references, &hypotheses).with_context(|| format!("captions of the {split} clips"))
    }

    /// The tokens of the captions of a part, each with the place of its clip.
    pub(crate) fn tokens(&self, split: Split) -> Vec<(usize, Vec<String>)> {
        let clips = self.dataset.split(split).iter().enumerate();
        let captions: Vec<(usize, &str)> = clips
            .flat_map(|(clip, sample)| self.references(&sample.id).iter().map(move |text| (clip, text.as_str())))
            .collect();
        let tokens = tokenize_lines(captions.iter().map(|(_, text)| *text));
        captions.into_iter().map(|(clip, _)| clip).zip(tokens).collect()
    }

    /// A hash of clips, parts and captions.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Fnv64::default().text(&self.dataset.fingerprint());
        for split in Split::ALL {
            for text in self.dataset.split(split).iter().flat_map(|sample| self.references(&sample.id)) {
                hash = hash.text(text);
            }
        }
        format!("{:016x}", hash.finish())
    }
}

/// Where the captions are; a relative path is one below the folder of the clips.
fn captions_file(recipe: &CaptionRecipe) -> PathBuf {
    match &recipe.data {
        DataSection::Folder(section) => section.root.join(&recipe.captions),
        DataSection::Motion(_) => recipe.captions.clone(),
    }
}

/// The captions of a file, or of those of the parts in a folder.
fn annotations(path: &Path) -> Result<Vec<Annotation>> {
    if !path.is_dir() {
        return coco::references(path);
    }
    let parts = Split::ALL.map(|split| path.join(format!("{split}.json")));
    let there: Vec<Vec<Annotation>> =
        parts.iter().filter(|file| file.is_file()).map(|file| coco::references(file)).collect::<Result<_>>()?;
    ensure!(!there.is_empty(), "{}: this folder has no {}", path.display(), parts[0].display());
    Ok(there.into_iter().flatten().collect())
}

/// The captions of at most `max_words` words to learn, as ids.
pub(crate) fn learnt(
    tokens: &[(usize, Vec<String>)],
    vocabulary: &Vocabulary,
    max_words: usize,
    part: &str,
) -> Result<Vec<Learnt>> {
    let fits = |words: &&(usize, Vec<String>)| (1..=max_words).contains(&words.1.len());
    let learnt: Vec<Learnt> = tokens.iter().filter(fits).map(|(clip, words)| (*clip, vocabulary.ids(words))).collect();
    match learnt.is_empty() {
        true => Err(anyhow!("all {part} captions are longer than text.max_words = {max_words}; raise it")),
        false => Ok(learnt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gru_rcn_data::ClipSource;

    fn dataset() -> Dataset {
        let sample =
            |id: &str| Sample { id: id.into(), class: 0, appearance: None, source: ClipSource::Video(id.into()) };
        Dataset {
            name: "films".into(),
            classes: vec!["a".into()],
            train: vec![sample("a/1.avi"), sample("a/x.avi"), sample("a/lost.avi")],
            validation: vec![sample("a/v.avi")],
            test: vec![sample("a/t.avi"), sample("b/t.mp4")],
            ..Dataset::default()
        }
    }

    fn annotation(id: Id, caption: &str) -> Annotation {
        Annotation { image_id: id, caption: caption.into() }
    }

    fn text(id: &str) -> Id {
        Id::Text(id.into())
    }

    /// Names of clips by number, file, path and path without extension; two clips are called `t`.
    #[test]
    fn captions_find_their_clips() {
        let captions = |more: Vec<Annotation>| {
            let mut all = vec![
                annotation(Id::Number(1), "A man sings."),
                annotation(text("a/x"), "A dog runs."),
                annotation(text("a/x.avi"), "The dog is running!"),
                annotation(text("v"), "A cat."),
                annotation(text("b/t.mp4"), "A bird."),
                annotation(text("far"), "A fish."),
            ];
            all.extend(more);
            CaptionedClips::join(dataset(), all, Path::new("c.json"))
        };
        let clips = captions(vec![]).unwrap();
        assert_eq!(clips.references("a/x.avi"), ["A dog runs.", "The dog is running!"]);
        let ids = |split| clips.dataset.split(split).iter().map(|s| s.id.as_str()).collect::<Vec<_>>();
        assert_eq!((ids(Split::Train), ids(Split::Test)), (vec!["a/1.avi", "a/x.avi"], vec!["b/t.mp4"]));
        assert!(
            clips.notes[0].contains("1 clips of c.json are not among the clips, the first far"),
            "{:?}",
            clips.notes
        );
        assert!(clips.notes[1].contains("1 of 3 training clips have no caption"), "{:?}", clips.notes);
        let tokens = clips.tokens(Split::Train);
        assert_eq!(tokens[2], (1, ["the", "dog", "is", "running"].map(String::from).to_vec()));
        let vocabulary = Vocabulary::build(tokens.iter().map(|(_, words)| words), 1).unwrap();
        let learnt = learnt(&tokens, &vocabulary, 3, "training").unwrap();
        assert_eq!(learnt.iter().map(|(clip, words)| (*clip, words.len())).collect::<Vec<_>>(), [(0, 3), (1, 3)]);
        assert!(super::learnt(&tokens, &vocabulary, 2, "training").unwrap_err().to_string().contains("text.max_words"));
        let corpus = clips.corpus(Split::Test, &["a bird".into()]).unwrap();
        assert_eq!(corpus.clips()[0].references, ["a bird"]);
        assert_ne!(captions(vec![annotation(text("v"), "x")]).unwrap().fingerprint(), clips.fingerprint());
        let two = captions(vec![annotation(text("t"), "x")]).err().unwrap().to_string();
        assert!(two.contains("t is the name of several clips"), "{two}");
        let none = CaptionedClips::join(dataset(), vec![annotation(text("far"), "x")], Path::new("c.json"));
        assert!(none.err().unwrap().to_string().contains("none of its captions"));
    }
}
