//! Processes that end with the test's own, however that ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A shell that starts processes, and kills them once its standard input closes. A server kept in a `static` is never
/// dropped, and an aborted test runs no destructor; the kernel closes the pipe in every case.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
cd "$1" || exit 1
. ./start.sh
echo $pids
read -r _
kill -9 $pids
wait
cd /
rm -rf "$1"
"#;

#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    /// The processes it looks after.
    pids: Vec<u32>,
    /// Open for as long as they may live.
    leash: Option<ChildStdin>,
}

impl Guard {
    /// Runs `folder`/start.sh, which starts processes in the background and leaves their ids in `$pids`. The folder is
    /// removed at the end.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let leash = shell.stdin.take();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("stdout is piped")).read_line(&mut line).unwrap();
        let pids = line.split_whitespace().map(|pid| pid.parse().expect("start.sh leaves process ids")).collect();
        Self { shell, pids, leash }
    }

    /// Whether each process is still there.
    pub(crate) fn all_running(&self) -> bool {
        self.pids.iter().all(|pid| {
            // "pid (name) state ...": Z is a process that has ended and waits for its parent.
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.leash = None;
        let _ = self.shell.wait();
    }
}
