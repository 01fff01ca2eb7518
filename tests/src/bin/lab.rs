//! `lab`: what `make lab`, `make deploy` and `make lab-down` run.

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use probelet_tests::lab::{Lab, status};
use probelet_tests::{binary, deploy, image};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// A real Kubernetes cluster on this machine, for probelet's tests and demo.
///
/// PROBELET_LAB=NAME is a second lab beside the default one. PROBELET_KUBECONFIG names a cluster to
/// use instead (with PROBELET_IMAGES, where its images come from); nothing is started then.
/// PROBELET_CACHE is where built programs are kept.
#[derive(Parser)]
#[command(name = "lab", verbatim_doc_comment)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Bring the lab up, or what of it has ended; print the kubeconfig's path
    Up,
    /// Build the images and install the chart
    Deploy,
    /// Build one image for the lab's nodes and print its reference
    Image {
        /// sidecar, webhook or test-app
        name: String,
    },
    /// Take the lab down; nothing of it is left but the built programs
    Down,
    /// Tell what runs and how much memory it has
    Status,
    /// Print shell lines that set KUBECONFIG and PATH for the lab
    Env,
    /// Run kubectl on the lab
    Kubectl {
        /// kubectl's arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run helm on the lab
    Helm {
        /// helm's arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Print the path of one of the lab's programs, built if needed
    Program {
        /// kubectl, helm, kubeconform, ...
        name: String,
    },
    /// Run a program, or a shell, in the lab's namespaces
    Enter {
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<()> {
    let lab = Lab::from_env()?;
    match action {
        Action::Up => up(&lab)?,
        Action::Deploy => deploy::run(&lab)?,
        Action::Image { name } => println!("{}", named_image(&name)?.provide(&lab)?),
        Action::Down => lab.down()?,
        Action::Status => print!("{}", status::table(&lab)?),
        Action::Env => env(&lab)?,
        Action::Kubectl { arguments } => tool("kubectl", &lab, &arguments)?,
        Action::Helm { arguments } => tool("helm", &lab, &arguments)?,
        Action::Program { name } => println!("{}", binary::program(&name)?.display()),
        Action::Enter { arguments } => {
            let (program, rest) =
                arguments.split_first().map_or(("sh", &[][..]), |(program, rest)| (program.as_str(), rest));
            bail!(lab.isolation().command(program).args(rest).exec());
        }
    }
    Ok(())
}

fn up(lab: &Lab) -> Result<()> {
    // A cluster that was named is used as it is.
    let kubeconfig = match probelet_tests::cluster::named() {
        Some(path) => {
            probelet_tests::cluster::reachable(&path)?;
            path
        }
        None => {
            lab.up()?;
            lab.kubeconfig()
        }
    };
    println!("{}", kubeconfig.display());
    Ok(())
}

fn named_image(name: &str) -> Result<image::Image> {
    Ok(match name {
        "sidecar" => image::SIDECAR,
        "webhook" => image::WEBHOOK,
        "test-app" => image::TEST_APP,
        other => bail!("no image {other:?}; there are sidecar, webhook and test-app"),
    })
}

fn env(lab: &Lab) -> Result<()> {
    let kubeconfig = probelet_tests::cluster::kubeconfig(lab)?;
    println!("export KUBECONFIG='{}'", kubeconfig.display());
    if let Some(dir) = binary::program("kubectl")?.parent() {
        println!("export PATH='{}':\"$PATH\"", dir.display());
    }
    Ok(())
}

/// Becomes kubectl or helm.
fn tool(name: &str, lab: &Lab, arguments: &[String]) -> Result<()> {
    let kubeconfig = probelet_tests::cluster::kubeconfig(lab)?;
    let error = Command::new(binary::program(name)?).env("KUBECONFIG", kubeconfig).args(arguments).exec();
    bail!("cannot run {name}: {error}")
}
