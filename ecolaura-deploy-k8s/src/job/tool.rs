//! The program in an image that migrates: one that answers questions, or an ORM's own with its own words.

use std::fmt;

use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    backend::{Migration, MigrationPlan},
    vocabulary::{MigrationChecksum, MigrationVersion},
};

const OPERATION: &str = "migrator.tool";

/// How the migrator in an image is spoken to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum MigrationTool {
    /// By [`ecolaura_deploy_core::migration::Question`]s, which [`ecolaura_deploy_core::migration::serve`] answers: all
    /// that a migrator can, backups and measuring of data included. The command; empty for the image's own.
    Answering(Vec<String>),
    /// By the command lines of an ORM's tool.
    Own(OwnTool),
}

/// The command lines of a tool, and what its list of migrations looks like. `{version}` in a word stands for the version.
///
/// ```
/// use ecolaura_deploy_k8s::job::OwnTool;
/// let tool = OwnTool::new(["bin/console", "migrations:list"], ["bin/console", "migrations:migrate"], |_line| None)
///     .up_to(["bin/console", "migrations:migrate", "{version}"]);
/// ```
#[derive(Clone)]
pub struct OwnTool {
    list: Vec<String>,
    up: Vec<String>,
    up_to: Option<Vec<String>>,
    down_to: Option<Vec<String>>,
    read: fn(&str) -> Option<Listed>,
}

impl fmt::Debug for OwnTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTool").field("list", &self.list).field("up", &self.up).finish_non_exhaustive()
    }
}

/// A migration in a tool's list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its version.
    pub version: MigrationVersion,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
}

/// How a migration stands in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It is applied.
    Applied,
    /// It is not.
    Pending,
    /// It is applied, and its file says something else now.
    Edited,
}

impl Listed {
    /// A migration.
    pub fn new(version: MigrationVersion, name: impl Into<String>, standing: Standing) -> Self {
        Self { version, name: name.into(), standing }
    }
}

fn words(words: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    words.into_iter().map(Into::into).collect()
}

impl OwnTool {
    /// A tool that prints all migrations by `list`, of which `read` understands one line (`None` for any other line), and
    /// applies all that are pending by `up`.
    pub fn new(
        list: impl IntoIterator<Item = impl Into<String>>,
        up: impl IntoIterator<Item = impl Into<String>>,
        read: fn(&str) -> Option<Listed>,
    ) -> Self {
        Self { list: words(list), up: words(up), up_to: None, down_to: None, read }
    }

    /// Which applies those up to `{version}` by this.
    pub fn up_to(self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { up_to: Some(words(command)), ..self }
    }

    /// Which reverts those above `{version}` by this. Without it, nothing can be reverted.
    pub fn down_to(self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { down_to: Some(words(command)), ..self }
    }

    /// The command line of `SQLx`: `sqlx migrate info`, whose lines are `3/pending add pots`
    /// (<https://docs.rs/crate/sqlx-cli>).
    pub fn sqlx() -> Self {
        Self::new(["sqlx", "migrate", "info"], ["sqlx", "migrate", "run"], sqlx)
            .up_to(["sqlx", "migrate", "run", "--target-version", "{version}"])
            .down_to(["sqlx", "migrate", "revert", "--target-version", "{version}"])
    }

    /// Active Record's: `bin/rails db:migrate:status`, whose lines are `   up     20261126083000  Add pots`
    /// (<https://guides.rubyonrails.org/active_record_migrations.html>).
    pub fn rails() -> Self {
        Self::new(["bin/rails", "db:migrate:status"], ["bin/rails", "db:migrate"], rails)
            .up_to(["bin/rails", "db:migrate", "VERSION={version}"])
            .down_to(["bin/rails", "db:migrate", "VERSION={version}"])
    }

    pub(super) fn list_command(&self) -> Vec<String> {
        self.list.clone()
    }

    /// What brings `plan` up to `target`.
    pub(super) fn up_command(&self, plan: &MigrationPlan, target: MigrationVersion) -> Result<Vec<String>> {
        if target == plan.target() {
            return Ok(self.up.clone());
        }
        let command = self.up_to.as_ref().ok_or_else(|| {
            let message = format!("the tool `{}` can only apply all, not those up to {target}", self.up.join(" "));
            Error::new(ErrorKind::Unsupported, OPERATION, message)
        })?;
        Ok(with_version(command, target))
    }

    /// What brings it down to `target`.
    pub(super) fn down_command(&self, target: MigrationVersion) -> Result<Vec<String>> {
        let command = self.down_to.as_ref().ok_or_else(|| {
            let message = format!("the tool `{}` has no command that reverts", self.up.join(" "));
            Error::new(ErrorKind::Unsupported, OPERATION, message).advice("migrate forward to what is wanted")
        })?;
        Ok(with_version(command, target))
    }

