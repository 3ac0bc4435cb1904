//! The client in a pod: the test server's `ask`, which asks what it is told.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use nodeway_tests::{Pod, binaries};
use serde_json::Value;

/// A client that waits for questions.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

// === impl Client ===

impl Client {
    /// In this pod.
    pub(crate) fn start(pod: &Pod) -> Self {
        let mut command = pod.place.command(binaries::testserver());
        let complaints = pod.place.logs.join(format!("{}-ask.err", pod.name));
        command.arg("ask").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(complaints).expect("a log file"));
        let mut child = command.spawn().expect("a client");
        let questions = child.stdin.take().expect("a pipe");
        let mut answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("a word of the client");
        assert_eq!(line, "listening\n");
        Self { child, questions, answers }
    }

    /// The answers to a question.
    pub(crate) fn ask(&mut self, question: &Value) -> Vec<Value> {
        writeln!(self.questions, "{question}").expect("a client that listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the client's answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}: {question}"))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
