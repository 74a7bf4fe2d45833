//! Looking at all inputs of a build before anything is written.

use std::{fs, path::PathBuf};

use super::{
    base::Base,
    bill,
    check::check,
    problems::Problems,
    tree::Tree,
    walk::{Nodes, walk},
};
use crate::{Context, Error, Result, backend::ImageSpec, local::oci};

/// What a specification leads to.
#[derive(Debug)]
pub(super) struct Inspected {
    pub(super) base: Option<Base>,
    pub(super) layers: Vec<Nodes>,
    pub(super) locks: Vec<(PathBuf, Vec<u8>)>,
    /// The bill of materials, as it is stored.
    pub(super) bill: Option<Vec<u8>>,
}

impl Inspected {
    /// Reads the base, lists the files, checks the fields; what is wrong is noted. Blocks.
    pub(super) fn of(cx: &Context, operation: &'static str, spec: &ImageSpec, problems: &mut Problems) -> Result<Self> {
        check(spec, problems);
        let found = spec.base.as_ref().map(|(dir, name)| Base::find(operation, dir, name, &spec.platform));
        let base = problems.note(found.transpose())?.flatten();
        let layers = walk(cx, operation, spec, problems)?;
        let mut locks = Vec::new();
        for path in &spec.lock_files {
            let read = fs::read(path).map_err(|error| Error::io(operation, path, error));
            locks.extend(problems.note(read)?.map(|content| (path.clone(), content)));
        }
        let mut inspected = Self { base, layers, locks, bill: None };
        inspected.bill = inspected.make_bill(operation, problems)?;
        if inspected.base.is_none() {
            // Above a base it takes reading all of it, which only a build does.
            stack(inspected.layers.clone(), Tree::default(), problems);
        }
        Ok(inspected)
    }

    fn make_bill(&self, operation: &'static str, problems: &mut Problems) -> Result<Option<Vec<u8>>> {
        if self.locks.is_empty() {
            return Ok(None);
        }
        let files: Vec<_> = self.locks.iter().map(|(path, content)| (path.as_path(), content.clone())).collect();
        match bill::bill(&files) {
            Ok(bill) => oci::write(operation, &bill).map(Some),
            Err(texts) => {
                texts.into_iter().for_each(|text| problems.invalid(text));
                Ok(None)
            }
        }
    }

    /// The layers as they are to be written: above the base, with the folders that are missing. Blocks.
    pub(super) fn stacked(&self, cx: &Context, operation: &'static str) -> Result<Vec<Nodes>> {
        let tree = match &self.base {
            Some(base) if !self.layers.iter().all(Nodes::is_empty) => base.tree(cx, operation)?,
            _ => Tree::default(),
        };
        let mut problems = Problems::default();
        let layers = stack(self.layers.clone(), tree, &mut problems);
        problems.refuse(operation)?;
        Ok(layers)
    }
}

fn stack(layers: Vec<Nodes>, mut tree: Tree, problems: &mut Problems) -> Vec<Nodes> {
    let mut stacked = Vec::with_capacity(layers.len());
    for (index, nodes) in layers.into_iter().enumerate() {
        stacked.push(tree.stack(nodes, &mut |text| problems.invalid(format!("layer {}: {text}", index + 1))));
    }
    stacked
}
