//! An example as its user has it: a program.

use std::{
    fmt,
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
}

impl Example {
    pub fn new(name: &'static str) -> Self {
        let tests = std::env::current_exe().unwrap();
        let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
        assert!(program.is_file(), "run `cargo build --example {name}` first: no {}", program.display());
        Self { name, program }
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(&self.program);
        let output = command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1").output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Run { name: self.name, output: text, code: output.status.code() }
    }
}
