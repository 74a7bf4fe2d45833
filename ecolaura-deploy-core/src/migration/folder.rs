//! The folder of migrations.

use std::{fs, io, path::Path};

use super::files::{Files, sort};
use crate::{Error, Result};

/// Reads `folder`. Blocks. Files whose names do not end in `.sql` are none of ours.
pub(crate) fn read(operation: &'static str, folder: &Path) -> Result<Files> {
    let failed = |path: &Path, error: io::Error| {
        Error::io(operation, path, error).advice("the folder of migrations must be there and readable")
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_sql(&name) && fs::metadata(&path).map_err(|error| failed(&path, error))?.is_file() {
            files.push((name, fs::read(&path).map_err(|error| failed(&path, error))?));
        }
    }
    Ok(sort(files))
}

fn is_sql(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql"))
}
