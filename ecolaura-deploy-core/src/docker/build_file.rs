//! Where the steps of a build file stand in it, so that a failed one can be named by its line.

/// The instructions that BuildKit counts as steps of a stage, with `FROM`.
const STEPS: [&str; 4] = ["ADD", "COPY", "RUN", "WORKDIR"];

/// The stages of a build file, each with its steps.
#[derive(Debug, Clone, Default)]
pub(super) struct BuildFile(Vec<Stage>);

#[derive(Debug, Clone)]
struct Stage {
    name: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
struct Step {
    line: usize,
    keyword: String,
}

impl BuildFile {
    pub(super) fn parse(text: &str) -> Self {
        let mut file = Self::default();
        let escape = escape(text);
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut whole = line.to_owned();
            while let Some(start) = whole.strip_suffix(escape) {
                whole.truncate(start.len());
                let more = lines.by_ref().map(|(_, line)| line.trim());
                // Comments and empty lines do not end an instruction.
                let Some(next) = more.into_iter().find(|line| !line.is_empty() && !line.starts_with('#')) else {
                    break;
                };
                whole.push_str(next);
            }
            for end in heredocs(&whole) {
                lines.by_ref().find(|(_, line)| line.trim_start_matches('\t') == end);
            }
            file.take(number + 1, &whole);
        }
        file
    }

    fn take(&mut self, line: usize, instruction: &str) {
        let mut words = instruction.split_whitespace();
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        if keyword == "FROM" {
            let words: Vec<_> = words.filter(|word| !word.starts_with("--")).collect();
            let named = words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("as"));
            let name = words.get(2).filter(|_| named).map(|name| name.to_lowercase());
            let name = name.unwrap_or_else(|| format!("stage-{}", self.0.len()));
            let base = words.first().is_some_and(|base| !base.eq_ignore_ascii_case("scratch"));
            // A stage that goes on with another one pulls nothing.
            let pulled =
                base && !self.0.iter().any(|stage| words.first().is_some_and(|base| stage.name == base.to_lowercase()));
            self.0.push(Stage { name, steps: if pulled { vec![Step { line, keyword }] } else { Vec::new() } });
        } else if STEPS.contains(&keyword.as_str())
            && let Some(stage) = self.0.last_mut()
        {
            stage.steps.push(Step { line, keyword });
        }
    }

    /// The line of the step that BuildKit calls `name`: `[builder 2/3] RUN make`. `None` if it cannot be told.
    pub(super) fn line(&self, name: &str) -> Option<usize> {
        let (place, instruction) = name.strip_prefix('[')?.split_once("] ")?;
        let keyword = instruction.split_whitespace().next()?;
        let mut words = place.split_whitespace().rev();
        let (number, count) = words.next()?.split_once('/')?;
        let (number, count): (usize, usize) = (number.parse().ok()?, count.parse().ok()?);
        let stage = words.next();
        let step = |stage: &Stage| {
            let step = stage.steps.get(number.checked_sub(1)?)?;
            (stage.steps.len() == count && step.keyword == keyword).then_some(step.line)
        };
        let named = self.0.iter().filter(|one| stage.is_none_or(|stage| one.name == stage));
        let mut found = named.filter_map(step);
        found.next().filter(|_| found.next().is_none())
    }
}

/// What joins lines: `\`, unless the file begins with a directive that says something else.
fn escape(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim().strip_prefix('#'));
    let found =
        directives.filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim().eq_ignore_ascii_case("escape"));
    if found.is_some_and(|(_, value)| value.trim() == "`") { '`' } else { '\\' }
}

/// The words that end the documents which begin in an instruction.
fn heredocs(instruction: &str) -> Vec<String> {
    let keyword = instruction.split_whitespace().next().unwrap_or_default();
    if !["ADD", "COPY", "RUN"].iter().any(|one| one.eq_ignore_ascii_case(keyword)) {
        return Vec::new();
    }
    let words = instruction
        .split_whitespace()
        .filter_map(|word| word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<"));
    let ends = words.map(|word| word.trim_start_matches('-').trim_matches(['"', '\'']));
    ends.filter(|end| end.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# syntax=x
FROM base AS Builder
WORKDIR /src
RUN make \\
  # a comment

  all
RUN <<EOF
FROM nothing
EOF
RUN late

FROM builder
RUN test

from scratch
COPY --from=builder /a /a
ENV X=1
COPY b /b
";

    #[test]
    fn steps_are_found_by_the_names_that_they_have() {
        let file = BuildFile::parse(FILE);
        for (name, line) in [
            ("[builder 1/5] FROM base", Some(2)),
            ("[builder 3/5] RUN make   all", Some(4)),
            ("[linux/arm64 builder 4/5] RUN <<EOF", Some(8)),
            ("[builder 5/5] RUN late", Some(11)),
            ("[stage-1 1/1] RUN test", Some(14)),
            ("[stage-2 2/2] COPY b /b", Some(19)),
            ("[2/2] COPY b /b", Some(19)),
            ("[2/2] RUN b /b", None),
            ("[builder 6/5] RUN late", None),
            ("exporting layers", None),
        ] {
            assert_eq!(file.line(name), line, "{name}");
        }
    }

    #[test]
    fn lines_are_joined_by_what_the_file_says() {
        let file = BuildFile::parse("# escape=`\nFROM scratch\nCOPY a `\n  b /\nCOPY c\\ /\n");
        assert_eq!(file.line("[2/2] COPY c\\ /"), Some(5));
    }
}
