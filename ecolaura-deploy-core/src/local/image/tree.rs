//! Which folders and links the layers below leave, and where a new layer's entries come to lie among them.

use std::collections::BTreeMap;

use super::walk::{Node, Nodes, ancestors};

const HOPS: usize = 40;

/// A folder, or a link with its target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Folder,
    Link(String),
}

/// Folders and links by path without a leading `/`. Files matter only in that they are neither.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree(BTreeMap<String, Known>);

impl Tree {
    pub(super) fn add_folder(&mut self, path: &str) {
        self.0.insert(path.to_owned(), Known::Folder);
    }

    /// A folder, unless there is a folder or a link already.
    pub(super) fn expect_folder(&mut self, path: &str) {
        if !self.0.contains_key(path) {
            self.add_folder(path);
        }
    }

    pub(super) fn add_link(&mut self, path: &str, target: &str) {
        self.remove(path);
        self.0.insert(path.to_owned(), Known::Link(target.to_owned()));
    }

    /// Removes what is at `path` and below it, as a file in its place does, or a whiteout.
    pub(super) fn remove(&mut self, path: &str) {
        self.0.remove(path);
        self.clear(path);
    }

    /// Removes what is below `path`.
    pub(super) fn clear(&mut self, path: &str) {
        let inside = format!("{path}/");
        let below: Vec<_> = self.0.range(inside.clone()..).map(|(key, _)| key.clone()).collect();
        for key in below.into_iter().take_while(|key| key.starts_with(&inside)) {
            self.0.remove(&key);
        }
    }

    fn is_folder(&self, path: &str) -> bool {
        path.is_empty() || self.0.get(path) == Some(&Known::Folder)
    }

    /// Where `path` leads when its links are followed, within the image.
    fn resolve(&self, path: &str) -> Result<String, String> {
        let mut left: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let (mut at, mut hops) = (String::new(), 0);
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => at.truncate(at.rfind('/').unwrap_or(0)),
                name => at = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") },
            }
            if let Some(Known::Link(target)) = self.0.get(&at) {
                hops += 1;
                if hops > HOPS {
                    return Err(format!("`/{path}` goes through more than {HOPS} links"));
                }
                let keep = if target.starts_with('/') { 0 } else { at.rfind('/').unwrap_or(0) };
                at.truncate(keep);
                left.extend(target.rsplit('/').map(str::to_owned));
            }
        }
        Ok(at)
    }

    /// Where an entry comes to lie: links of its folder are followed, and for a folder its own too.
    fn place(&self, path: &str, node: &Node) -> Result<String, String> {
        if *node == Node::Folder {
            return self.resolve(path);
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.resolve(parent)?;
        let place = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        if self.is_folder(&place) {
            return Err(format!("`/{place}` is a folder of a layer below; name the file in it, or remove the entry"));
        }
        Ok(place)
    }

    /// `nodes` where they come to lie above this tree, with the folders that are missing for them. A folder that is
    /// there keeps its mode and owner. The tree then has them too.
    pub(super) fn stack(&mut self, nodes: Nodes, problem: &mut impl FnMut(String)) -> Nodes {
        let mut stacked = Nodes::new();
        for (path, node) in nodes {
            let place = match self.place(&path, &node) {
                Ok(place) => place,
                Err(why) => {
                    problem(why);
                    continue;
                }
            };
            let missing = ancestors(&place).filter(|folder| !self.is_folder(folder)).map(str::to_owned);
            for folder in missing.collect::<Vec<_>>() {
                self.add_folder(&folder);
                stacked.insert(folder, Node::Folder);
            }
            match &node {
                Node::Folder if self.is_folder(&place) => continue,
                Node::Folder => self.add_folder(&place),
                Node::Link { target } => self.add_link(&place, target),
                Node::File { .. } => self.remove(&place),
            }
            if stacked.insert(place.clone(), node).is_some() {
                problem(format!("`/{place}` is given twice, once through a link of a layer below"));
            }
        }
        stacked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &str) -> Node {
        Node::Link { target: target.to_owned() }
    }

    fn stack(tree: &mut Tree, nodes: &[(&str, Node)]) -> Result<Vec<String>, String> {
        let mut problems = Vec::new();
        let nodes = nodes.iter().map(|(path, node)| ((*path).to_owned(), node.clone())).collect();
        let stacked = tree.stack(nodes, &mut |text| problems.push(text));
        if problems.is_empty() { Ok(stacked.into_keys().collect()) } else { Err(problems.join("; ")) }
    }

    #[test]
    fn folders_that_are_there_stay_as_they_are() {
        let mut tree = Tree::default();
        tree.add_folder("tmp");
        assert_eq!(stack(&mut tree, &[("tmp", Node::Folder), ("tmp/a/b", link("x"))]).unwrap(), ["tmp/a", "tmp/a/b"]);
        assert_eq!(stack(&mut tree, &[("tmp/a/c", link("x"))]).unwrap(), ["tmp/a/c"]);
    }

    #[test]
    fn entries_go_through_links_of_folders() {
        let mut tree = Tree::default();
        tree.add_folder("usr");
        tree.add_folder("usr/bin");
        tree.add_link("bin", "usr/bin");
        tree.add_link("sbin", "/../bin");
        assert_eq!(stack(&mut tree, &[("sbin/app", link("x"))]).unwrap(), ["usr/bin/app"]);
        assert!(stack(&mut tree, &[("bin/a", link("x")), ("usr/bin/a", link("y"))]).unwrap_err().contains("twice"));
        assert!(stack(&mut tree, &[("usr/bin", link("x"))]).unwrap_err().contains("is a folder"));
        tree.add_link("loop", "loop");
        assert!(stack(&mut tree, &[("loop/a", link("x"))]).unwrap_err().contains("40 links"));
    }

    #[test]
    fn what_is_removed_takes_what_is_below_it() {
        let mut tree = Tree::default();
        for folder in ["a", "a/b", "a/b/c", "a.d"] {
            tree.add_folder(folder);
        }
        tree.remove("a/b");
        assert_eq!(stack(&mut tree, &[("a/b/x", link("y")), ("a.d/x", link("y"))]).unwrap(), ["a.d/x", "a/b", "a/b/x"]);
    }
}
