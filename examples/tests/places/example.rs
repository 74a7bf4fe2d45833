//! An example as its user has it: a program.

use std::{
    fmt,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

/// One call of an example.
#[derive(Debug)]
pub struct Run {
    name: &'static str,
    pub output: String,
    code: Option<i32>,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, exit {:?}\n{}", self.name, self.code, self.output)
    }
}

impl Run {
    pub fn ends_with(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self}");
    }
}

/// The compiled program.
#[derive(Debug)]
pub struct Example {
    pub name: &'static str,
    program: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Example {
    pub fn new(name: &'static str) -> Self {
        let tests = std::env::current_exe().unwrap();
        let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
        assert!(program.is_file(), "run `cargo build --example {name}` first: no {}", program.display());
        Self { name, program, variables: Vec::new() }.with("NO_COLOR", "1")
    }

    /// With this in its environment.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        self.hears(arguments, "")
    }

    /// The same with `text` on its standard input.
    pub fn hears(&self, arguments: &[&str], text: &str) -> Run {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().unwrap();
        // One that ends before it reads is judged by its code.
        _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Run { name: self.name, output: text, code: output.status.code() }
    }
}
