//! The folder of migrations.

use std::{fs, io, path::Path};

use super::{
    files::{Files, sort},
    problem::Problem,
};
use crate::{Error, ErrorKind, Result};

/// Reads `folder`. Blocks. What is no file, and links out of the folder, are problems. Files whose names do not end in `.sql` are none of ours.
pub(crate) fn read(operation: &'static str, folder: &Path) -> Result<Files> {
    let failed = |path: &Path, error: io::Error| {
        Error::io(operation, path, error).advice("the folder of migrations must be there and readable")
    };
    let root = fs::canonicalize(folder).map_err(|error| failed(folder, error))?;
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_sql(&name) {
            continue;
        }
        match refusal(&root, &path).map_err(|error| failed(&path, error))? {
            Some(why) => problems.push(Problem::file(ErrorKind::InvalidInput, &name, &why)),
            None => files.push((name, fs::read(&path).map_err(|error| failed(&path, error))?)),
        }
    }
    let mut sorted = sort(files);
    sorted.problems.extend(problems);
    Ok(sorted)
}

/// Why what lies at `path` is not run, if it is not.
fn refusal(root: &Path, path: &Path) -> io::Result<Option<String>> {
    let target = fs::canonicalize(path)?;
    if !target.starts_with(root) {
        let why = format!("a symbolic link that leaves the folder, to `{}`; copy the file instead", target.display());
        return Ok(Some(why));
    }
    Ok((!target.is_file()).then(|| "not a file, and so would be passed over; rename or remove it".to_owned()))
}

fn is_sql(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_folder_are_migrations() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("migrations");
        fs::create_dir_all(folder.join("4_folder.sql")).unwrap();
        fs::write(dir.path().join("password"), "hunter2-hunter2").unwrap();
        fs::write(folder.join("1_users.sql"), "SELECT 1;").unwrap();
        std::os::unix::fs::symlink("1_users.sql", folder.join("2_again.sql")).unwrap();
        std::os::unix::fs::symlink("../password", folder.join("3_out.sql")).unwrap();
        let files = read("test", &folder).unwrap();
        assert_eq!(files.entries.iter().map(|entry| entry.version.0).collect::<Vec<_>>(), [1, 2]);
        let problems = format!("{:?}", files.problems);
        assert!(problems.contains("`3_out.sql`: a symbolic link that leaves the folder"), "{problems}");
        assert!(problems.contains("`4_folder.sql`: not a file"), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}
