//! `config.yaml` of the ConfigMap: the configuration of injection, and what of the process can change while it runs.

use super::{Settings, SettingsError, Workers};
use crate::config::Config;
use serde_json::{Map, Value};
use std::str::FromStr;
use tracing::Level;

/// Largest file that is read; a ConfigMap holds 1 MiB.
const BYTES: usize = 256 * 1024;

/// What holds now.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Of injection.
    pub config: Config,
    /// Of each controller.
    pub workers: Workers,
    /// Least severe events that are logged.
    pub log_level: Level,
}

impl Live {
    /// What holds without a file: flags and defaults.
    ///
    /// # Errors
    /// [`SettingsError`] with all problems, as of an image that cannot be one.
    pub fn of_flags(settings: &Settings) -> Result<Self, SettingsError> {
        Self::read(settings, "")
    }

    /// What holds with this file. It wins over flags and environment.
    ///
    /// # Errors
    /// [`SettingsError`] with all problems; an unknown field is one.
    pub fn read(settings: &Settings, text: &str) -> Result<Self, SettingsError> {
        let mut problems = Vec::new();
        let mut fields = fields(text).unwrap_or_else(|problem| {
            problems.push(problem);
            Map::new()
        });
        let workers = take(&mut fields, "workers", settings.workers, super::workers::ALLOWED, &mut problems);
        let log_level =
            take(&mut fields, "logLevel", settings.log_level, "error, warn, info, debug or trace", &mut problems);
        if let Some(image) = &settings.sidecar_image {
            fields.entry("image").or_insert_with(|| image.clone().into());
        }
        fields.entry("installNamespace").or_insert_with(|| settings.namespace.clone().into());
        // Each field alone first: serde stops at the first error, people want all.
        let known = problems.len();
        for (key, value) in &fields {
            let alone = Map::from_iter([(key.clone(), value.clone())]);
            if let Err(error) = serde_json::from_value::<Config>(Value::Object(alone)) {
                problems.push(format!("{key}: {error}"));
            }
        }
        if problems.len() == known {
            match serde_json::from_value::<Config>(Value::Object(fields)) {
                Ok(config) => match config.check() {
                    Ok(()) if problems.is_empty() => return Ok(Self { config, workers, log_level }),
                    Ok(()) => {}
                    Err(error) => problems.extend(error.problems),
                },
                Err(error) => problems.push(error.to_string()),
            }
        }
        Err(SettingsError { problems })
    }
}

fn fields(text: &str) -> Result<Map<String, Value>, String> {
    if text.len() > BYTES {
        return Err(format!("config.yaml has {} bytes, at most {BYTES} are read", text.len()));
    }
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err("config.yaml must be a mapping of fields to values".to_owned()),
        Err(error) => Err(format!("config.yaml is no YAML: {error}")),
    }
}

fn take<T: FromStr>(
    fields: &mut Map<String, Value>,
    key: &str,
    otherwise: T,
    allowed: &str,
    problems: &mut Vec<String>,
) -> T {
    let text = match fields.remove(key) {
        None | Some(Value::Null) => return otherwise,
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    text.parse().unwrap_or_else(|_| {
        problems.push(format!("{key}: {text:?} must be {allowed}"));
        otherwise
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::Flags;
    use clap::Parser;

    fn settings(arguments: &[&str]) -> Settings {
        Settings::try_new(&Flags::parse_from([&["probelet-webhook"], arguments].concat())).expect("settings")
    }

    #[test]
    fn the_file_wins_over_flags_and_flags_over_defaults() {
        let flags = settings(&["--workers=5", "--sidecar-image=example.com/flag:1", "--namespace=own"]);
        let live = Live::of_flags(&flags).expect("flags");
        assert_eq!(live.workers, Workers::Fixed(5));
        assert_eq!(live.config.image, "example.com/flag:1");
        assert_eq!(live.config.install_namespace, "own");
        let live = Live::read(&flags, "workers: auto\nlogLevel: debug\nimage: example.com/file:2\nshield: true\n");
        let live = live.expect("file");
        assert_eq!((live.workers, live.log_level), (Workers::Auto, Level::DEBUG));
        assert_eq!(live.config.image, "example.com/file:2");
        assert!(live.config.shield);
        assert_eq!(Live::of_flags(&settings(&[])).expect("defaults").workers, Workers::DEFAULT);
    }

    #[test]
    fn all_problems_of_a_file_are_told_at_once() {
        let text = "workers: 100\nlogLevel: loud\nshield: perhaps\nimagePullPolicy: [a]\nnonsense: 1\n";
        let problems = Live::read(&settings(&[]), text).expect_err("refused").problems;
        for field in ["workers: \"100\" must be", "logLevel", "shield", "imagePullPolicy", "nonsense"] {
            assert!(problems.iter().any(|problem| problem.starts_with(field)), "{field} in {problems:?}");
        }
        assert_eq!(problems.len(), 5, "{problems:?}");
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for text in ["- a\n", "a: [\n", "just text"] {
            let error = Live::read(&settings(&[]), text).expect_err(text).to_string();
            assert!(error.starts_with("config.yaml"), "{error}");
        }
    }
}
