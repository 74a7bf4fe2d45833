//! The files of a context, in the order in which BuildKit wants to hear of them.

use std::{
    fs::{self, DirEntry, Metadata},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::ignore::{Fits, Ignore};
use crate::{Context, Error, Result, local::image::Problems};

/// The bits of a file's mode that are sent.
const PERMISSIONS: u32 = 0o7777;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Below the context, with `/`.
    pub(super) path: String,
    pub(super) node: Node,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Folder { mode: u32 },
    File(Source),
    Link { target: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) modified: Option<SystemTime>,
}

/// All that is sent of the folder `root`: what is in a folder comes right after it, by name. Links are not followed, but
/// for `root` itself. What cannot be sent is noted. Blocks.
pub(super) fn list(
    whom: (&Context, &'static str),
    root: &Path,
    ignore: &Ignore,
    problems: &mut Problems,
) -> Result<Vec<Entry>> {
    let mut walk = Walk { whom, ignore, problems, entries: Vec::new(), waiting: Vec::new() };
    walk.folder(root, "", &Fits::default())?;
    Ok(walk.entries)
}

struct Walk<'a> {
    whom: (&'a Context, &'static str),
    ignore: &'a Ignore,
    problems: &'a mut Problems,
    entries: Vec<Entry>,
    /// Folders that are left out, and are sent all the same if something in them is.
    waiting: Vec<Entry>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, path: &str, fits: &Fits) -> Result<()> {
        let (cx, operation) = self.whom;
        cx.check(operation)?;
        let listed = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut children = match listed {
            Ok(children) => children,
            Err(error) => return self.unusable(folder, error),
        };
        children.sort_by_key(DirEntry::file_name);
        children.iter().try_for_each(|child| self.child(child, path, fits))
    }

    fn child(&mut self, child: &DirEntry, parent: &str, above: &Fits) -> Result<()> {
        let (source, name) = (child.path(), child.file_name());
        let Some(name) = name.to_str() else {
            self.problems.invalid(format!("`{}`: the name is not UTF-8; rename it", source.display()));
            return Ok(());
        };
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        let (out, fits) = self.ignore.leaves_out(&path, above);
        let found = match child.metadata() {
            Err(_) if out => return Ok(()),
            Err(error) => return self.unusable(&source, error),
            Ok(found) => found,
        };
        if !found.is_dir() {
            if !out {
                self.leaf(&source, path, &found)?;
            }
            return Ok(());
        }
        if out && !self.ignore.may_return(&path) {
            return Ok(());
        }
        let (entry, depth) =
            (Entry { path: path.clone(), node: Node::Folder { mode: mode(&found) } }, self.waiting.len());
        self.waiting.push(entry);
        if !out {
            self.send_waiting();
        }
        self.folder(&source, &path, &fits)?;
        self.waiting.truncate(depth);
        Ok(())
    }

    fn leaf(&mut self, source: &Path, path: String, found: &Metadata) -> Result<()> {
        let kind = found.file_type();
        let node = if kind.is_symlink() {
            match fs::read_link(source) {
                Err(error) => return self.unusable(source, error),
                Ok(target) => match target.into_os_string().into_string() {
                    Ok(target) => Node::Link { target },
                    Err(_) => {
                        self.problems.invalid(format!("`{}`: links to a name that is not UTF-8", source.display()));
                        return Ok(());
                    }
                },
            }
        } else if kind.is_file() {
            if let Err(error) = rustix::fs::access(source, rustix::fs::Access::READ_OK) {
                return self.unusable(source, error.into());
            }
            let (path, size, modified) = (source.to_owned(), found.len(), found.modified().ok());
            Node::File(Source { path, mode: mode(found), size, modified })
        } else if kind.is_socket() {
            return Ok(());
        } else {
            let what = format!(
                "`{}` is neither a file, a folder nor a link; leave it out by `.dockerignore`",
                source.display()
            );
            self.problems.invalid(what);
            return Ok(());
        };
        self.send_waiting();
        self.entries.push(Entry { path, node });
        Ok(())
    }

    /// Those that are sent by now stay in their place, so that they are not sent again.
    fn send_waiting(&mut self) {
        self.entries.append(&mut self.waiting);
    }

    #[expect(clippy::unnecessary_wraps, reason = "the walk goes on")]
    fn unusable(&mut self, path: &Path, error: std::io::Error) -> Result<()> {
        let error = Error::io(self.whom.1, path, error);
        self.problems.add(error.kind(), error.message());
        Ok(())
    }
}

fn mode(found: &Metadata) -> u32 {
    found.permissions().mode() & PERMISSIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(ignore: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b/c/d", "b/c/e", "b-x", "b/a", "a/x/y", "z"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::create_dir(dir.path().join("empty")).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("link")).unwrap();
        let (cx, mut problems) = (Context::new("test".parse().unwrap()), Problems::default());
        let entries = list((&cx, "test"), dir.path(), &Ignore::parse(ignore).unwrap(), &mut problems).unwrap();
        problems.refuse("test").unwrap();
        entries.into_iter().map(|entry| entry.path).collect()
    }

    #[test]
    fn what_is_in_a_folder_comes_right_after_it() {
        let all = ["a", "a/x", "a/x/y", "b", "b/a", "b/c", "b/c/d", "b/c/e", "b-x", "empty", "link", "z"];
        assert_eq!(listed(""), all);
    }

    #[test]
    fn the_folders_of_what_comes_back_are_sent_and_no_others() {
        assert_eq!(listed("*\n!b/c/d"), ["b", "b/c", "b/c/d"]);
        assert_eq!(listed("*\n!**/y\n!**/e"), ["a", "a/x", "a/x/y", "b", "b/c", "b/c/e"]);
        assert_eq!(listed("*\n!empty\n!a/**"), ["a", "a/x", "a/x/y", "empty"]);
    }

    #[test]
    fn what_is_no_file_is_named_unless_it_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let cx = Context::new("test".parse().unwrap());
        for (ignore, problem) in [("", true), ("pipe", false)] {
            let mut problems = Problems::default();
            let entries = list((&cx, "test"), dir.path(), &Ignore::parse(ignore).unwrap(), &mut problems).unwrap();
            assert_eq!(entries, []);
            assert_eq!(problems.refuse("test").is_err(), problem);
        }
    }
}
