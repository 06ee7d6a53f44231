//! `remelt serve` as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

/// A server that has said where it listens.
pub(crate) struct ServeProcess {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) address: SocketAddr,
    said: String,
}

impl ServeProcess {
    /// Starts `command` and waits until it names its address, whose scheme is `scheme`.
    pub(crate) fn start(mut command: Command, scheme: &str) -> ServeProcess {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let start = said.len();
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it ended:\n{said}");
            let after = said[start..].split_once(&format!("{scheme}://"));
            if let Some((address, _)) = after.and_then(|(_, rest)| rest.split_once('/')) {
                break address.parse().unwrap();
            }
        };
        ServeProcess { child, stderr, address, said }
    }

    /// Ctrl-C, upon which it ends well; gives its standard output and all that it said.
    pub(crate) fn interrupt(mut self) -> (String, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.stderr.read_to_string(&mut self.said).unwrap();
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.said);
        (stdout, self.said)
    }
}
