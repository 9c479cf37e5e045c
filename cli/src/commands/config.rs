//! `config check` and `config show`.

use super::Context;
use crate::args::Format;
use crate::args::admin::ConfigCommand;
use crate::assemble::{self, AssembleError};
use crate::config::{self, Config};
use crate::failure::Outcome;

pub(super) async fn run(context: &Context, command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Check => {
            let (config, file) = config::load(&context.global)?;
            assemble::check(config.clone()).await.map_err(AssembleError::into_problem)?;
            let raw = serde_json::to_value(&config).unwrap_or_default();
            if context.output.format == Format::Table {
                context.output.line(&match file {
                    Some(file) => format!("{}: ok", file.display()),
                    None => "no configuration file: the defaults are in force".to_owned(),
                })?;
            } else {
                context.output.object(&raw, String::new)?;
            }
        }
        ConfigCommand::Show { default: true } => match context.output.format {
            Format::Table | Format::Id => context.output.bytes(config::DEFAULT.as_bytes())?,
            Format::Json | Format::Jsonl => {
                let raw = serde_json::to_value(Config::default()).unwrap_or_default();
                context.output.object(&raw, String::new)?;
            }
        },
        ConfigCommand::Show { default: false } => {
            let (config, _) = config::load(&context.global)?;
            let raw = serde_json::to_value(&config).unwrap_or_default();
            let text = toml::to_string_pretty(&config).unwrap_or_default();
            context.output.object(&raw, || text)?;
        }
    }
    Ok(0)
}
