//! What stands in the lab's way is named, with what to do about it.

use anyhow::{Result, bail, ensure};
use probelet_tests::lab::isolation::Isolation;
use probelet_tests::lab::layout::Layout;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs the lab's program, which has to fail; what it says.
fn refusal(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        bail!("it did not fail; it said {said}");
    }
    Ok(said)
}

fn lab(action: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.arg(action).env_remove("PROBELET_KUBECONFIG").env("PROBELET_LAB", "trouble");
    command
}

#[test]
fn missing_root_is_told_with_a_way_out() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        let said = refusal(&mut lab("up"))?;
        ensure!(said.contains("must run as root"), "{said}");
        return Ok(());
    }
    // Where the build folder is closed to others, a copy in a folder that is open to them.
    let copy = std::env::temp_dir().join(format!("lab-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_lab"), &copy)?;
    let mut command = Command::new(&copy);
    command.arg("up").env_remove("PROBELET_KUBECONFIG").current_dir("/").uid(65534);
    let said = refusal(&mut command);
    std::fs::remove_file(copy)?;
    let said = said?;
    ensure!(said.contains("must run as root") && said.contains("PROBELET_KUBECONFIG"), "{said}");
    Ok(())
}

#[test]
fn bad_name_is_told_with_what_is_allowed() -> Result<()> {
    let said = refusal(lab("status").env("PROBELET_LAB", "../etc"))?;
    ensure!(said.contains("PROBELET_LAB") && said.contains("a-z"), "{said}");
    Ok(())
}

#[test]
fn cluster_that_cannot_be_reached_is_told_by_its_file() -> Result<()> {
    let file = std::env::temp_dir().join(format!("kubeconfig-{}", std::process::id()));
    // Nobody listens on the discard port.
    let text = r#"{"apiVersion":"v1","kind":"Config","current-context":"c",
        "clusters":[{"name":"c","cluster":{"server":"https://127.0.0.1:9"}}],
        "users":[{"name":"u","user":{}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}"#;
    std::fs::write(&file, text)?;
    let path = file.to_string_lossy().into_owned();
    for action in ["up", "deploy"] {
        let said = refusal(lab(action).env("PROBELET_KUBECONFIG", &path))?;
        ensure!(said.contains(&path) && said.contains("cannot be reached"), "{action}: {said}");
    }
    std::fs::remove_file(&file)?;
    let said = refusal(lab("up").env("PROBELET_KUBECONFIG", &path))?;
    ensure!(said.contains(&path) && said.contains("cannot read the kubeconfig"), "{said}");
    Ok(())
}

#[test]
fn lab_that_is_down_is_told_with_the_command_that_starts_it() -> Result<()> {
    let said = refusal(lab("kubectl").env("PROBELET_LAB", "never-started"))?;
    ensure!(said.contains("probelet-lab-never-started is not up") && said.contains("make lab"), "{said}");
    Ok(())
}

#[test]
fn taken_port_is_told_by_program_and_holder() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return Ok(());
    }
    let layout = Layout::try_new("trouble")?;
    std::fs::create_dir_all(layout.dir())?;
    let isolation = Isolation::of(&layout);
    isolation.raise(&layout)?;
    let listener = isolation.within(|| TcpListener::bind("127.0.0.1:2379"))??;
    let said = refusal(&mut lab("up"));
    drop(listener);
    let down = lab("down").output()?;
    let said = said?;
    let holder = format!("pid={}", std::process::id());
    for part in ["etcd cannot start", "port 2379", &holder, "make lab"] {
        ensure!(said.contains(part), "{part} is missing in: {said}");
    }
    ensure!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    Ok(())
}
