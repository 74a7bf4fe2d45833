//! What was found wrong and what will not be honoured, each with its place.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use super::tree::{Node, Value};
use crate::{Error, Result};

/// How many problems an error lists; the rest is counted.
const LISTED: usize = 100;

/// Collects problems and warnings in the order of the files.
#[derive(Debug, Default)]
pub struct Notes {
    problems: RefCell<Vec<String>>,
    warnings: RefCell<Vec<String>>,
}

impl Notes {
    /// Adds a problem.
    pub fn problem(&self, text: impl Into<String>) {
        add(&self.problems, text.into());
    }

    /// Adds something to read before saying yes.
    pub fn warning(&self, text: impl Into<String>) {
        add(&self.warnings, text.into());
    }

    /// Whether there are problems.
    pub fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// The warnings, unless there are problems. Fails with `InvalidInput` naming all of them.
    pub fn finish(self) -> Result<Vec<String>> {
        let mut problems = self.problems.into_inner();
        let count = problems.len();
        if count == 0 {
            return Ok(self.warnings.into_inner());
        }
        problems.truncate(LISTED);
        if count > LISTED {
            problems.push(format!("and {} more", count - LISTED));
        }
        let title = if count == 1 { String::new() } else { format!("{count} problems in the manifests:\n") };
        let message = format!("{title}{}", problems.join("\n"));
        Err(Error::invalid("cluster.read", message).advice("mend the manifests; nothing was changed"))
    }
}

fn add(list: &RefCell<Vec<String>>, text: String) {
    if !list.borrow().contains(&text) {
        list.borrow_mut().push(text);
    }
}

/// The object that a field belongs to, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The path of the file.
    pub file: String,
    /// Counted from 1, empty ones left out.
    pub document: usize,
    /// Its kind, empty if there is none.
    pub kind: String,
    /// Its name, empty if there is none.
    pub name: String,
    /// Values of a Secret are never shown.
    pub secret: bool,
}

impl Origin {
    /// `deploy/app.yaml, document 2, line 7: Deployment backend`.
    pub fn at(&self, line: u64) -> String {
        let Self { file, document, kind, name, .. } = self;
        let object = format!("{kind} {name}");
        let object = object.trim();
        let colon = if object.is_empty() { "" } else { ": " };
        format!("{file}, document {document}, line {line}{colon}{object}")
    }
}

/// A node with its path in its object.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Field<'a> {
    /// What it holds.
    pub node: &'a Node,
    /// Its path in the object, empty for the object itself.
    pub path: String,
    line: u64,
    /// The object.
    pub origin: &'a Origin,
    notes: &'a Notes,
}

impl<'a> Field<'a> {
    pub(super) fn root(node: &'a Node, origin: &'a Origin, notes: &'a Notes) -> Self {
        Self { node, path: String::new(), line: node.line, origin, notes }
    }

    fn child(&self, node: &'a Node, line: u64, path: String) -> Self {
        Self { node, path, line, ..self.clone() }
    }

    /// The field `key`, unless it is absent or null. Dots go deeper.
    pub fn get(&self, key: &str) -> Option<Self> {
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let field = self.fields().find(|(name, field)| *name == first && !field.is_null())?.1;
        match rest {
            Some(rest) => field.get(rest),
            None => Some(field),
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// Every key with its field.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, Self)> + use<'a, '_> {
        self.node.entries().iter().map(|entry| {
            let path = join(&self.path, &entry.key);
            (entry.key.as_str(), self.child(&entry.node, entry.line, path))
        })
    }

    /// Every item of the list.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'a, '_> {
        let items = self.node.items().iter().enumerate();
        items.map(|(index, node)| self.child(node, node.line, format!("{}[{index}]", self.path)))
    }

    /// The items of the list `key`.
    pub fn list(&self, key: &str) -> Vec<Self> {
        self.get(key).map(|field| field.items().collect()).unwrap_or_default()
    }

    /// Its text, if it is one.
    pub fn text(&self) -> Option<&'a str> {
        self.node.text()
    }

    /// The text of the field `key`.
    pub fn text_of(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(|field| field.text())
    }

    /// The texts of the list `key`.
    pub fn texts_of(&self, key: &str) -> Option<Vec<String>> {
        self.get(key).map(|list| list.items().filter_map(|item| item.text().map(str::to_owned)).collect())
    }

    /// The texts of the object `key`.
    pub fn map_of(&self, key: &str) -> BTreeMap<String, String> {
        let Some(map) = self.get(key) else { return BTreeMap::new() };
        map.fields().filter_map(|(key, value)| Some((key.to_owned(), value.text()?.to_owned()))).collect()
    }

    /// The whole number in the field `key`.
    pub fn number_of<T: TryFrom<i128>>(&self, key: &str) -> Option<T> {
        self.get(key).and_then(|field| field.number())
    }

    /// Its whole number, if it is one in the range of `T`.
    pub fn number<T: TryFrom<i128>>(&self) -> Option<T> {
        if let Value::Whole(number) = self.node.value { T::try_from(number).ok() } else { None }
    }

    /// Whether the field `key` is `true`.
    pub fn truth_of(&self, key: &str) -> bool {
        self.get(key).is_some_and(|field| matches!(field.node.value, Value::Truth(true)))
    }

    /// What the field holds, for an error.
    pub fn found(&self) -> String {
        if self.origin.secret { self.node.kind().to_owned() } else { self.node.describe() }
    }

    fn place(&self) -> String {
        let at = self.origin.at(self.line);
        if self.path.is_empty() { at } else { format!("{at}: `{}`", self.path) }
    }

    /// Notes that the field `is …, expected …`.
    pub fn problem(&self, text: impl AsRef<str>) {
        self.notes.problem(format!("{} {}", self.place(), text.as_ref()));
    }

    /// Notes that the field is not what it should be.
    pub fn expected(&self, expected: &str) {
        self.problem(format!("is {}, expected {expected}", self.found()));
    }

    /// Notes that the field `key` is not there.
    pub fn missing(&self, key: &str, expected: &str) {
        let path = join(&self.path, key);
        self.notes.problem(format!("{}: `{path}` is missing, expected {expected}", self.origin.at(self.line)));
    }

    /// Notes something to read before saying yes.
    pub fn warning(&self, text: impl AsRef<str>) {
        self.notes.warning(format!("{} {}", self.place(), text.as_ref()));
    }
}

/// `metadata.labels.app`, `data["app.conf"]`.
fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', '/', ' '])) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{path}[{key:?}]"),
        (false, false) => format!("{path}.{key}"),
    }
}

/// `; did you mean …?` for a known word near `word`, or the words there are.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: BTreeSet<&str> = known.into_iter().collect();
    let lower = word.to_lowercase();
    let far = |name: &&&str| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    match known.iter().min_by_key(far) {
        Some(near) if far(&near) <= 1 + word.len() / 4 => format!("; did you mean `{near}`?"),
        _ if known.is_empty() => "; there are none".to_owned(),
        _ if known.len() <= 12 => format!("; there are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        _ => String::new(),
    }
}
