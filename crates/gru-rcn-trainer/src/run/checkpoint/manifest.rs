//! `MANIFEST.json`: the members of a checkpoint, with checksums that detect damage.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run::checksum::{Member, checksum};
use crate::run::fingerprint::RunFingerprint;

/// The format that this program writes and reads. Format 1 was saved after whole epochs only.
pub(super) const VERSION: u32 = 2;

pub(super) const FILE: &str = "MANIFEST.json";

/// The outer form, the same in every version: a newer one is distinguished from damage.
#[derive(Serialize, Deserialize)]
struct Envelope {
    version: u32,
    body: Value,
    /// Checksum of version and body as compact JSON.
    checksum: String,
}

/// The members of a checkpoint and the fingerprint of its run.
#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) program: String,
    pub(super) identity: RunFingerprint,
    /// Hash of the recipe, for people.
    pub(super) recipe_hash: String,
    pub(super) files: Vec<Member>,
}

/// Why a checkpoint is not loaded.
pub(super) enum Fault {
    /// It is damaged; an older one may be whole.
    Damaged(anyhow::Error),
    /// It is whole, but of another run or format, and so are those before it.
    Foreign(anyhow::Error),
}

impl Manifest {
    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        let body = serde_json::to_value(self)?;
        let checksum = checksum(&serde_json::to_vec(&(VERSION, &body))?);
        Ok(serde_json::to_vec_pretty(&Envelope { version: VERSION, body, checksum })?)
    }

    pub(super) fn read(folder: &Path) -> Result<Self, Fault> {
        let read = || -> Result<Envelope> {
            let text = fs::read(folder.join(FILE)).with_context(|| format!("{FILE} cannot be read"))?;
            let envelope: Envelope = serde_json::from_slice(&text).with_context(|| format!("{FILE} is damaged"))?;
            let checksum = checksum(&serde_json::to_vec(&(envelope.version, &envelope.body))?);
            ensure!(checksum == envelope.checksum, "{FILE} is not as it was written");
            Ok(envelope)
        };
        let envelope = read().map_err(Fault::Damaged)?;
        if envelope.version != VERSION {
            return Err(Fault::Foreign(anyhow!(
                "it has format {}, and this program reads {VERSION}; resume with the program that wrote it",
                envelope.version
            )));
        }
        serde_json::from_value(envelope.body)
            .map_err(|error| Fault::Foreign(anyhow!("{FILE} is not of format {VERSION}: {error}")))
    }
}