    /// The state that the tool's list tells.
    pub(super) fn plan(&self, lines: &[String]) -> Result<MigrationPlan> {
        let mut listed: Vec<Listed> = lines.iter().filter_map(|line| (self.read)(line)).collect();
        listed.sort_by_key(|migration| migration.version);
        if listed.is_empty() {
            let last = lines.last().map_or("nothing", String::as_str);
            let message = format!("`{}` listed no migration; it printed last: {last}", self.list.join(" "));
            return Err(
                Error::invalid(OPERATION, message).advice("check the command, and that it prints to standard output")
            );
        }
        let edited: Vec<String> = listed
            .iter()
            .filter(|migration| migration.standing == Standing::Edited)
            .map(|migration| format!("{} {}", migration.version, migration.name))
            .collect();
        if !edited.is_empty() {
            let message = format!("edited after they were applied: {}", edited.join(", "));
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message)
                .advice("bring the applied files back, and write what shall differ into a new migration"));
        }
        let (applied, pending): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|migration| migration.standing == Standing::Applied);
        let reversible = self.down_to.is_some();
        let migration = |listed: Listed| {
            Migration::new(listed.version, listed.name, MigrationChecksum::new(Vec::new()), String::new(), reversible)
        };
        let applied = applied.into_iter().map(|migration| migration.version).collect();
        Ok(MigrationPlan::new(applied, pending.into_iter().map(migration).collect()))
    }
}

fn with_version(command: &[String], version: MigrationVersion) -> Vec<String> {
    command.iter().map(|word| word.replace("{version}", &version.to_string())).collect()
}

/// `3/installed (different checksum) add pots`
fn sqlx(line: &str) -> Option<Listed> {
    let (version, rest) = line.trim().split_once('/')?;
    let version = MigrationVersion(version.parse().ok()?);
    let standings = [
        ("installed (different checksum)", Standing::Edited),
        ("installed", Standing::Applied),
        ("pending", Standing::Pending),
    ];
    standings.into_iter().find_map(|(word, standing)| {
        let name = rest.strip_prefix(word)?;
        (name.is_empty() || name.starts_with(' ')).then(|| Listed::new(version, name.trim(), standing))
    })
}

/// `   down    20261126083000  Add pots`
fn rails(line: &str) -> Option<Listed> {
    let mut words = line.split_whitespace();
    let standing = match words.next()? {
        "up" => Standing::Applied,
        "down" => Standing::Pending,
        _ => return None,
    };
    let version = MigrationVersion(words.next()?.parse().ok()?);
    Some(Listed::new(version, words.collect::<Vec<_>>().join(" "), standing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn versions(plan: &MigrationPlan) -> (Vec<i64>, Vec<(i64, &str)>) {
        let pending = plan.pending.iter().map(|migration| (migration.version.0, migration.description.as_str()));
        (plan.applied.iter().map(|version| version.0).collect(), pending.collect())
    }

    #[test]
    fn the_list_of_sqlx_is_understood() {
        let tool = OwnTool::sqlx();
        let plan = tool.plan(&lines("1/installed plants\n2/installed height of plants\n3/pending pots\n")).unwrap();
        assert_eq!(versions(&plan), (vec![1, 2], vec![(3, "pots")]));
        assert_eq!(tool.up_command(&plan, MigrationVersion(3)).unwrap(), ["sqlx", "migrate", "run"]);
        let edited = "1/installed (different checksum) plants\napplied migration had checksum 1\n2/pending pots";
        let error = tool.plan(&lines(edited)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.report().contains("1 plants"), "{}", error.report());
    }

    #[test]
    fn the_list_of_rails_is_understood() {
        let text = "\ndatabase: shop_production\n\n Status   Migration ID    Migration Name\n------------\n   up     20260101000000  Create plants\n  down    20260201000000  Add pots\n";
        let tool = OwnTool::rails();
        let plan = tool.plan(&lines(text)).unwrap();
        assert_eq!(versions(&plan), (vec![20_260_101_000_000], vec![(20_260_201_000_000, "Add pots")]));
        let down = tool.down_command(MigrationVersion(0)).unwrap();
        assert_eq!(down, ["bin/rails", "db:migrate", "VERSION=0"]);
    }

    #[test]
    fn a_list_without_migrations_is_an_error_that_shows_what_was_printed() {
        let error = OwnTool::sqlx().plan(&lines("error: no such file or directory")).unwrap_err();
        assert!(error.report().contains("sqlx migrate info") && error.report().contains("no such file"), "{error}");
    }

    #[test]
    fn what_a_tool_cannot_do_is_told_before_it_runs() {
        let tool = OwnTool::new(["list"], ["up"], sqlx);
        let plan = tool.plan(&lines("1/pending a\n2/pending b")).unwrap();
        assert_eq!(tool.up_command(&plan, MigrationVersion(1)).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(tool.down_command(MigrationVersion(0)).unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(!plan.pending[0].reversible);
    }
}
