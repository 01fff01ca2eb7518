//! Live edits of the plan, seen without asking the API server: the node writes the Pod's annotations into the volume that
//! holds the token, and swaps them in by the link `..data`
//! (kubernetes/kubernetes:pkg/volume/util/atomic_writer.go). Where a node does not, edits are seen at the next look.

use crate::observed::PlanText;
use crate::reporter::Sight;
use probelet_protocol::name::{PLAN_FILE, POLICIES_FILE};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two readings of the link: one system call. A kubelet takes a minute to write an edit.
const PERIOD: Duration = Duration::from_secs(2);

/// What was read last.
pub struct Edits {
    folder: PathBuf,
    link: Option<PathBuf>,
    texts: [String; 2],
}

// === impl Edits ===

impl Edits {
    /// Begins with the plan that the sidecar was started with: a volume that has another one was edited since.
    pub fn new(folder: PathBuf, plan: &PlanText) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self { folder, link: None, texts: [text(&plan.probes), text(&plan.policies)] }
    }

    /// Tells of each edit until nobody listens.
    pub async fn run(mut self, sights: mpsc::Sender<Sight>) {
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            if self.is_edited() && sights.send(Sight::Edited).await.is_err() {
                return;
            }
        }
    }

    /// Whether the plan is another one than at the last call. A token that was renewed also moves the link.
    fn is_edited(&mut self) -> bool {
        let link = std::fs::read_link(self.folder.join("..data")).ok();
        if link.is_none() || link == self.link {
            return false;
        }
        self.link = link;
        match [PLAN_FILE, POLICIES_FILE].map(|file| read(&self.folder, file)) {
            [Some(plan), Some(policies)] => {
                let texts = [plan, policies];
                let is_edited = texts != self.texts;
                self.texts = texts;
                is_edited
            }
            // A volume of an older injection, or of a node that has no such files.
            _ => false,
        }
    }
}

fn read(folder: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(file)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// As kubelet's atomic writer does it: a new folder, then the link moves.
    fn write(folder: &Path, version: &str, plan: &str) {
        let data = folder.join(version);
        std::fs::create_dir_all(&data).expect("folder");
        std::fs::write(data.join(PLAN_FILE), plan).expect("plan");
        std::fs::write(data.join(POLICIES_FILE), "").expect("policies");
        let draft = folder.join("..draft");
        symlink(version, &draft).expect("link");
        std::fs::rename(draft, folder.join("..data")).expect("swap");
        for file in [PLAN_FILE, POLICIES_FILE] {
            let _ = symlink(format!("..data/{file}"), folder.join(file));
        }
    }

    #[test]
    fn an_edit_is_told_once_and_a_renewed_token_not_at_all() {
        let folder = std::env::temp_dir().join(format!("probelet-edit-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        let plan = PlanText { probes: Some("[1]".into()), ..PlanText::default() };
        let mut edits = Edits::new(folder.clone(), &plan);
        assert!(!edits.is_edited(), "there is no volume yet");
        write(&folder, "..1", "[1]");
        assert!(!edits.is_edited(), "the plan that it was started with");
        write(&folder, "..2", "[2]");
        assert!(edits.is_edited());
        assert!(!edits.is_edited(), "told already");
        write(&folder, "..3", "[2]");
        assert!(!edits.is_edited(), "only the token is new");
        write(&folder, "..4", "");
        assert!(edits.is_edited(), "the annotation was taken away");
        std::fs::remove_dir_all(&folder).expect("clean up");
    }
}
