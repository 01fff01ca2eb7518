//! What the demo prints, and the kubectl commands that it runs as a person would.

use crate::command;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The narrator.
pub(super) struct Story {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    /// The cluster runs on this machine, so that clocks can be compared.
    pub(super) is_lab: bool,
    begin: Instant,
}

/// A log that is followed until this is dropped.
pub(super) struct Followed(Child);

impl Story {
    pub(super) fn new(kubectl: PathBuf, kubeconfig: PathBuf, is_lab: bool) -> Self {
        Self { kubectl, kubeconfig, is_lab, begin: Instant::now() }
    }

    pub(super) fn title(&self, text: &str) {
        println!("\n== {text}");
    }

    pub(super) fn say(&self, text: &str) {
        println!("{:>7.2} s  {text}", self.begin.elapsed().as_secs_f64());
    }

    pub(super) fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// What an earlier run left, so that the story begins at its beginning.
    pub(super) fn clear(&self, namespace: &str) -> Result<()> {
        let mut command = self.kubectl();
        command.args(["delete", "namespace", namespace, "--ignore-not-found", "--wait", "--timeout=90s"]);
        command::run(&mut command).map(drop)
    }

    /// `kubectl apply`, its answer shown.
    pub(super) fn apply(&self, manifest: &Path) -> Result<()> {
        println!("         $ kubectl apply -f tests/demo/arena.yaml");
        let answer = command::run(self.kubectl().arg("apply").arg("-f").arg(manifest))?;
        let _ = std::fs::remove_file(manifest);
        for line in answer.lines() {
            self.say(line);
        }
        Ok(())
    }

    /// Prints the sidecar's log beside the story, from here on.
    pub(super) fn follow(&self, namespace: &str, pod: &str) -> Result<Followed> {
        println!("         $ kubectl logs -n {namespace} {pod} -c probelet -f");
        let mut child = self
            .kubectl()
            .args(["logs", "-n", namespace, pod, "-c", "probelet", "-f"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run kubectl logs")?;
        let log = BufReader::new(child.stdout.take().context("no output")?);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                println!("         probelet | {line}");
            }
        });
        Ok(Followed(child))
    }

    /// What to look at when the label did not follow.
    pub(super) fn diagnose(&self, namespace: &str) -> String {
        let mut text = String::from("the label did not follow the server's health; this is what the cluster says:");
        for arguments in [
            &["get", "pods", "-o", "wide"][..],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "-l", "app=arena", "-c", "probelet", "--tail=20"],
        ] {
            let mut command = self.kubectl();
            command.args(["-n", namespace]).args(arguments);
            let answer = command::run(&mut command).unwrap_or_else(|error| error.to_string());
            text += &format!("\n$ kubectl -n {namespace} {}\n{answer}", arguments.join(" "));
        }
        text
    }

    /// What a person would try next.
    pub(super) fn next_steps(&self, namespace: &str, pod: &str) {
        self.title("The cluster stays up. Try next:");
        let kubeconfig = self.kubeconfig.display();
        println!(
            "  export PATH={}:$PATH KUBECONFIG={kubeconfig}",
            self.kubectl.parent().unwrap_or(Path::new("")).display()
        );
        println!("  kubectl get pods -n {namespace} -L {} --watch", super::LABEL);
        println!("  kubectl exec -n {namespace} {pod} -c arena -- /test-app fail");
        println!("  kubectl logs -n {namespace} {pod} -c probelet -f");
        println!("  kubectl edit podprobemarker -n {namespace} arena");
        println!(
            "  kubectl scale deployment -n probelet-system probelet-webhook --replicas 0   # running Pods go on being marked"
        );
        if self.is_lab {
            println!("`make lab-down` takes everything away.");
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
